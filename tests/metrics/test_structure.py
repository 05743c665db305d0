from __future__ import annotations

import pytest
import torch

from gan_explain.metrics.structure import dice, structure, thoracic_width, widened


def lungs(left: slice, right: slice) -> torch.Tensor:
    mask = torch.zeros(1, 1, 20, 20)
    mask[..., 5:15, left] = 1
    mask[..., 5:15, right] = 1
    return mask


def test_the_same_lungs_do_not_drift() -> None:
    mask = lungs(slice(2, 6), slice(14, 18))
    assert {name: values.tolist() for name, values in structure(mask, mask).items()} == {
        "dice": [1], "area_drift": [0], "width_drift": [0],
    }  # fmt: skip


def test_width_goes_from_outer_border_to_outer_border() -> None:
    assert thoracic_width(lungs(slice(2, 6), slice(14, 18))).tolist() == pytest.approx([0.8])
    assert thoracic_width(torch.zeros(1, 1, 20, 20)).tolist() == [0]


def test_a_lung_that_is_lost() -> None:
    found = structure(lungs(slice(2, 6), slice(14, 18)), lungs(slice(2, 6), slice(2, 6)))
    assert found["dice"].tolist() == pytest.approx([2 * 40 / 120])
    assert found["area_drift"].tolist() == pytest.approx([0.5])
    assert found["width_drift"].tolist() == pytest.approx([0.75])


def test_no_lungs_anywhere_agree_and_have_no_drift() -> None:
    nothing = torch.zeros(1, 1, 8, 8)
    assert dice(nothing, nothing).tolist() == [1]
    assert structure(nothing, nothing)["area_drift"].isnan().all()


def test_a_widened_mask_reaches_so_far_and_no_further() -> None:
    mask = torch.zeros(1, 1, 20, 20)
    mask[..., 10, 10] = 1
    assert int(widened(mask, 0.1).sum()) == 25
    assert float(widened(mask, 0.1)[..., 8, 12]) == 1
