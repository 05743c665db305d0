"""Measures as a table for a terminal: a row for each measure and, under it, one for each group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def format_measures(measures: Mapping[str, Mapping[str, Any]]) -> str:
    """{name: {value, low, high, n, by: {group: {...}}}} -> lines of text; a missing value shows its reason."""
    rows: list[tuple[str, ...]] = [("measure", "value", "95% interval", "n")]
    for name, measure in measures.items():
        rows.append(_row(name, measure))
        rows += [_row(f"  {group}", each) for group, each in (measure.get("by") or {}).items()]
    widths = [max(len(row[i]) for row in rows if len(row) == 4) for i in range(4)]
    return "\n".join(_line(row, widths) for row in rows)


def _row(name: str, measure: Mapping[str, Any]) -> tuple[str, ...]:
    value = measure.get("value")
    if value is None:
        return name, f"not measured: {measure.get('reason', 'no reason given')}"
    low, high = measure.get("low"), measure.get("high")
    interval = f"[{_number(low)}, {_number(high)}]" if low is not None and high is not None else ""
    return name, _number(value), interval, str(measure.get("n", ""))


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.4g}"


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    if len(row) == 2:
        return f"{row[0].ljust(widths[0])}  {row[1]}"
    name, *cells = row
    return "  ".join(
        [name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))]
    ).rstrip()
