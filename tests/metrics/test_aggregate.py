"""Measures by source: what counts, and that NaN never leaves."""

from __future__ import annotations

import json
import math

from gan_explain.metrics.aggregate import format_table, measure


def test_by_source_is_the_measure_of_that_source_alone() -> None:
    values, patients, sources = [1.0, 0.0, 1.0, math.nan], ["a", "b", "c", "d"], ["x", "x", "y", "z"]
    found = measure(values, patients, sources, n_boot=50)
    assert (found["value"], found["n"]) == (2 / 3, 3)
    assert found["by"]["x"] == {k: v for k, v in measure(values[:2], patients[:2], ["x"] * 2, n_boot=50).items() if k != "by"}
    assert found["by"]["z"] == {"value": None, "reason": "no sample has a value"}
    json.dumps(found, allow_nan=False)


def test_a_single_source_gets_no_row_of_its_own() -> None:
    assert len(format_table({"m": measure([1.0], ["a"], ["x"], n_boot=5)}).splitlines()) == 2
