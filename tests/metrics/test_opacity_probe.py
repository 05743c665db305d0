"""The opacity probe: where its veils lie, that they are a patient's own, and what known targets make of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_explain.metrics.nulls import ConstantTarget
from gan_explain.metrics.opacity_probe import DOSES, PEAK, opacity_probe, split_lungs, summarise, veils
from gan_explain.optics import compose

SIZE = 64
PATIENTS = [f"patient-{i}" for i in range(6)]


def two_lungs(count: int = 1) -> Tensor:
    """Two ellipses, (count, 1, 64, 64)."""
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    inside = sum(((x - c) / 10) ** 2 + ((y - 32) / 22) ** 2 <= 1 for c in (18, 46))
    return torch.as_tensor(inside).float().expand(count, 1, -1, -1).clone()


class Brightness:
    """p = mean brightness of the lungs: it sees opacities, whatever their shape."""

    classes, positive = ("negative", "positive"), ("positive",)
    operating_point, uses_lungs, differentiable = 0.5, True, True

    def logits(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        p = self.probability(images, lungs)
        return torch.stack([1 - p, p], 1).log()

    def probability(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        assert lungs is not None
        return (images * lungs).sum((1, 2, 3)) / lungs.sum((1, 2, 3))


def test_veils_are_a_patients_own_whatever_the_batch() -> None:
    lungs = two_lungs(6)
    together = veils(lungs, PATIENTS)
    assert torch.equal(together, veils(lungs, PATIENTS))
    for i, patient in enumerate(PATIENTS):
        torch.testing.assert_close(together[i : i + 1], veils(lungs[:1], [patient]))
    assert len({round(float(tau.sum()), 4) for tau in together}) == 6


def test_outside_the_lungs_nothing_changes_to_the_bit() -> None:
    lungs, images = two_lungs(6), torch.rand(6, 1, SIZE, SIZE)
    tau = veils(lungs, PATIENTS)
    dosed = compose(images, tau, 2.0)
    assert torch.equal(dosed[lungs == 0], images[lungs == 0])
    assert bool((dosed >= images).all())
    assert torch.equal(compose(images, tau, 0.0), images)


def test_veils_are_soft_bilateral_lower_and_outer() -> None:
    tau = veils(two_lungs(6), PATIENTS)
    peaks = tau.flatten(1).amax(1)
    assert bool((peaks > 0.5 * PEAK[0]).all())
    assert bool((peaks < 1.3 * PEAK[1]).all())
    steps = torch.maximum(tau.diff(dim=2).abs().amax(), tau.diff(dim=3).abs().amax())
    assert float(steps) < 0.5 * float(peaks.max())
    lower, upper = tau[:, :, 32:].sum((1, 2, 3)), tau[:, :, :32].sum((1, 2, 3))
    assert bool((lower > 2 * upper).all())
    mean = tau.mean((0, 1))
    assert bool((tau[..., :32].sum((1, 2, 3)) > 0).all())
    assert bool((tau[..., 32:].sum((1, 2, 3)) > 0).all())
    assert float(mean[:, :18].sum()) > float(mean[:, 18:32].sum())
    assert float(mean[:, 46:].sum()) > float(mean[:, 32:46].sum())


def test_a_veil_is_the_same_at_another_resolution() -> None:
    small = two_lungs()
    large = torch.nn.functional.interpolate(small, scale_factor=2, mode="nearest")
    coarse = torch.nn.functional.avg_pool2d(veils(large, ["a"]), 2)
    assert float((coarse - veils(small, ["a"])).abs().mean()) < 0.1 * float(coarse.mean())


def test_no_lungs_no_veils_and_one_lung_will_do() -> None:
    assert float(veils(torch.zeros(1, 1, SIZE, SIZE), ["a"]).abs().sum()) == 0
    one = two_lungs()
    one[..., 32:] = 0
    assert float(veils(one, ["a"]).sum()) > 0
    with pytest.raises(ValueError, match="a patient for each of 1"):
        veils(one, [])


@pytest.mark.parametrize("bridged", [False, True])
def test_left_and_right_are_told_apart_even_where_they_touch(bridged: bool) -> None:
    mask = two_lungs()[0, 0].numpy() > 0.5
    if bridged:
        mask[32, 20:44] = True
    left, right = split_lungs(mask)
    assert np.array_equal(left | right, mask)
    assert not (left & right).any()
    assert np.nonzero(left)[1].max() < np.nonzero(right)[1].min()
    assert left.sum() == pytest.approx(right.sum(), rel=0.1)


def test_a_target_that_sees_brightness_rises_and_a_constant_one_does_not() -> None:
    lungs, images = two_lungs(6), 0.3 * torch.rand(6, 1, SIZE, SIZE)
    sources = ["x"] * 3 + ["y"] * 3
    seeing = opacity_probe(Brightness(), images, lungs, PATIENTS, batch_size=4)
    assert seeing.shape == (6, len(DOSES))
    assert (np.diff(seeing, axis=1) > 0).all()
    np.testing.assert_allclose(seeing, opacity_probe(Brightness(), images, lungs, PATIENTS, batch_size=6), rtol=1e-5)
    found = summarise(seeing, DOSES, PATIENTS, sources, n_boot=50)
    assert found["opacity_probe.rises"].value == 1
    assert found["opacity_probe.slope"].value > 0
    assert found["opacity_probe.slope"].by["y"].n == 3

    blind = summarise(opacity_probe(ConstantTarget(), images, lungs, PATIENTS), DOSES, PATIENTS, sources, n_boot=50)
    assert blind["opacity_probe.rises"].value == 0
    assert blind["opacity_probe.slope"].value == pytest.approx(0, abs=1e-12)


def test_the_slope_is_that_of_the_mean_over_doses_up_to_one() -> None:
    p = np.array([[0.1, 0.2, 0.3, 0.5, 0.9, 0.9], [0.4, 0.35, 0.3, 0.2, 0.0, 1.0]])
    found = summarise(p, DOSES, ["a", "b"], ["", ""], n_boot=10)
    assert found["opacity_probe.slope"].value == pytest.approx(np.polyfit(DOSES[:4], p.mean(0)[:4], 1)[0])
    assert found["opacity_probe.rises"].value == 0.5
    with pytest.raises(ValueError, match="0 and 1"):
        summarise(p[:, :2], (0.0, 0.5), ["a", "b"], ["", ""])
