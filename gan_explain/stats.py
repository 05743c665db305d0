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


def curve_band(
    curves: ArrayLike, patients: Sequence[str], n_boot: int = 1000, seed: int = 0, *, confidence: float = 0.95
) -> tuple[Floats, Floats, Floats]:
    """Mean of curves (N, L) with a pointwise percentile band over resampled patients: mean, low, high, each (L,).

    Each column is what `patient_bootstrap` gives for it alone with the same seed: one draw of patients serves the whole curve.
    Curves with a value that is not finite are left out; NaN throughout where none is left.
    """
    array = np.asarray(curves, dtype=np.float64)
    if array.ndim != 2 or len(array) != len(patients):
        raise ValueError(f"expected a curve a patient entry ({len(patients)}, L), got {array.shape}")
    kept = np.isfinite(array).all(1)
    array, names = array[kept], np.asarray(patients)[kept]
    if not len(array):
        nothing = np.full(array.shape[1], np.nan)
        return nothing, nothing.copy(), nothing.copy()
    _, which = np.unique(names, return_inverse=True)
    sums = np.stack([np.bincount(which, column) for column in array.T], axis=1)  # (N, L) -> (P, L)
    counts = np.bincount(which).astype(np.float64)
    draws = np.random.default_rng(seed).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=n_boot)
    low, high = np.quantile((draws @ sums) / (draws @ counts)[:, None], [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return array.mean(0), low, high


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


def between_groups(curves: ArrayLike, groups: Sequence[str], x: ArrayLike) -> float:
    """Between-group sum of squares of curves (P, L), integrated over x (L,) by trapezoids and divided by the length of x.

    sum over groups g of n_g (mean_g(x) - mean(x))^2: 0 where all groups have one mean curve. With one x it is the
    between-group sum of squares of an analysis of variance.
    """
    array, which, weights = _grouped(curves, groups, x)
    return _between(array - array.mean(0), np.eye(int(which.max()) + 1)[which], weights)


def curve_permutation_test(
    curves: ArrayLike, groups: Sequence[str], x: ArrayLike, *, strata: Sequence[str] | None = None, n: int = 2000, seed: int = 0
) -> float:
    """p-value of `between_groups` for curves (P, L), one a patient, by shuffling the groups among patients; in (0, 1].

    Tested is that a patient's curve has one distribution in all groups. With `strata` (P,) curves are taken from the mean of
    their stratum and the groups are shuffled within it alone: a difference between strata (sources, say) is not put down to the
    groups. p counts the observed arrangement too: (1 + as extreme) / (n + 1) (Phipson & Smyth, 2010), so it is never too small.
    """
    array, which, weights = _grouped(curves, groups, x)
    inside = ["all"] * len(which) if strata is None else strata
    centred, members = centred_within(array, inside), np.eye(int(which.max()) + 1)[which]  # (P, L), (P, G)
    observed = _between(centred, members, weights)
    places = [np.flatnonzero(np.asarray(inside) == name) for name in sorted(set(inside))]
    random, extreme, order = np.random.default_rng(seed), 0, np.arange(len(which))
    for _ in range(n):
        for place in places:
            order[place] = random.permutation(place)
        extreme += _between(centred, members[order], weights) >= observed * (1 - 1e-9) - 1e-15
    return float((1 + extreme) / (n + 1))


def centred_within(curves: ArrayLike, strata: Sequence[str]) -> Floats:
    """Curves (P, L), each less the mean curve of its stratum (P,)."""
    array = np.asarray(curves, dtype=np.float64)
    if len(array) != len(strata):
        raise ValueError(f"expected a stratum for each of {len(array)} curves, got {len(strata)}")
    _, which = np.unique(np.asarray(strata), return_inverse=True)
    means = np.stack([array[which == i].mean(0) for i in range(which.max() + 1)])
    centred: Floats = array - means[which]
    return centred


def _grouped(curves: ArrayLike, groups: Sequence[str], x: ArrayLike) -> tuple[Floats, NDArray[np.int64], Floats]:
    """Curves (P, L), the number of each one's group (P,), and the share of each x in a mean over it (L,)."""
    array, at = np.asarray(curves, dtype=np.float64), np.asarray(x, dtype=np.float64)
    if array.ndim != 2 or not len(array) or array.shape != (len(groups), len(at)) or not np.isfinite(array).all():
        raise ValueError(f"expected finite curves ({len(groups)}, {len(at)}), at least one, got {array.shape}")
    if len(at) > 1 and not (np.diff(at) > 0).all():
        raise ValueError(f"expected x in rising order, got {list(at)}")
    half = np.diff(at) / 2
    weights = np.append(half, 0) + np.insert(half, 0, 0) if len(at) > 1 else np.ones(1)
    return array, np.unique(np.asarray(groups), return_inverse=True)[1], weights / weights.sum()


def _between(centred: Floats, members: Floats, weights: Floats) -> float:
    """Centred curves (P, L), membership (P, G) in {0, 1}, weights (L,) -> the sum of squares between the groups."""
    sums = members.T @ centred  # (G, L)
    return float((sums**2 / members.sum(0)[:, None]).sum(0) @ weights)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values corrected for their number, which holds the chance of any false one under any dependence (Holm, 1979):
    the i-th smallest of m times m - i + 1, no smaller than the one before, at most 1. None stays None and does not count.
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    if any(not 0 <= p <= 1 for p, _ in known):
        raise ValueError(f"expected p-values in [0, 1] or None, got {list(p_values)}")
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        corrected[i] = largest
    return corrected


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
