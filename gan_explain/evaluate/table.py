"""A table of one row a sample, and how it lies on disk: CSV whose numbers come back to the bit."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gan_explain.files.text import csv_text, plain

TEXT = ("path", "patient_id", "source", "label", "called")  # columns that are not numbers
BY = "by."  # prefix of manifest columns that a table takes along, as text

Row = dict[str, Any]


def is_text(column: str) -> bool:
    return column in TEXT or column.startswith(BY)


def to_csv(rows: Sequence[Row]) -> str:
    """Rows as CSV, a column for every name that any of them has; what is missing or not finite is empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return csv_text([names, *([_cell(row.get(name, math.nan)) for name in names] for row in rows)])


def from_csv(lines: Iterable[str]) -> list[Row]:
    """What `to_csv` wrote; empty numbers become NaN. ValueError for a cell that is no number."""
    return [_parse(row) for row in csv.DictReader(lines)]


def _cell(value: Any) -> str | float | None:
    if isinstance(value, str):
        return value
    return float(value) if math.isfinite(value) else None


def _parse(row: Mapping[str, str]) -> Row:
    named = {plain(name): text for name, text in row.items()}
    return {name: plain(text) if is_text(name) else float(text) if text else math.nan for name, text in named.items()}
