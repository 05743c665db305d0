"""Distances of sets: about zero for two halves of one, larger the farther apart; references where they exist."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from gan_explain.metrics.realism import Penultimate, coverage, density, frechet, kid, nearest_neighbours, real_floor
from gan_explain.targets import ModuleTarget, TargetConfig
from gan_explain.types import TargetError


def features(count: int = 400, shift: float = 0.0, dim: int = 8) -> torch.Tensor:
    return torch.randn(count, dim) + shift


def test_two_halves_of_one_set_are_near_and_shifted_sets_far() -> None:
    real = features(600)
    floor, near, far = abs(real_floor(real)), kid(features(300, 0.3), real[:300]), kid(features(300, 1), real[:300])
    assert floor < 0.1 * near
    assert near < 0.5 * far
    assert frechet(real[:300], real[300:]) < 0.3 * frechet(features(300, 0.5), real[:300])


def test_kid_is_unbiased_and_frechet_is_not() -> None:
    pairs = [(features(20), features(20)) for _ in range(200)]
    distances = np.array([kid(a, b) for a, b in pairs])
    assert abs(distances.mean()) < 3 * distances.std() / np.sqrt(200)
    assert min(distances) < 0 < max(distances)
    assert min(frechet(a, b) for a, b in pairs) > 0.5


def test_kid_agrees_with_its_definition_pair_by_pair() -> None:
    a, b = features(5, dim=3).double(), features(4, 1.0, 3).double()

    def mean(x: torch.Tensor, y: torch.Tensor, same: bool) -> float:
        pairs = [(i, j) for i in range(len(x)) for j in range(len(y)) if not (same and i == j)]
        return float(np.mean([(float(x[i] @ y[j]) / 3 + 1) ** 3 for i, j in pairs]))

    assert kid(a, b) == pytest.approx(mean(a, a, True) + mean(b, b, True) - 2 * mean(a, b, False))
    assert kid(a, b) == pytest.approx(kid(b, a))


def test_frechet_of_known_gaussians() -> None:
    """|mu|^2 + (s - t)^2 in every dimension, for equal samples up to scale and shift."""
    a = features(500, dim=3)
    a = a - a.mean(0)
    spread = a.var(0)
    assert frechet(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet(a + 2, a) == pytest.approx(12, rel=1e-5)
    assert frechet(3 * a, a) == pytest.approx(4 * float(spread.sum()), rel=1e-5)


def test_frechet_agrees_with_torchmetrics() -> None:
    from torchmetrics.image.fid import _compute_fid

    a, b = features(300, dim=4).double(), (features(300, 0.5, 4) @ torch.randn(4, 4)).double()
    reference = _compute_fid(a.mean(0), a.T.cov(), b.mean(0), b.T.cov())
    assert frechet(a, b) == pytest.approx(float(reference), rel=1e-4)


def test_too_few_or_different_features_are_refused() -> None:
    for distance in (kid, frechet):
        with pytest.raises(ValueError, match="at least two"):
            distance(features(1), features(5))
        with pytest.raises(ValueError, match="of one F"):
            distance(features(5, dim=3), features(5, dim=4))
    with pytest.raises(ValueError, match="for two sets of 6"):
        real_floor(features(10), n=6)


def test_a_memorised_image_is_its_own_neighbour() -> None:
    real = features(50)
    found = nearest_neighbours(torch.cat([real[[7, 3]], features(5)]), real, chunk=2)
    assert found.index[:2].tolist() == [7, 3]
    assert found.distance[:2].tolist() == [0, 0]
    assert bool((found.distance[2:] > 0.1).all())


def test_features_are_what_the_last_linear_layer_reads() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 2))
    target = ModuleTarget(network, TargetConfig(positive=("positive",), size=4, channels=1))
    images = torch.rand(3, 1, 4, 4)
    extract = Penultimate(target, "tiny")
    torch.testing.assert_close(extract(images), network[:3](images))
    assert extract.name == "tiny"
    assert not network[3]._forward_pre_hooks
    with pytest.raises(TargetError, match="linear layer"):
        Penultimate(ModuleTarget(nn.Flatten(), TargetConfig(positive=("positive",), size=4, channels=1)), "none")


def test_density_and_coverage_say_where_features_lie_and_how_much_of_the_real_they_reach() -> None:
    torch.manual_seed(0)
    real, alike = features(300), torch.randn(300, 8)
    assert density(alike, real) == pytest.approx(1, abs=0.3)
    assert coverage(alike, real) > 0.85
    assert density(alike + 50, real) == coverage(alike + 50, real) == 0
    assert coverage(real[:3].repeat(100, 1), real) < 0.2  # three patients drawn again and again
    assert coverage(real, real) == 1
    line = torch.arange(4.0)[:, None]  # balls to the nearest other: of radius 1
    assert (density(torch.tensor([[0.5]]), line, 1), coverage(torch.tensor([[0.5]]), line, 1)) == (2.0, 0.5)
    with pytest.raises(ValueError, match="more than 5 of them real"):
        density(real, real[:5])
