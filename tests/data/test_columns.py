"""Cells as hospitals write them."""

from __future__ import annotations

import logging

import pytest

from gan_explain.data.columns import numbers, years


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("58", 58), ("58.5", 58.5), (" 058Y ", 58), ("058y", 58), ("006M", 0.5), ("052W", 0.996), ("010D", 0.027), (">89", 90),
        (">=89", 89), ("89+", 89), ("nan", None), ("N/A", None), ("", None), ("old", None), ("-3", None), ("58 60", None),
    ],
)  # fmt: skip
def test_ages(text: str, age: float | None) -> None:
    assert years(text) == (None if age is None else pytest.approx(age, abs=1e-3))


def test_one_bad_cell_is_unknown_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = numbers(["058Y", "61", ">89", "nan", "N/A", "", "sixty", "7", "8"], "age")
    assert found == [58, 61, 90, None, None, None, None, 7, 8]
    assert "column age: 1 of 6 entries are no number" in caplog.text
    assert numbers(["1", "2", "x"], "score") is None
    assert numbers(["", "nan"]) is None
