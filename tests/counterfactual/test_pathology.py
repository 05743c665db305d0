"""Choosing a pathology: drawn, read, moved from another patient, the least that crosses, or what the target answers to most."""

from __future__ import annotations

import logging
import math

import pytest
import torch
from solvable import Uniform, flat, radiograph
from torch import Tensor

from gan_explain.counterfactual import Disentangled, Pathology, Radiograph, choose, traverse
from gan_explain.counterfactual.pathology import PathologyOptions, between
from gan_explain.nets.generator import Disentangler
from gan_explain.nets.layers import unit_strength
from gan_explain.optics import compose
from gan_explain.targets import ModuleTarget
from gan_explain.types import Generator


def subject(x: Radiograph) -> Disentangled:
    return Disentangled(x.image, x.image, torch.zeros_like(x.image), x.lungs)


def chosen(
    kind: str, generator: Generator, target: ModuleTarget, x: Radiograph, options: PathologyOptions | None = None
) -> Pathology:
    found = choose(kind, generator, target, subject(x), options or PathologyOptions())
    assert found is not None
    return found


def test_another_name_is_refused(uniform: Uniform, brightness: ModuleTarget) -> None:
    with pytest.raises(ValueError, match="expected a pathology of own, from, prior, minimal, steered, got 'worst'"):
        choose("worst", uniform, brightness, subject(flat(0.2)), PathologyOptions())
    with pytest.raises(ValueError, match="expected a radiograph to take the pathology from"):
        choose("from", uniform, brightness, subject(flat(0.2)), PathologyOptions())


def test_drawn_codes_have_strength_one_and_follow_the_seed(generator: Disentangler, brightness: ModuleTarget) -> None:
    first, again, other = (chosen("prior", generator, brightness, flat(0.2), PathologyOptions(seed)) for seed in (3, 3, 4))
    assert first.code is not None
    assert again.code is not None
    assert other.code is not None
    assert first.code.shape == (1, 4)
    assert first.code.square().mean().sqrt().item() == pytest.approx(1, abs=1e-5)
    assert torch.equal(first.code, again.code)
    assert not torch.equal(first.code, other.code)
    with pytest.raises(ValueError, match="no code prior for 'flu'"):
        chosen("prior", generator, brightness, flat(0.2), PathologyOptions(label="flu"))


def test_another_patients_layer_is_moved_into_these_lungs(
    generator: Disentangler, brightness: ModuleTarget, structure: Tensor, lungs: Tensor
) -> None:
    other = radiograph(0.5 + 0.4 * torch.rand(1, 1, 64, 50), name="other")
    found = chosen("from", generator, brightness, radiograph(structure, lungs), PathologyOptions(reference=other))
    tau = generator.read(other.image, other.lungs)
    assert torch.equal(found.layer, generator.move(tau, other.lungs, lungs))
    assert found.layer.shape == structure.shape
    assert found.facts["reference"] == "other"
    assert found.facts["load"] == pytest.approx(float(tau.mean()), rel=1e-4)
    assert found.remarks == ()


def test_a_reference_without_pathology_is_remarked_on(
    uniform: Uniform, brightness: ModuleTarget, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        film = traverse(uniform, brightness, flat(0.2), pathology="from", reference=flat(0.8), strengths=3)
    assert film.remarks == ("hardly any pathology was found on the reference",)
    assert "hardly any pathology" in caplog.text


def test_least_code_crosses_just_at_strength_one(uniform: Uniform, brightness: ModuleTarget) -> None:
    """The operating point is at brightness 0.6, where half of the darkness 0.8 is gone: the layer must be ln 2."""
    x = flat(0.2)
    tau = chosen("minimal", uniform, brightness, x).layer
    assert tau.max().item() == pytest.approx(math.log(2), abs=3e-3)
    p = [brightness.probability(compose(x.image, tau, s)).item() for s in (0.99, 1.01)]
    assert p[0] < brightness.operating_point < p[1]
    film = traverse(uniform, brightness, x, pathology="minimal", strengths=torch.linspace(0, 2, 81))
    assert film.crossing == pytest.approx(1, abs=0.01)


def test_least_code_of_a_real_generator_crosses_at_one(generator: Disentangler, brightness: ModuleTarget, lungs: Tensor) -> None:
    x = radiograph(0.5 + 0.1 * torch.rand(1, 1, 48, 64), lungs)
    tau = chosen("minimal", generator, brightness, x, PathologyOptions(candidates=4)).layer
    p = [brightness.probability(compose(x.image, tau, s)).item() for s in (0.95, 1.05)]
    assert p[0] < brightness.operating_point < p[1]


class TwoSides(Uniform):
    """A code's sign says on which half of the image its uniform layer lies."""

    code_dim = 1

    def layer(self, codes: Tensor, lungs: Tensor) -> Tensor:
        left = torch.zeros_like(lungs)
        left[..., : lungs.shape[-1] // 2] = 1
        value = codes[:, :, None, None]
        return value.clamp(min=0) * left * lungs + (-value).clamp(min=0) * (1 - left) * lungs

    def prior(self, n: int, generator: torch.Generator, label: str = "covid") -> Tensor:
        return torch.randn(n, 1, generator=generator).sign()


def test_the_least_load_wins(brightness: ModuleTarget) -> None:
    """Where the structure is dark a thin layer brightens more than where it is bright."""
    image = torch.full((1, 1, 32, 32), 0.3)
    image[..., 16:] = 0.7
    signs = TwoSides().prior(16, torch.Generator().manual_seed(0))
    assert set(signs.flatten().tolist()) == {-1.0, 1.0}
    code = chosen("minimal", TwoSides(), brightness, radiograph(image)).code
    assert code is not None
    assert code.item() > 0


def test_none_where_nothing_crosses_and_the_prior_in_its_place(
    uniform: Uniform, brightness: ModuleTarget, caplog: pytest.LogCaptureFixture
) -> None:
    empty = radiograph(torch.full((1, 1, 32, 32), 0.2), torch.zeros(1, 1, 32, 32))
    assert choose("minimal", uniform, brightness, subject(empty), PathologyOptions()) is None
    with caplog.at_level(logging.WARNING):
        film = traverse(uniform, brightness, empty, pathology="minimal", strengths=3)
    assert film.pathology == "prior"
    assert "no layer that was tried crosses the operating point" in caplog.text


@pytest.mark.parametrize("differentiable", [True, False])
def test_steering_finds_more_than_any_draw_and_stays_in_the_prior(
    generator: Disentangler, brightness: ModuleTarget, structure: Tensor, lungs: Tensor, differentiable: bool
) -> None:
    brightness.differentiable = differentiable
    x = radiograph(structure, lungs)
    found = chosen("steered", generator, brightness, x, PathologyOptions(candidates=8))
    draws = generator.prior(8, torch.Generator().manual_seed(0)).split(1)
    best = max(float(brightness.probability(compose(x.image, generator.layer(code, lungs)))) for code in draws)
    assert float(brightness.probability(compose(x.image, found.layer))) >= best - 1e-5
    assert found.code is not None
    assert not found.layer.requires_grad
    assert found.code.square().mean().sqrt().item() == pytest.approx(1, abs=1e-5)
    assert all(parameter.grad is None for parameter in generator.parameters())


def test_the_way_between_two_codes_keeps_its_strength(generator: Disentangler) -> None:
    a, b = unit_strength(torch.randn(1, 4)), 2 * unit_strength(torch.randn(1, 4))
    for position in (0.0, 0.3, 1.0):
        found = between((a, b), position)
        assert found.square().mean().sqrt().item() == pytest.approx(1 + position, abs=1e-4)
    torch.testing.assert_close(between((a, b), 0.0), a)
    torch.testing.assert_close(between((a, b), 1.0), b)
    torch.testing.assert_close(between((0 * a, b), 0.5), b / 2)
