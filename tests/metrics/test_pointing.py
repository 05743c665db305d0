"""Heat maps against masks in cases solvable on paper."""

from __future__ import annotations

import pytest
import torch

from gan_explain.metrics.pointing import iou_equal_area, pointing_game, relevance_mass


def mask() -> torch.Tensor:
    """A 4 x 4 square in 16 x 16."""
    square = torch.zeros(1, 1, 16, 16)
    square[..., 4:8, 4:8] = 1
    return square


def at(y: int, x: int) -> torch.Tensor:
    heat = torch.zeros(1, 1, 16, 16)
    heat[0, 0, y, x] = 1
    return heat


@pytest.mark.parametrize(("y", "x", "hit"), [(5, 5, True), (10, 5, True), (11, 5, False), (9, 9, True), (10, 10, False)])
def test_pointing_allows_three_pixels(y: int, x: int, hit: bool) -> None:
    assert pointing_game(at(y, x), mask()).tolist() == [hit]


def test_nothing_to_point_with_or_at_is_a_miss() -> None:
    assert pointing_game(torch.ones(1, 1, 16, 16), torch.ones(1, 1, 16, 16)).tolist() == [False]
    assert pointing_game(at(5, 5), torch.zeros(1, 1, 16, 16)).tolist() == [False]


def test_samples_are_judged_apart() -> None:
    assert pointing_game(torch.cat([at(5, 5), at(15, 15)]), torch.cat([mask(), mask()])).tolist() == [True, False]


def test_iou_at_equal_area() -> None:
    shifted = mask().roll(2, dims=3)
    heat = torch.cat([mask(), shifted, 1 - mask(), mask(), torch.ones_like(mask())]) + 0.0
    masks = torch.cat([mask(), mask(), mask(), torch.zeros_like(mask()), mask()])
    iou = iou_equal_area(heat, masks)
    assert iou[[0, 1, 2, 4]].tolist() == pytest.approx([1, 8 / 24, 0, 0])
    assert bool(iou[3].isnan())


def test_pixels_of_equal_heat_count_by_chance_whatever_their_order() -> None:
    heat = torch.zeros(1, 1, 16, 16)
    heat[..., 4:6, 4:8] = 1  # half of the mask; the rest of it ties with 248 - 8 others
    common = 8 + 8 * 8 / 248
    for turned, inside in ((heat, mask()), (heat.flip(2), mask().flip(2)), (heat.flip(2, 3), mask().flip(2, 3))):
        assert float(iou_equal_area(turned, inside)) == pytest.approx(common / (32 - common))


def test_mass_counts_positive_heat_only() -> None:
    heat = at(5, 5) + 3 * at(15, 15) - 7 * at(0, 0)
    mass = relevance_mass(torch.cat([heat, -at(0, 0)]), torch.cat([mask(), mask()]))
    assert float(mass[0]) == pytest.approx(0.25)
    assert bool(mass[1].isnan())
    assert float(relevance_mass(torch.ones(1, 1, 16, 16), mask())) == pytest.approx(16 / 256)
