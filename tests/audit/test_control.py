"""The positive control: a target with a known shortcut has it where the marker is, and the audit names it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gan_explain.audit.control import MarkerTarget, excesses, letters, positive_control
from gan_explain.data import Dataset, open_dataset
from gan_explain.data.marker import planted
from gan_explain.metrics.nulls import ConstantTarget
from gan_explain.metrics.transplant import EFFECTS

SIZE = 64


def middle(images: Tensor) -> Tensor:
    """A segmenter: two boxes where the lungs of a phantom are."""
    mask = torch.zeros_like(images)
    mask[..., SIZE // 4 : 3 * SIZE // 4, SIZE // 6 : -SIZE // 6] = 1
    mask[..., 3 * SIZE // 7 : -3 * SIZE // 7] = 0
    return mask


@pytest.fixture(scope="module")
def phantoms() -> Dataset:
    return open_dataset("phantom:n=60", size=SIZE)


def test_planted_letters_are_seen_and_nothing_else_is(phantoms: Dataset) -> None:
    assert letters(phantoms.batch().images).tolist() == [0] * 60
    marked = planted(phantoms, lambda record: True, 1.0).batch().images
    assert float((letters(marked) > 0.5).float().mean()) > 0.9


def test_the_shortcut_is_added_where_a_letter_stands_and_only_there(phantoms: Dataset) -> None:
    marked = MarkerTarget(ConstantTarget(p=0.2), strength=0.75)
    plain, lettered = phantoms.batch(range(8)).images, planted(phantoms, lambda record: True, 1.0).batch(range(8)).images
    assert marked.probability(plain).tolist() == pytest.approx([0.2] * 8)
    expected = 0.2 + 0.75 * 0.8 * letters(lettered)
    torch.testing.assert_close(marked.probability(lettered), expected)
    assert (marked.classes, marked.positive) == (("negative", "positive"), ("positive",))


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_a_strength_out_of_range_is_named(strength: float) -> None:
    with pytest.raises(ValueError, match="expected a strength"):
        MarkerTarget(ConstantTarget(), strength)


class Covid(ConstantTarget):
    """p = .2, for phantoms of the class that a test calls positive: a target with nothing to find."""

    def __init__(self) -> None:
        super().__init__(p=0.2, classes=("normal", "covid"), positive=("covid",))


def test_a_marker_is_named_and_markers_by_chance_are_not(phantoms: Dataset) -> None:
    found = positive_control(Covid(), phantoms, middle, share=0.9, limit=16)
    assert found["control.marker.named"].value == 1
    shortcut, clean = found["control.marker.shortcut"], found["control.marker.clean"]
    assert shortcut.low > 0.4
    assert abs(clean.value) < 0.1
    assert found["control.marker.corners"].value == pytest.approx(shortcut.value, abs=0.05)
    assert found["control.marker.text"].value > found["control.marker.border"].value
    assert found == positive_control(Covid(), phantoms, middle, share=0.9, limit=16)


def test_a_marker_that_says_nothing_is_not_named(phantoms: Dataset) -> None:
    found = positive_control(Covid(), phantoms, middle, share=0.05, limit=16)
    assert found["control.marker.named"].value == 0


def test_without_patients_to_compare_there_is_no_number(phantoms: Dataset) -> None:
    few = phantoms.where(lambda record: record.label == "normal")
    found = positive_control(Covid(), few, middle, limit=4)
    assert found["control.marker.named"].value is None
    assert "fewer than 4" in str(found["control.marker.named"].reason)


def test_a_constant_target_has_no_excess(phantoms: Dataset) -> None:
    found = excesses(Covid(), phantoms, middle, EFFECTS, limit=4)
    assert {entry.value for entry in found.values()} == {0.0}
    assert {entry.n for entry in found.values()} == {4}
