"""Variety of layers: same place, different places, and places in the lungs whatever their size."""

from __future__ import annotations

import math

import pytest
import torch

from gan_explain.metrics.diversity import layer_diversity, placement_entropy

LUNGS = torch.ones(1, 1, 10, 10)


def row(index: int, strength: float = 1.0) -> torch.Tensor:
    """A layer on one row: the tenth part of the area."""
    tau = torch.zeros(1, 1, 10, 10)
    tau[:, :, index] = strength
    return tau


def test_one_place_is_no_diversity_however_dense() -> None:
    assert layer_diversity(torch.cat([row(3, s) for s in (0.1, 1, 5)]), LUNGS) == 0


def test_disjoint_places_are_full_diversity() -> None:
    assert layer_diversity(torch.cat([row(i) for i in range(4)]), LUNGS) == 1


def test_pairs_are_averaged() -> None:
    assert layer_diversity(torch.cat([row(0), row(0), row(1)]), LUNGS) == pytest.approx(2 / 3)


def test_places_that_share_half_have_an_iou_of_a_third() -> None:
    shifted = torch.zeros(1, 1, 10, 10)
    shifted[:, :, 3, 5:], shifted[:, :, 4, 5:] = 1, 1
    assert layer_diversity(torch.cat([row(3), shifted]), LUNGS) == pytest.approx(2 / 3)


def test_what_lies_outside_the_lungs_does_not_count() -> None:
    lungs = LUNGS.clone()
    lungs[:, :, 5:] = 0
    inside = row(1) + row(1, 0.5)
    outside = torch.cat([inside + row(7, 9), inside + row(8, 9)])
    assert layer_diversity(outside, lungs) == 0
    assert math.isnan(layer_diversity(outside[:1], lungs))
    assert math.isnan(layer_diversity(outside, torch.zeros_like(lungs)))


def test_entropy_is_one_for_an_even_spread_and_low_for_one_spot() -> None:
    lungs = LUNGS.expand(10, -1, -1, -1)
    even = placement_entropy(torch.ones(10, 1, 10, 10), lungs, size=10)
    rows = placement_entropy(torch.cat([row(i) for i in range(10)]), lungs, size=10)
    same = placement_entropy(row(4).expand(10, -1, -1, -1), lungs, size=10)
    assert even == pytest.approx(1)
    assert rows == pytest.approx(1)
    assert same == pytest.approx(0.5, abs=0.01)  # 10 of 100 cells: log 10 / log 100
    assert math.isnan(placement_entropy(torch.zeros(10, 1, 10, 10), lungs))


def test_lungs_are_registered_before_the_mean_is_taken() -> None:
    """The top of the lungs is one spot, wherever in the image the lungs lie and however large they are."""
    lungs, tau = torch.zeros(2, 1, 32, 32), torch.zeros(2, 1, 32, 32)
    lungs[0, :, 2:10, 2:10] = 1
    tau[0, :, 2:4, 2:10] = 1
    lungs[1, :, 14:30, 14:30] = 1
    tau[1, :, 14:18, 14:30] = 1
    assert placement_entropy(tau, lungs, size=8) == pytest.approx(placement_entropy(tau[:1], lungs[:1], size=8), abs=0.03)
