"""Regions tile the image as they say, and the effect of a transplant is what a target of known cause makes of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gan_explain.metrics.nulls import ConstantTarget
from gan_explain.metrics.registry import Key
from gan_explain.metrics.statistics import STATISTICS
from gan_explain.metrics.transplant import EFFECTS, REGIONS, TRANSPLANTS, effects, regions, transplants

SIZE = 64
LUNGS_X, LUNGS_Y = torch.zeros(1, 1, SIZE, SIZE), torch.zeros(2, 1, SIZE, SIZE)
LUNGS_X[..., 20:44, 12:28] = 1
LUNGS_Y[..., 24:50, 16:36] = 1
X, Y = torch.full((1, 1, SIZE, SIZE), 0.2), torch.full((2, 1, SIZE, SIZE), 0.8)


class Box(ConstantTarget):
    """p = mean brightness of a box of rows and columns, in the image or within the lungs that it is handed."""

    def __init__(self, rows: slice, columns: slice, uses_lungs: bool = False) -> None:
        super().__init__(uses_lungs=uses_lungs)
        object.__setattr__(self, "box", (rows, columns))

    def probability(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        if self.uses_lungs:
            assert lungs is not None
            images = images * lungs
        return images[:, 0][(slice(None), *self.box)].mean((1, 2))  # type: ignore[attr-defined]


def test_regions_hold_the_lungs_of_both_untouched_and_lie_in_the_unit_interval() -> None:
    found = regions(LUNGS_X, LUNGS_Y)
    assert tuple(found) == REGIONS
    either = (LUNGS_X + LUNGS_Y) > 0
    for name, weight in found.items():
        assert weight.shape == (2, 1, SIZE, SIZE), name
        assert weight.min() >= 0, name
        assert weight.max() <= 1, name
    for name in ("outside", "corners", "border"):
        assert not found[name][either].any(), name
        assert bool((found[name] <= found["outside"]).all()), name
    assert not found["lungs"][~((LUNGS_X * LUNGS_Y) > 0)].any()
    assert float(found["lungs"][0, 0, 34, 22]) == pytest.approx(1)
    assert bool((found["whole"] == 1).all())
    assert (float(found["corners"][0, 0, 2, 2]), float(found["corners"][0, 0, 2, 32])) == pytest.approx((1, 0), abs=1e-5)
    assert (float(found["border"][0, 0, 2, 32]), float(found["border"][0, 0, 16, 54])) == pytest.approx((1, 0), abs=1e-5)
    assert float(found["outside"][0, 0, 12, 58]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("box", "moved", "still"),
    [
        ((slice(30, 36), slice(20, 24)), {"whole", "lungs"}, {"outside", "corners", "border", "text"}),
        ((slice(0, 4), slice(0, 4)), {"whole", "outside", "corners", "border"}, {"lungs", "text"}),
        ((slice(0, 3), slice(24, 40)), {"whole", "outside", "border"}, {"lungs", "corners", "text"}),
        ((slice(10, 14), slice(50, 53)), {"whole", "outside"}, {"lungs", "border", "text"}),
    ],
)
def test_the_place_that_the_target_reads_is_named(box: tuple[slice, slice], moved: set[str], still: set[str]) -> None:
    found = effects(Box(*box), X, LUNGS_X, Y, LUNGS_Y)
    assert tuple(found) == EFFECTS
    assert len(found) == len(TRANSPLANTS) + len(STATISTICS)
    for name in moved:
        assert found[Key("transplant", name)].tolist() == pytest.approx([0.6, 0.6], abs=1e-5), name
    for name in still:
        assert found[Key("transplant", name)].tolist() == pytest.approx([0, 0], abs=1e-6), name


def test_a_target_that_reads_the_lungs_gets_those_of_x_and_cannot_see_the_outside() -> None:
    found = effects(Box(slice(None), slice(None), uses_lungs=True), X, LUNGS_X, Y, LUNGS_Y)
    share = float(LUNGS_X.mean())
    assert found[Key("transplant", "whole")].tolist() == pytest.approx([0.6 * share] * 2, abs=1e-5)
    for name in ("outside", "corners", "border", "text"):
        assert found[Key("transplant", name)].tolist() == pytest.approx([0, 0], abs=1e-7)


def test_letters_are_laid_over_by_the_maximum() -> None:
    y = torch.full((2, 1, SIZE, SIZE), 0.1)
    y[0, 0, 3:10, 3] = y[0, 0, 9, 3:8] = 1  # an L
    images = transplants(X, y, LUNGS_X, LUNGS_Y)
    assert float(images["text"][0, 0, 5, 3]) == pytest.approx(1)
    assert bool((images["text"] >= X).all())
    assert torch.equal(images["text"][1:], X)
    found = effects(Box(slice(0, 12), slice(0, 12)), X, LUNGS_X, y, LUNGS_Y)[Key("transplant", "text")]
    assert found[0] > 0.05
    assert found[1] == 0


def test_a_constant_target_feels_nothing_and_a_donor_like_x_changes_nothing() -> None:
    for found in effects(ConstantTarget(), X, LUNGS_X, Y, LUNGS_Y).values():
        assert found.tolist() == [0, 0]
    x = torch.rand(1, 1, SIZE, SIZE)
    for found in effects(Box(slice(None), slice(None)), x, LUNGS_X, x, LUNGS_X).values():
        assert found.tolist() == pytest.approx([0], abs=1e-6)


def test_donors_do_not_depend_on_each_other() -> None:
    target, donors = Box(slice(0, 20), slice(0, 20)), torch.rand(2, 1, SIZE, SIZE)
    both = effects(target, X, LUNGS_X, donors, LUNGS_Y)
    alone = effects(target, X, LUNGS_X, donors[1:], LUNGS_Y[1:])
    for name in EFFECTS:
        torch.testing.assert_close(both[name][1:], alone[name])
    only = (Key("transplant", "text"), Key("transplant", "outside"))
    some = effects(target, X, LUNGS_X, donors, LUNGS_Y, only)
    assert tuple(some) == only
    torch.testing.assert_close(some[Key("transplant", "outside")], both[Key("transplant", "outside")])


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"expected x \(1, 1, H, W\)"):
        effects(ConstantTarget(), Y, LUNGS_Y, Y, LUNGS_Y)
