"""From one number a sample to a measure: value, patient-bootstrap interval, and the same within every source."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gan_explain.stats import Interval, patient_bootstrap

Indices = NDArray[np.int64]
Measure = dict[str, object]  # {"value", "low", "high", "n"[, "reason"], "by": {SOURCE: the same}}


def measure(
    values: ArrayLike,
    patients: Sequence[str],
    sources: Sequence[str],
    *,
    statistic: Callable[[Any], Any] = np.mean,
    n_boot: int = 1000,
    seed: int = 0,
    reason: str = "no sample has a value",
) -> Measure:
    """A statistic of values (N,), over all and by source. Values that are not finite are left out; `n` says how many remain."""
    array, who = np.asarray(values, dtype=np.float64), np.asarray(patients, dtype=object)

    def interval(index: Indices) -> Interval:
        return patient_bootstrap(array[index], list(who[index]), statistic, n_boot=n_boot, seed=seed)

    return by_source(interval, sources, reason)


def by_source(interval: Callable[[Indices], Interval], sources: Sequence[str], reason: str = "undefined") -> Measure:
    """interval(indices of samples) over all samples and within each source; where it is undefined, `reason` is given."""
    names = np.asarray(sources, dtype=object)
    whole = entry(interval(np.arange(len(names))), reason)
    whole["by"] = {name: entry(interval(np.flatnonzero(names == name)), reason) for name in sorted(set(sources))}
    return whole


def entry(interval: Interval, reason: str = "undefined") -> Measure:
    """An interval as JSON: NaN never leaves, it becomes null with its reason."""
    if not math.isfinite(interval.value):
        return null(reason)
    low, high = ((x if math.isfinite(x) else None) for x in (interval.low, interval.high))
    return {"value": interval.value, "low": low, "high": high, "n": interval.n}


def null(reason: str) -> Measure:
    """A measure that could not be taken."""
    return {"value": None, "reason": reason}


def format_table(measures: Mapping[str, Mapping[str, Any]]) -> str:
    """An aligned text table: a row for each measure and, indented, one for each of its sources (where there are several)."""
    rows = [("measure", "value", "95% interval", "n")]
    for name, found in measures.items():
        rows.append((name, *_cells(found)))
        sources = found.get("by", {})
        if len(sources) > 1:
            rows += [(f"  {source or '(no source)'}", *_cells(each)) for source, each in sources.items()]
    widths = [max(len(row[i]) for row in rows if i == 0 or row[2]) for i in range(4)]
    lines = []
    for name, value, interval, n in rows:
        if interval:
            lines.append(f"{name:<{widths[0]}}  {value:>{widths[1]}}  {interval:<{widths[2]}}  {n:>{widths[3]}}")
        else:
            lines.append(f"{name:<{widths[0]}}  {value}")
    return "\n".join(lines)


def _cells(found: Mapping[str, Any]) -> tuple[str, str, str]:
    if found.get("value") is None:
        return f"- ({found.get('reason', 'undefined')})", "", ""
    value, low, high = (found.get(key) for key in ("value", "low", "high"))
    interval = "[-]" if low is None or high is None else f"[{_number(low)}, {_number(high)}]"
    return _number(value), interval, str(found.get("n", ""))


def _number(x: float | None) -> str:
    return "-" if x is None else f"{x:.3f}" if abs(x) < 1000 else f"{x:.4g}"
