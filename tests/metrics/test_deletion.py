"""Deletion and insertion where the answer is one pixel's brightness: the areas are known to the last digit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gan_explain.metrics.deletion import deletion_auc, insertion_auc, ranks
from gan_explain.metrics.nulls import ConstantTarget

SIDE, STEPS = 10, 20
IMAGE, DARK = torch.ones(1, 1, SIDE, SIDE), torch.zeros(1, 1, SIDE, SIDE)


class Pixel(ConstantTarget):
    """p is the brightness of the pixel in row 3, column 7, within the lungs where it is handed some."""

    def probability(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        assert (lungs is not None) == self.uses_lungs
        return (images if lungs is None else images * lungs)[:, 0, 3, 7]


def heat_at(value: float) -> Tensor:
    heat = torch.zeros(1, 1, SIDE, SIDE)
    heat[..., 3, 7] = value
    return heat


def areas(heat: Tensor, target: Pixel | None = None, lungs: Tensor | None = None) -> tuple[float, float]:
    target, rank = target or Pixel(), ranks(heat, [0])
    deletion, insertion = (each(target, IMAGE, rank, DARK, lungs, STEPS) for each in (deletion_auc, insertion_auc))
    return float(deletion), float(insertion)


def test_the_perfect_map_and_its_negative_have_the_areas_worked_out_on_paper() -> None:
    # p is 1 in the first image and 0 in all others: one trapezoid of half a step
    half_a_step = 0.5 / STEPS
    assert areas(heat_at(1.0)) == pytest.approx((half_a_step, 1 - half_a_step), abs=1e-12)
    assert areas(heat_at(-1.0)) == pytest.approx((1 - half_a_step, half_a_step), abs=1e-12)


def test_random_maps_are_worse_than_the_perfect_one_and_a_half_on_average() -> None:
    best = areas(heat_at(1.0))
    found = [areas(torch.rand(1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))) for seed in range(200)]
    assert all(deletion >= best[0] and insertion <= best[1] for deletion, insertion in found)
    mean = torch.tensor(found).mean(0).tolist()
    assert mean == pytest.approx([0.5, 0.5], abs=0.06)


def test_what_is_deleted_and_what_is_inserted_make_one_image_of_this_target() -> None:
    heat = torch.rand(1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(3))
    assert sum(areas(heat)) == pytest.approx(1, abs=1e-12)


def test_the_lungs_go_to_a_target_that_reads_them_alone() -> None:
    lungs = 1 - heat_at(1.0)  # the pixel is not in them
    assert areas(heat_at(1.0), Pixel(uses_lungs=True), lungs) == (0, 0)
    assert areas(heat_at(1.0), Pixel(), lungs)[1] > 0


def test_ranks_follow_the_heat_and_ties_the_seed_of_the_image() -> None:
    heat = torch.tensor([[3.0, -1.0], [2.0, 7.0]]).view(1, 1, 2, 2)
    assert ranks(heat, [5]).tolist() == [[1, 3, 2, 0]]
    flat = torch.zeros(2, 1, SIDE, SIDE)
    drawn = ranks(flat, [1, 2])
    assert drawn.sort(1).values.tolist() == [list(range(SIDE**2))] * 2
    assert drawn[0].tolist() != drawn[1].tolist()
    assert drawn[0].tolist() != list(range(SIDE**2))
    assert torch.equal(ranks(flat[1:], [2])[0], drawn[1])
