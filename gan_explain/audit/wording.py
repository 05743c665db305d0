"""Numbers as an audit's sentences write them: values and shares with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

from gan_explain.metrics.measure import Measure


def number(x: float, digits: int = 2) -> str:
    """0.48; no minus on a rounded zero."""
    text = f"{x:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def interval(found: Measure) -> str:
    """0.20 [0.16, 0.24] of a measure that was taken, 0.010 [0.005, 0.015] where it is small; the value alone without an
    interval."""
    value, low, high = known(found), found.low, found.high
    digits = 3 if abs(value) < 0.1 and (value or low or high) else 2
    if low is None or high is None:
        return number(value, digits)
    return f"{number(value, digits)} [{number(low, digits)}, {number(high, digits)}]"


def percent(x: float) -> str:
    """48; one decimal where the whole number would claim all or none (99.6)."""
    whole = f"{100 * x:.0f}"
    return f"{100 * x:.1f}" if whole in ("0", "100") and x not in (0, 1) else whole


def share(found: Measure) -> str:
    """48 % [39, 57] of a measure that was taken and is a share."""
    value = f"{percent(known(found))} %"
    return value if found.low is None or found.high is None else f"{value} [{percent(found.low)}, {percent(found.high)}]"


def known(found: Measure) -> float:
    """The value of a measure that was taken."""
    assert found.value is not None
    return found.value


def listed(parts: Sequence[str], last: str = "and") -> str:
    """a; a and b; a, b and c."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}" if parts else ""
