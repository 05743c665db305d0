"""How the audit's page says things: numbers, intervals, what a measure is called."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gan_explain.audit.document import Effect
from gan_explain.audit.thresholds import Limit
from gan_explain.metrics.measure import Measure
from gan_explain.metrics.registry import Key, entries, grouped

MISSING = "–"

__all__ = [
    "ANSWERS",
    "bound",
    "direction",
    "finite",
    "grouped",
    "interval",
    "label",
    "number",
    "p_value",
    "place",
    "sentence",
    "sources",
]

ANSWERS = {"pass": ("✓", "pass"), "fail": ("✗", "fail"), "abstain": ("?", "abstains")}


def finite(value: object) -> float | None:
    """A number, or text that is one; None for None, "", NaN, infinities and anything else. True is 1."""
    if isinstance(value, (int, float, str)):
        try:
            found = float(value)
        except ValueError:
            return None
        return found if math.isfinite(found) else None
    return None


def number(value: object, digits: int = 3) -> str:
    """A number for reading: 3 decimals, fewer for large ones, a true minus sign; a dash for none."""
    found = finite(value)
    if found is None:
        return MISSING
    size = abs(found)
    text = f"{found:,.0f}" if size >= 1000 else f"{found:.{min(digits, 1)}f}" if size >= 100 else f"{found:.{digits}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def p_value(p: object) -> str:
    """ "= 0.012", or "< 0.001" where three decimals would claim 0."""
    found = finite(p)
    return "< 0.001" if found is not None and found < 0.001 else f"= {number(p)}"


def interval(measure: Measure | None) -> str:
    """The bounds of a measure in brackets; empty where it has none."""
    if measure is None or finite(measure.value) is None:
        return ""
    low, high = finite(measure.low), finite(measure.high)
    return f"[{number(low)}, {number(high)}]" if low is not None and high is not None else ""


def label(name: str) -> str:
    """What a measure is called; the name itself where nothing better is known."""
    return Key.parse(name).label


def direction(name: str) -> str:
    """Whether more, or less, of a measure is better, and its unit."""
    found = entries().get(Key.parse(name).name)
    if found is None:
        return ""
    arrow = {"higher": "↑", "lower": "↓", None: ""}[found.better]
    return " ".join(filter(None, (arrow, found.unit)))


def place(effect: Effect) -> str:
    """What was taken from the donor."""
    kind = {"region": "transplant", "statistic": "statistic"}[effect.kind]
    return entries()[kind].of.get(effect.name, effect.name)


def bound(limit: Limit) -> str:
    """What a check allows: "at least 0.750", "within ±0.050"."""
    at = number(limit.threshold)
    return f"within ±{at}" if limit.relation == "within" else f"{limit.relation} {at}"


def sources(measures: Mapping[str, Measure], names: Sequence[str]) -> list[str]:
    """The sources that any of these measures is split by."""
    return sorted({source for name in names for source in measures[name].by})


def sentence(items: Sequence[str], last: str = "and") -> str:
    """["a", "b", "c"] -> "a, b and c"."""
    return f" {last} ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else list(items))
