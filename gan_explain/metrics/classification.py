"""How well a target tells the positive set: accuracy and its relatives at the operating point, AUROC, calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gan_explain.metrics.measure import Indices, Measure, format_table
from gan_explain.metrics.registry import NULLS, TELLS, Entry, register
from gan_explain.stats import (
    Floats,
    Interval,
    auroc,
    balanced_accuracy,
    bootstrap_indices,
    expected_calibration_error,
    patient_bootstrap,
)

register(
    Entry("accuracy", "share of calls that are right", TELLS, better="higher"),
    Entry("balanced_accuracy", "mean of sensitivity and specificity", TELLS, better="higher"),
    Entry("sensitivity", "sensitivity at p*", TELLS, better="higher"),
    Entry("specificity", "specificity at p*", TELLS, better="higher"),
    Entry("auroc", "AUROC of p against the labels", TELLS, better="higher"),
    Entry("ece", "expected calibration error", TELLS, better="lower"),
    Entry("spread", "standard deviation of p over the images", TELLS),
    Entry("p", "probability of the positive set", TELLS, raw=True),
    Entry("judge.auroc", "AUROC of another CNN against the labels", NULLS, better="higher"),
    Entry("judge.p", "p of another CNN", NULLS, raw=True),
)

__all__ = ["classification_report", "format_table"]


def classification_report(
    probability: ArrayLike,
    positive: ArrayLike,
    patients: Sequence[str],
    sources: Sequence[str],
    threshold: float,
    *,
    n_boot: int = 1000,
    seed: int = 0,
) -> dict[str, Measure]:
    """Measures of the calls probability >= threshold against the truth; all arguments (N,).

    accuracy, balanced_accuracy (mean of sensitivity and specificity), sensitivity, specificity, auroc, ece (15 bins), each with
    a patient-bootstrap interval, over all and by source. What a source leaves undefined (no positives, say) is null there.
    Raises ValueError where a probability is not finite or the lengths differ.
    """
    p: Floats = np.asarray(probability, dtype=np.float64)
    truth: NDArray[np.bool_] = np.asarray(positive, dtype=bool)
    who = np.asarray(patients, dtype=object)
    if not len(p) == len(truth) == len(who) == len(sources) or not np.isfinite(p).all():
        raise ValueError(f"expected finite (N,) arrays of one length, got {len(p)}, {len(truth)}, {len(who)}, {len(sources)}")
    calls = p >= threshold
    right = (calls == truth).astype(np.float64)

    def share_right(among: NDArray[np.bool_]) -> Callable[[Indices], Interval]:
        """The share of right calls among some of the samples."""

        def interval(index: Indices) -> Interval:
            chosen = index[among[index]]
            return patient_bootstrap(right[chosen], list(who[chosen]), n_boot=n_boot, seed=seed)

        return interval

    def jointly(statistic: Callable[[Indices], float]) -> Callable[[Indices], Interval]:
        """A statistic of several arrays."""

        def interval(index: Indices) -> Interval:
            names = list(who[index])
            return bootstrap_indices(lambda chosen: statistic(index[chosen]), names, n_boot=n_boot, seed=seed)

        return interval

    both = "needs positives and negatives"
    measures: dict[str, tuple[Callable[[Indices], Interval], str]] = {
        "accuracy": (share_right(np.ones_like(truth)), "no samples"),
        "balanced_accuracy": (jointly(lambda i: balanced_accuracy(calls[i], truth[i])), both),
        "sensitivity": (share_right(truth), "no positives"),
        "specificity": (share_right(~truth), "no negatives"),
        "auroc": (jointly(lambda i: auroc(p[i], truth[i])), both),
        "ece": (jointly(lambda i: expected_calibration_error(p[i], truth[i])), "no samples"),
    }
    return {name: Measure.by_source(interval, sources, reason) for name, (interval, reason) in measures.items()}
