"""Statistics of per-sample measures: patient bootstrap, ranks, curves, operating points. Arrays in, numbers out.

Samples of one patient are not independent, so intervals resample patients (Efron & Tibshirani, "An Introduction to the
Bootstrap", 1993, in clusters). Non-finite values are dropped and `n` counts what was left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]
Statistic = Callable[[NDArray[np.int64]], float]


@dataclass(frozen=True)
class Interval:
    """A value with its percentile-bootstrap interval and the number of samples; NaN where there are none."""

    value: float
    low: float
    high: float
    n: int


def patient_bootstrap(
    values: ArrayLike,
    patients: Sequence[str],
    statistic: Callable[[Floats], float] = np.mean,  # type: ignore[assignment]
    *,
    n_boot: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """Interval of `statistic` of values (N,) over resampled patients; fast for the mean."""
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (len(patients),):
        raise ValueError(f"expected one value a patient entry ({len(patients)},), got {array.shape}")
    kept = np.isfinite(array)
    array, names = array[kept], np.asarray(patients)[kept]
    if not len(array):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    if statistic is not np.mean:
        options = {"n_boot": n_boot, "seed": seed}
        return bootstrap_indices(lambda i: float(statistic(array[i])), list(names), confidence=confidence, **options)
    _, which = np.unique(names, return_inverse=True)
    sums, counts = np.bincount(which, array), np.bincount(which).astype(np.float64)
    draws = np.random.default_rng(seed).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=n_boot)
    return _interval(float(array.mean()), (draws @ sums) / (draws @ counts), len(array), confidence)


def bootstrap_indices(
    statistic: Statistic, patients: Sequence[str], *, n_boot: int = 1000, seed: int = 0, confidence: float = 0.95
) -> Interval:
    """Interval of a function of sample indices (an AUROC, a correlation): patients are resampled, their samples go along.

    Resamples on which the statistic is not finite (one class only, say) are left out.
    """
    names = np.asarray(patients)
    unique, which = np.unique(names, return_inverse=True)
    members = [np.flatnonzero(which == i) for i in range(len(unique))]
    random = np.random.default_rng(seed)
    drawn = np.array(
        [statistic(np.concatenate([members[i] for i in random.integers(len(unique), size=len(unique))])) for _ in range(n_boot)]
    )
    return _interval(statistic(np.arange(len(names))), drawn[np.isfinite(drawn)], len(names), confidence)


def paired_bootstrap(
    a: ArrayLike, b: ArrayLike, patients: Sequence[str], *, n_boot: int = 1000, seed: int = 0, confidence: float = 0.95
) -> Interval:
    """Interval of mean(a - b) for two measures (N,) of the same samples."""
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    return patient_bootstrap(difference, patients, n_boot=n_boot, seed=seed, confidence=confidence)


def _interval(value: float, drawn: Floats, n: int, confidence: float) -> Interval:
    if not len(drawn):
        return Interval(value, float("nan"), float("nan"), n)
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high), n)


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rank correlation of x and y (N,); NaN when one of them is constant."""
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(stats.spearmanr(a, b).statistic)


def violation_mass(response: ArrayLike) -> float:
    """Share of a curve's movement (L,) that goes down: sum of max(0, -dr) over sum of |dr|; NaN for a flat curve."""
    steps = np.diff(np.asarray(response, dtype=np.float64))
    moved = np.abs(steps).sum()
    return float(np.maximum(0, -steps).sum() / moved) if moved > 0 else float("nan")


def permutation_test(a: ArrayLike, b: ArrayLike, *, n: int = 2000, seed: int = 0) -> float:
    """Two-sided p-value of a difference in means of two independent groups (one value a patient), by shuffling the groups."""
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    both = np.concatenate([x, y])
    random = np.random.default_rng(seed)
    observed = abs(x.mean() - y.mean())
    shuffled = np.array([(lambda s: abs(s[: len(x)].mean() - s[len(x) :].mean()))(random.permutation(both)) for _ in range(n)])
    return float((1 + (shuffled >= observed - 1e-12).sum()) / (n + 1))


def auroc(score: ArrayLike, positive: ArrayLike) -> float:
    """Area under the ROC curve from ranks (ties count half); NaN with one class only."""
    ranks = stats.rankdata(np.asarray(score, dtype=np.float64))
    is_positive = np.asarray(positive, dtype=bool)
    n, m = int(is_positive.sum()), int((~is_positive).sum())
    return float((ranks[is_positive].sum() - n * (n + 1) / 2) / (n * m)) if n and m else float("nan")


def balanced_accuracy(called: ArrayLike, positive: ArrayLike) -> float:
    """Mean of sensitivity and specificity; NaN with one class only."""
    yes, truth = np.asarray(called, dtype=bool), np.asarray(positive, dtype=bool)
    return float((yes[truth].mean() + (~yes[~truth]).mean()) / 2) if truth.any() and not truth.all() else float("nan")


def expected_calibration_error(p: ArrayLike, positive: ArrayLike, bins: int = 15) -> float:
    """Mean distance of p from the observed frequency over equal-width bins, weighted by their size (Guo et al., ICML 2017)."""
    probability, truth = np.asarray(p, dtype=np.float64), np.asarray(positive, dtype=np.float64)
    if not len(probability):
        return float("nan")
    which = np.minimum((probability * bins).astype(int), bins - 1)
    gap = np.bincount(which, probability, bins) - np.bincount(which, truth, bins)
    return float(np.abs(gap).sum() / len(probability))


def best_operating_point(p: ArrayLike, positive: ArrayLike) -> float:
    """The threshold of best balanced accuracy (at or above it is positive): the middle of the widest best gap between scores."""
    score, truth = np.asarray(p, dtype=np.float64), np.asarray(positive, dtype=bool)
    distinct = np.unique(score)
    if len(distinct) < 2:
        return 0.5
    middles, gaps = (distinct[1:] + distinct[:-1]) / 2, np.diff(distinct)
    quality = np.array([balanced_accuracy(score >= t, truth) for t in middles])
    best = np.flatnonzero(quality >= quality.max() - 1e-12)
    return float(middles[best[np.argmax(gaps[best])]])
