"""Names of classes: one spelling each, whole words."""

from __future__ import annotations

import pytest

from gan_explain.labels import belongs, coarse


@pytest.mark.parametrize(
    ("label", "positive", "expected"),
    [
        ("covid", ("covid",), True),
        ("COVID-19", ("covid",), True),
        ("COVID+", ("covid",), True),
        ("COVID-19 positive", ("covid",), True),
        ("covid", ("COVID-19",), True),
        ("normal", ("covid",), False),
        ("bacterial_pneumonia", ("pneumonia",), True),
        ("Viral Pneumonia", ("Pneumonia",), True),
        ("covid", ("Pneumonia",), False),
        ("pneumonia", ("viral_pneumonia",), False),
        ("covid", ("Lung Opacity",), True),
        ("other_pneumonia", ("Lung_Opacity",), True),
        ("lung_opacity", ("Lung Opacity",), True),
        ("normal", ("Lung Opacity",), False),
        ("no_covid", ("covid",), False),
    ],
)
def test_which_labels_belong_to_a_positive_set(label: str, positive: tuple[str, ...], expected: bool) -> None:
    assert belongs(label, positive) is expected


def test_the_three_class_view() -> None:
    assert [coarse(x) for x in ("No Finding", "Viral Pneumonia", "covid19", "tb")] == ["normal", "pneumonia", "covid", "tb"]
