"""ROAD: a ramp is filled in as it was, a border by the mean of what there is, and the score is what two orders make of p."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_explain.metrics.deletion import ranks
from gan_explain.metrics.nulls import ConstantTarget
from gan_explain.metrics.road import NOISE, imputed, road

SIDE = 24


def ramp() -> Tensor:
    """Linear in rows and columns, so that every inner pixel is the mean of its neighbours."""
    rows, columns = torch.arange(SIDE).view(-1, 1) / SIDE, torch.arange(SIDE).view(1, -1) / SIDE
    return (0.1 + 0.5 * rows + 0.3 * columns).view(1, 1, SIDE, SIDE)


class Middle(ConstantTarget):
    """p is how far a square of 6 x 6 pixels in the middle stands out from 0.2."""

    def probability(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        return (images[:, 0, 9:15, 9:15].mean((1, 2)) - 0.2).clamp(0, 1)


def square() -> Tensor:
    image = torch.full((1, 1, SIDE, SIDE), 0.2)
    image[..., 9:15, 9:15] = 1
    return image


def test_a_ramp_is_filled_in_as_it_was_to_the_tolerance_of_the_solver() -> None:
    inner = torch.zeros(1, 1, SIDE, SIDE, dtype=torch.bool)
    inner[..., 1:-1, 1:-1] = True
    scattered = inner & (torch.rand(inner.shape, generator=torch.Generator().manual_seed(0)) < 0.6)
    for missing in (inner, scattered):
        filled = imputed(torch.where(missing, torch.zeros(()), ramp()), missing, [0], noise=0)
        torch.testing.assert_close(filled, ramp(), atol=1e-6, rtol=0)


def test_one_pixel_is_the_weighted_mean_of_its_neighbours_and_in_a_corner_of_those_it_has() -> None:
    image = torch.rand(1, 1, 3, 3, generator=torch.Generator().manual_seed(1))
    values = image[0, 0].double().numpy()
    weights = np.array([[1, 2, 1], [2, 0, 2], [1, 2, 1]]) / 12
    middle, corner = (torch.zeros(1, 1, 3, 3, dtype=torch.bool) for _ in range(2))
    middle[..., 1, 1], corner[..., 0, 0] = True, True
    assert float(imputed(image, middle, [0], noise=0)[0, 0, 1, 1]) == pytest.approx((weights * values).sum(), abs=1e-6)
    expected = (2 * values[0, 1] + 2 * values[1, 0] + values[1, 1]) / 5
    assert float(imputed(image, corner, [0], noise=0)[0, 0, 0, 0]) == pytest.approx(expected, abs=1e-6)


def test_what_is_not_missing_stays_and_the_noise_belongs_to_the_image() -> None:
    images = torch.full((2, 1, SIDE, SIDE), 0.5)
    missing = torch.rand(images.shape, generator=torch.Generator().manual_seed(2)) < 0.5
    filled = imputed(images, missing, [7, 8])
    assert torch.equal(filled[~missing], images[~missing])
    assert float((filled - images)[missing].std()) == pytest.approx(NOISE, rel=0.15)
    assert torch.equal(imputed(images[1:], missing[1:], [8]), filled[1:])
    with pytest.raises(ValueError, match="at least one pixel"):
        imputed(images, torch.ones_like(missing), [0, 0])


def test_the_score_of_the_right_map_of_its_negative_and_of_one_that_says_nothing() -> None:
    image = square()
    heats = torch.cat([image, -image, torch.zeros_like(image)])
    found = [road(Middle(), image, ranks(heat[None], [0]), [0], shares=(0.1, 0.5), noise=0) for heat in heats]
    right, wrong = found[0], found[1]
    assert right.most[0].tolist() == pytest.approx([0, 0], abs=1e-6)  # the square is gone: filled in from around it
    assert right.least[0].tolist() == pytest.approx([0.8, 0.8], abs=1e-6)
    assert [float(each.score) for each in found[:2]] == pytest.approx([0.8, -0.8], abs=1e-6)
    assert torch.allclose(wrong.most, right.least, atol=1e-6)
    nothing = [float(road(Middle(), image, ranks(heats[2:], [seed]), [seed], shares=(0.5,), noise=0).score) for seed in range(40)]
    assert float(np.mean(nothing)) == pytest.approx(0, abs=0.05)
