"""Do two measures rise and fall together within patients? Differences between patients do not count."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from gan_explain.metrics.measure import Measure
from gan_explain.progression.patients import DATES
from gan_explain.progression.result import Progression
from gan_explain.stats import Interval, patient_bootstrap

Sums = tuple[float, float, float]  # of products of centred ranks: ab, aa, bb

PAIRS = {
    "opacity_load~probability": ("opacity_load", "probability"),
    "opacity_area~probability": ("opacity_area", "probability"),
    "grad_cam_area~probability": ("grad_cam_area", "probability"),
    "grad_cam_area~opacity_area": ("grad_cam_area", "opacity_area"),
}


def agreement(progressions: Sequence[Progression], seed: int = 0, n_boot: int = 1000) -> dict[str, Measure]:
    """How far measures agree within patients, over those with three days or more, and by split.

    A~B: the mean over patients of Spearman's rho within each. A~B.pooled: one correlation of all radiographs, each measure as its
    rank within the patient less the patient's mean rank (the repeated-measures correlation of Bakdash and Marusich, Frontiers in
    Psychology 2017, on ranks), so that a patient with more radiographs counts more. Intervals of 95 % resample patients; n counts
    patients whose measures both change.
    """
    chosen = [each for each in progressions if len(set(each.days)) >= DATES]
    splits = [each.split for each in chosen]
    reason = next((each.no_heat for each in chosen if each.no_heat), "no patient has three days and a measure that changes")
    found: dict[str, Measure] = {}
    for name, (first, second) in PAIRS.items():
        rho = np.array([each.correlation(first, second) for each in chosen])
        sums = np.array([rank_sums(each.series(first), each.series(second)) for each in chosen]).reshape(-1, 3)
        found[name] = Measure.by_source(_Mean(rho, seed, n_boot), splits, reason)
        found[f"{name}.pooled"] = Measure.by_source(_Pooled(sums, seed, n_boot), splits, reason)
    return found


def rank_sums(a: Sequence[float], b: Sequence[float]) -> Sums:
    """What one patient adds to a pooled correlation of two series (N,); NaN where a value is missing or one series constant."""
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if not (np.isfinite(x).all() and np.isfinite(y).all()) or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan, math.nan, math.nan
    x, y = (ranks - ranks.mean() for ranks in (rankdata(x), rankdata(y)))
    return float(x @ y), float(x @ x), float(y @ y)


class _Mean:
    """Mean rho of some patients, with its interval."""

    def __init__(self, rho: NDArray[np.float64], seed: int, n_boot: int) -> None:
        self.rho, self.seed, self.n_boot = rho, seed, n_boot

    def __call__(self, patients: NDArray[np.int64]) -> Interval:
        names = [str(i) for i in patients]
        return patient_bootstrap(self.rho[patients], names, seed=self.seed, n_boot=self.n_boot)


class _Pooled:
    """One correlation from the rank sums (P, 3) of some patients, with its interval."""

    def __init__(self, sums: NDArray[np.float64], seed: int, n_boot: int) -> None:
        self.sums, self.seed, self.n_boot = sums, seed, n_boot

    def __call__(self, patients: NDArray[np.int64]) -> Interval:
        table: NDArray[np.float64] = self.sums[patients]
        table = table[np.isfinite(table).all(1)]
        count = len(table)
        if not count:
            return Interval(math.nan, math.nan, math.nan, 0)
        drawn = np.random.default_rng(self.seed).multinomial(count, np.full(count, 1 / count), size=self.n_boot) @ table
        low, high = np.quantile(correlation(drawn), [0.025, 0.975])
        return Interval(float(correlation(table.sum(0))), float(low), float(high), count)


def correlation(sums: Any) -> Any:
    """ab / sqrt(aa bb) of sums (..., 3)."""
    return sums[..., 0] / np.sqrt(sums[..., 1] * sums[..., 2])
