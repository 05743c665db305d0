"""Measures by source: what counts, and that NaN never leaves."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from gan_explain.metrics.measure import Measure, format_table


def test_by_source_is_the_measure_of_that_source_alone() -> None:
    values, patients, sources = [1.0, 0.0, 1.0, math.nan], ["a", "b", "c", "d"], ["x", "x", "y", "z"]
    found = Measure.over(values, patients, sources, n_boot=50)
    assert (found.value, found.n) == (2 / 3, 3)
    assert found.by["x"] == replace(Measure.over(values[:2], patients[:2], ["x"] * 2, n_boot=50), by={})
    assert found.by["z"].as_json() == {"value": None, "reason": "no sample has a value"}
    assert Measure.from_json(json.loads(json.dumps(found.as_json(), allow_nan=False))) == found


@pytest.mark.parametrize(
    "found", [{}, None, {"value": "1"}, {"value": 1.0, "more": 2}, {"value": True}, {"value": 1, "by": {"a": 1}}]
)
def test_what_is_no_measure_is_refused(found: Any) -> None:
    with pytest.raises(ValueError, match="expected a measure"):
        Measure.from_json(found)


def test_a_single_source_gets_no_row_of_its_own() -> None:
    assert len(format_table({"m": Measure.over([1.0], ["a"], ["x"], n_boot=5)}).splitlines()) == 2
