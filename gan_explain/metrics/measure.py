"""A measure: one number over samples, its patient-bootstrap interval of 95 %, and the same within every source."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gan_explain.stats import Floats, Interval, patient_bootstrap, spearman

Indices = NDArray[np.int64]
Statistic = Callable[[Any], Any]  # values (N,) -> a number


@dataclass(frozen=True)
class Measure:
    """value: None where it could not be taken, and `reason` says why. low, high: the interval, None for a number of a whole set.
    n: samples that it rests on; patients: of how many, where that is known. by: the same within each source."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    patients: int | None = None
    reason: str = ""
    by: Mapping[str, Measure] = field(default_factory=dict)

    @classmethod
    def missing(cls, reason: str) -> Measure:
        """One that could not be taken."""
        return cls(reason=reason)

    @classmethod
    def over(
        cls,
        values: ArrayLike,
        patients: Sequence[str],
        sources: Sequence[str],
        *,
        statistic: Statistic = np.mean,
        n_boot: int = 1000,
        seed: int = 0,
        reason: str = "no sample has a value",
    ) -> Measure:
        """A statistic of values (N,). Values that are not finite are left out; `n` says how many remain."""
        array, who = np.asarray(values, dtype=np.float64), np.asarray(patients, dtype=object)

        def interval(index: Indices) -> Interval:
            return patient_bootstrap(array[index], list(who[index]), statistic, n_boot=n_boot, seed=seed)

        return cls.by_source(interval, sources, reason)

    @classmethod
    def related(
        cls,
        first: ArrayLike,
        second: ArrayLike,
        patients: Sequence[str],
        sources: Sequence[str],
        *,
        of: Callable[[Floats, Floats], float] = spearman,
        n_boot: int = 1000,
        seed: int = 0,
    ) -> Measure:
        """A statistic of two columns (N,) over the samples that have both."""
        a, b = (np.asarray(column, dtype=np.float64) for column in (first, second))
        places = np.where(np.isfinite(a) & np.isfinite(b), np.arange(len(a)), np.nan)

        def statistic(drawn: Floats) -> float:
            i = drawn.astype(int)
            return of(a[i], b[i])

        reason = "needs two different values of both"
        return cls.over(places, patients, sources, statistic=statistic, n_boot=n_boot, seed=seed, reason=reason)

    @classmethod
    def by_source(cls, interval: Callable[[Indices], Interval], sources: Sequence[str], reason: str = "undefined") -> Measure:
        """interval(indices of samples) over all samples and within each source; where it is undefined, `reason` is given."""
        names = np.asarray(sources, dtype=object)
        by = {name: cls.of(interval(np.flatnonzero(names == name)), reason) for name in sorted(set(sources))}
        return replace(cls.of(interval(np.arange(len(names))), reason), by=by)

    @classmethod
    def of(cls, interval: Interval, reason: str = "undefined") -> Measure:
        """An interval, its patients not known; one without a finite value is missing for this reason."""
        if not math.isfinite(interval.value):
            return cls.missing(reason)
        low, high = (bound if math.isfinite(bound) else None for bound in (interval.low, interval.high))
        return cls(interval.value, low, high, interval.n)

    def as_json(self) -> dict[str, Any]:
        """{"value", "low", "high", "n"} or {"value": None, "reason"}; "patients" and "by" {SOURCE: the same} where known."""
        found: dict[str, Any] = {"value": None, "reason": self.reason}
        if self.value is not None:
            found = {"value": self.value, "low": self.low, "high": self.high, "n": self.n}
        if self.patients is not None:
            found["patients"] = self.patients
        if self.by:
            found["by"] = {name: each.as_json() for name, each in self.by.items()}
        return found

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Measure:
        """What `as_json` gave. ValueError for anything else."""
        if not isinstance(found, Mapping) or "value" not in found or not {*found} <= {*cls.__dataclass_fields__}:
            raise ValueError(f"expected a measure, got {found!r:.80}")
        numbers = [found.get(name) for name in ("value", "low", "high", "n", "patients")]
        if any(isinstance(x, bool) or not isinstance(x, int | float | None) for x in numbers):
            raise ValueError(f"expected a measure of numbers, got {found!r:.80}")
        by = found.get("by", {})
        if not isinstance(by, Mapping) or not isinstance(found.get("reason", ""), str):
            raise ValueError(f"expected a measure by source, got {found!r:.80}")
        return cls(**{**found, "by": {str(name): cls.from_json(each) for name, each in by.items()}})


def format_table(measures: Mapping[str, Measure]) -> str:
    """An aligned text table: a row for each measure and, indented, one for each of its sources (where there are several)."""
    rows = [("measure", "value", "95% interval", "n")]
    for name, found in measures.items():
        rows.append((name, *_cells(found)))
        if len(found.by) > 1:
            rows += [(f"  {source or '(no source)'}", *_cells(each)) for source, each in found.by.items()]
    widths = [max(len(row[i]) for row in rows if i == 0 or row[2]) for i in range(4)]
    lines = []
    for name, value, interval, n in rows:
        if interval:
            lines.append(f"{name:<{widths[0]}}  {value:>{widths[1]}}  {interval:<{widths[2]}}  {n:>{widths[3]}}")
        else:
            lines.append(f"{name:<{widths[0]}}  {value}")
    return "\n".join(lines)


def _cells(found: Measure) -> tuple[str, str, str]:
    if found.value is None:
        return f"- ({found.reason or 'undefined'})", "", ""
    interval = "[-]" if found.low is None or found.high is None else f"[{_number(found.low)}, {_number(found.high)}]"
    return _number(found.value), interval, "" if found.n is None else str(found.n)


def _number(x: float) -> str:
    return f"{x:.3f}" if abs(x) < 1000 else f"{x:.4g}"
