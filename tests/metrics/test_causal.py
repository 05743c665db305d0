"""Causal share and COUT under targets whose cause is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gan_explain.metrics.causal import causal_share
from gan_explain.metrics.cout import cout
from gan_explain.metrics.nulls import ConstantTarget

LUNGS = torch.zeros(2, 1, 16, 16)
LUNGS[..., :8, :] = 1
DARK = torch.zeros(2, 1, 16, 16)


class Region(ConstantTarget):
    """p = brightness of the rows in `rows`, or the product of two regions' where there are two."""

    def __init__(self, *rows: slice) -> None:
        super().__init__()
        object.__setattr__(self, "rows", rows)

    def probability(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        return torch.stack([images[:, 0, rows].mean((1, 2)) for rows in self.rows]).prod(0)  # type: ignore[attr-defined]


INSIDE, OUTSIDE = slice(0, 5), slice(9, 16)  # clear of the feathered border


@pytest.mark.parametrize(("rows", "share"), [(INSIDE, 0.0), (OUTSIDE, 1.0)])
def test_the_side_that_the_target_reads_is_named(rows: slice, share: float) -> None:
    found = causal_share(Region(rows), DARK, torch.ones_like(DARK), LUNGS)
    assert found.outside_share.tolist() == pytest.approx([share] * 2, abs=1e-6)
    assert (found.e_in + found.e_out).tolist() == pytest.approx([1, 1])
    assert found.interaction.tolist() == pytest.approx([0, 0], abs=1e-6)


def test_a_target_that_needs_both_sides_shows_interaction_alone() -> None:
    found = causal_share(Region(INSIDE, OUTSIDE), DARK, torch.ones_like(DARK), LUNGS)
    assert found.interaction.tolist() == pytest.approx([1, 1])
    assert bool(found.outside_share.isnan().all())


def test_no_change_has_no_cause() -> None:
    found = causal_share(Region(INSIDE), DARK, DARK, LUNGS)
    assert found.e_in.tolist() == found.e_out.tolist() == [0, 0]
    assert bool(found.outside_share.isnan().all())


def test_cout_of_a_linear_target_is_the_area_under_the_pasted_change() -> None:
    """An even change pasted evenly: p runs from 0 to 1 in a straight line, AUC 1/2, COUT 0."""
    everything = Region(slice(0, 16))
    found = cout(everything, DARK, torch.ones_like(DARK), torch.tensor([True, False]))
    assert found.tolist() == pytest.approx([0, 0], abs=0.01)


def test_cout_rewards_few_decisive_pixels_and_punishes_the_wrong_way() -> None:
    sparse, image = DARK.clone(), DARK.clone()
    sparse[..., 0, :] = 1
    towards = torch.tensor([True, True])
    decisive = cout(Region(slice(0, 1)), image, sparse, towards)
    assert float(decisive[0]) > 0.85
    torch.testing.assert_close(cout(Region(slice(0, 1)), image, sparse, ~towards), -decisive)


def test_cout_of_a_constant_target_depends_on_nothing() -> None:
    found = cout(ConstantTarget(p=0.3), DARK, torch.rand(2, 1, 16, 16), torch.tensor([True, False]))
    assert found.tolist() == pytest.approx([-0.4, 0.4])
