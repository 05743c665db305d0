"""Statistics of measures: patient-bootstrap intervals, monotonicity, permutation tests, discrimination and calibration.

Arrays in, numbers out. N samples of P patients; samples of one patient are not independent, so patients are what is resampled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]
Patients = Sequence[Hashable] | NDArray[Any]

CELLS = 4_000_000  # resampling weights held in memory at a time


@dataclass(frozen=True)
class Interval:
    """A statistic of n samples and its bootstrap percentile interval; all NaN where it is undefined."""

    value: float
    low: float
    high: float
    n: int

    @property
    def defined(self) -> bool:
        return math.isfinite(self.value)


def patient_bootstrap(
    values: ArrayLike,
    patients: Patients,
    statistic: Callable[[FloatArray], Any] = np.mean,
    n_boot: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """Interval of statistic(values) under resampling of patients: values (N,), patients (N,).

    Values that are not finite are dropped; `n` counts those that remain. With the mean, a resample is a multinomial weight for
    each patient, and all of them are one matrix product.
    """
    array = np.asarray(values, dtype=np.float64).reshape(-1)
    codes = _patient_codes(patients, len(array))
    finite = np.isfinite(array)
    array, codes = array[finite], codes[finite]
    if statistic is not np.mean:
        return _bootstrap(codes, lambda index: float(statistic(array[index])), n_boot, seed, confidence)
    if not len(array):
        return Interval(math.nan, math.nan, math.nan, 0)
    _, codes = np.unique(codes, return_inverse=True)
    sums, counts = np.bincount(codes, weights=array), np.bincount(codes)  # (P,)
    rng, count = np.random.default_rng(seed), len(counts)
    chunk = max(1, CELLS // count)
    means: list[FloatArray] = []
    for start in range(0, n_boot, chunk):
        weights = rng.multinomial(count, np.full(count, 1 / count), size=min(chunk, n_boot - start))  # (chunk, P)
        means.append((weights @ sums) / (weights @ counts))
    return _interval(float(array.mean()), np.concatenate(means), len(array), confidence)


def patient_bootstrap_indices(
    patients: Patients, statistic: Callable[[IntArray], float], n_boot: int = 1000, seed: int = 0, confidence: float = 0.95
) -> Interval:
    """The same for a statistic of several arrays at once: it gets the indices (n,) of a resample of patients (N,)."""
    return _bootstrap(_patient_codes(patients, len(patients)), statistic, n_boot, seed, confidence)


def paired_bootstrap(
    a: ArrayLike, b: ArrayLike, patients: Patients, n_boot: int = 1000, seed: int = 0, confidence: float = 0.95
) -> Interval:
    """Interval of mean(a - b) of paired samples a, b (N,); a pair of which either is not finite is dropped."""
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"expected pairs of one shape, got {first.shape} and {second.shape}")
    return patient_bootstrap(first - second, patients, n_boot=n_boot, seed=seed, confidence=confidence)


def _patient_codes(patients: Patients, count: int) -> IntArray:
    """Patients (N,) -> integers (N,), equal where the patient is."""
    if len(patients) != count:
        raise ValueError(f"expected a patient for each of {count} values, got {len(patients)}")
    numbers: dict[Hashable, int] = {}
    return np.fromiter((numbers.setdefault(patient, len(numbers)) for patient in patients), dtype=np.intp, count=count)


def _bootstrap(codes: IntArray, statistic: Callable[[IntArray], float], n_boot: int, seed: int, confidence: float) -> Interval:
    n = len(codes)
    if not n:
        return Interval(math.nan, math.nan, math.nan, 0)
    order = np.argsort(codes, kind="stable")
    counts = np.unique(codes, return_counts=True)[1]
    starts = np.cumsum(counts) - counts
    rng = np.random.default_rng(seed)
    resampled = np.empty(n_boot)
    for i in range(n_boot):
        drawn = rng.integers(0, len(counts), len(counts))
        lengths = counts[drawn]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        resampled[i] = statistic(order[np.repeat(starts[drawn], lengths) + within])
    return _interval(float(statistic(np.arange(n))), resampled, n, confidence)


def _interval(value: float, resampled: FloatArray, n: int, confidence: float) -> Interval:
    """Percentiles of the resamples in which the statistic is defined (a resample may lack a class)."""
    resampled = resampled[np.isfinite(resampled)]
    if not math.isfinite(value) or not len(resampled):
        return Interval(value, math.nan, math.nan, n)
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high), n)


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rho of (N,) and (N,), ties at their mean rank; pairs that are not finite dropped; NaN if either is constant."""
    first, second = np.asarray(x, dtype=np.float64).reshape(-1), np.asarray(y, dtype=np.float64).reshape(-1)
    if first.shape != second.shape:
        raise ValueError(f"expected pairs, got {first.shape} and {second.shape}")
    finite = np.isfinite(first) & np.isfinite(second)
    if finite.sum() < 2:
        return math.nan
    a, b = rankdata(first[finite]), rankdata(second[finite])
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale else math.nan


def violation_mass(responses: ArrayLike) -> FloatArray:
    """sum max(0, -dr) / sum |dr| of response curves (..., L) -> (...): 0 never falls, 1 never rises; 0 for a flat curve."""
    steps = np.diff(np.asarray(responses, dtype=np.float64), axis=-1)
    travelled = np.abs(steps).sum(-1)
    return np.asarray(np.maximum(0, -steps).sum(-1) / np.where(travelled > 0, travelled, 1))


def permutation_test(a: ArrayLike, b: ArrayLike, patients: Patients, n_permutations: int = 10_000, seed: int = 0) -> float:
    """Two-sided p of mean(a - b) = 0 for paired a, b (N,): a and b change places in whole patients at a time.

    p = (1 + count of permutations at least as extreme) / (1 + permutations): never 0. NaN without any finite pair.
    """
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    codes = _patient_codes(patients, len(difference))
    finite = np.isfinite(difference)
    if not finite.any():
        return math.nan
    _, codes = np.unique(codes[finite], return_inverse=True)
    sums = np.bincount(codes, weights=difference[finite])  # (P,)
    rng, observed, extreme = np.random.default_rng(seed), abs(float(sums.sum())), 0
    chunk = max(1, CELLS // len(sums))
    for start in range(0, n_permutations, chunk):
        signs = rng.integers(0, 2, (min(chunk, n_permutations - start), len(sums))) * 2 - 1
        extreme += int((np.abs(signs @ sums) >= observed * (1 - 1e-12)).sum())
    return (1 + extreme) / (1 + n_permutations)


def auroc(score: ArrayLike, positive: ArrayLike) -> float:
    """Area under the ROC curve of scores (N,): P(score of a positive > that of a negative) + P(equal) / 2; NaN without both."""
    scores, truth = _scored(score, positive)
    count = int(truth.sum())
    if count in (0, len(truth)):
        return math.nan
    ranks = rankdata(scores)
    return float((ranks[truth].sum() - count * (count + 1) / 2) / (count * (len(truth) - count)))


def balanced_accuracy(predicted: ArrayLike, positive: ArrayLike) -> float:
    """Mean of sensitivity and specificity of calls (N,) bool against (N,) bool; NaN without both classes."""
    calls, truth = np.asarray(predicted, dtype=bool), np.asarray(positive, dtype=bool)
    if truth.all() or not truth.any():
        return math.nan
    return float((calls[truth].mean() + (~calls[~truth]).mean()) / 2)


def expected_calibration_error(p: ArrayLike, positive: ArrayLike, bins: int = 15) -> float:
    """sum_b n_b / N |mean p - share of positives| over equal-width bins of the positive set's probability p (N,) in [0, 1].

    Guo et al., On Calibration of Modern Neural Networks, arXiv 1706.04599; theirs bins the confidence of the predicted class,
    here it is the probability that stands on every axis.
    """
    probability, truth = _scored(p, positive)
    if not len(probability):
        return math.nan
    index = np.minimum((probability * bins).astype(np.intp), bins - 1)
    gap = np.bincount(index, weights=probability - truth, minlength=bins)
    return float(np.abs(gap).sum() / len(probability))


def best_operating_point(p: ArrayLike, positive: ArrayLike) -> float:
    """p*: the threshold of best balanced accuracy (positive at or above it), midway in the gap between two neighbouring p.

    The widest gap where several are best; 0.5 where all p are equal. Raises ValueError without both classes.
    """
    probability, truth = _scored(p, positive)
    if truth.all() or not truth.any():
        raise ValueError("an operating point needs positives and negatives, got one of them only")
    levels, index = np.unique(probability, return_inverse=True)
    if len(levels) < 2:
        return 0.5
    below_positive = np.cumsum(np.bincount(index, weights=truth))[:-1]  # (levels - 1,) below each cut
    below_negative = np.cumsum(np.bincount(index, weights=~truth))[:-1]
    balanced = (1 - below_positive / truth.sum() + below_negative / (~truth).sum()) / 2
    gaps = np.diff(levels)
    best = int(np.argmax(np.where(balanced >= balanced.max() - 1e-12, gaps, -1)))
    return float(levels[best] + gaps[best] / 2)


def _scored(score: ArrayLike, positive: ArrayLike) -> tuple[FloatArray, BoolArray]:
    scores, truth = np.asarray(score, dtype=np.float64).reshape(-1), np.asarray(positive, dtype=bool).reshape(-1)
    if scores.shape != truth.shape:
        raise ValueError(f"expected a truth for each of {len(scores)} scores, got {len(truth)}")
    finite = np.isfinite(scores)
    return scores[finite], truth[finite]
