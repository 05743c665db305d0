"""How well a target tells several classes apart: confusion matrices and what follows from them, with patient-bootstrap intervals.

Every measure here is a function of the confusion matrix C (rows: truth, columns: calls). A resample of patients is a sum of their
own matrices, so one draw serves all measures at once; it is the draw of `stats.patient_bootstrap` with the same seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gan_explain.metrics.measure import Measure
from gan_explain.metrics.registry import TELLS, Entry, Key, register
from gan_explain.stats import Floats, Interval

register(
    Entry("classes.accuracy", "share of classes that are called rightly", TELLS, better="higher"),
    Entry("classes.balanced_accuracy", "mean recall of the classes", TELLS, better="higher"),
    Entry("classes.macro_f1", "mean F1 of the classes", TELLS, better="higher"),
    Entry("classes.recall", "recall of a class", TELLS, better="higher"),
    Entry("classes.precision", "precision of a class", TELLS, better="higher"),
    Entry("classes.f1", "F1 of a class", TELLS, better="higher"),
    Entry("class.called", "place of the called class among the target's", TELLS, raw=True),
)

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Confusion:
    """classes (K,); matrix (K, K), rows: truth, columns: calls; by: the same for each source."""

    classes: tuple[str, ...]
    matrix: Counts
    by: Mapping[str, Counts]

    def as_json(self) -> dict[str, Any]:
        """{"classes", "rows", "columns", "all": K lists of K counts, "by": {SOURCE: the same}}."""
        by = {name: matrix.tolist() for name, matrix in self.by.items()}
        return {"classes": list(self.classes), "rows": "truth", "columns": "call", "all": self.matrix.tolist(), "by": by}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Confusion:
        """What `as_json` gave."""
        by = {name: np.array(matrix, dtype=np.int64) for name, matrix in found["by"].items()}
        return cls(tuple(found["classes"]), np.array(found["all"], dtype=np.int64), by)


def confusion(truth: ArrayLike, calls: ArrayLike, classes: Sequence[str], sources: Sequence[str]) -> Confusion:
    """Counts of true and called classes, both (N,) indices into classes; raises ValueError where they do not fit."""
    t, c = _indices(truth, calls, len(classes), len(sources))
    names = np.asarray(sources, dtype=object)
    found = {name: _matrices(t[names == name], c[names == name], len(classes)).sum(0) for name in sorted(set(sources))}
    return Confusion(tuple(classes), _matrices(t, c, len(classes)).sum(0), found)


def multiclass_report(
    truth: ArrayLike,
    calls: ArrayLike,
    classes: Sequence[str],
    patients: Sequence[str],
    sources: Sequence[str],
    *,
    n_boot: int = 1000,
    seed: int = 0,
) -> dict[str, Measure]:
    """Measures of calls (N,) against the truth (N,), both indices into classes, over all and by source.

    `classes.accuracy`; `classes.balanced_accuracy` and `classes.macro_f1`: the mean recall and F1 of the classes that there are;
    for each class `classes.recall[NAME]`, `.precision[NAME]` and `.f1[NAME]`. F1 is 2 C_kk / (row k + column k). What a source
    leaves undefined (no image of a class, no call) is null there. `n` counts images: of the class for recall and F1, called so
    for precision. Raises ValueError where lengths or indices do not fit.
    """
    t, c = _indices(truth, calls, len(classes), len(sources))
    if len(patients) != len(t):
        raise ValueError(f"expected a patient for each of {len(t)} samples, got {len(patients)}")
    single = _matrices(t, c, len(classes))
    who, names = np.asarray(patients, dtype=object), np.asarray(sources, dtype=object)
    whole = _entries(single, who, classes, n_boot, seed)
    parts = {name: _entries(single[names == name], who[names == name], classes, n_boot, seed) for name in sorted(set(sources))}
    return {key: replace(whole[key], by={name: part[key] for name, part in parts.items()}) for key in whole}


def statistics(matrices: Floats, classes: Sequence[str]) -> dict[Key, Floats]:
    """Confusion matrices (B, K, K) -> each measure (B,), NaN where it is undefined."""
    m, k = matrices, range(len(classes))
    right, truth, called = np.diagonal(m, axis1=1, axis2=2), m.sum(2), m.sum(1)  # (B, K) each
    recall, precision = _divide(right, truth), _divide(right, called)
    f1 = np.where(truth > 0, _divide(2 * right, truth + called), np.nan)
    found = {
        Key("classes.accuracy"): _divide(right.sum(1), truth.sum(1)),
        Key("classes.balanced_accuracy"): _mean(recall),
        Key("classes.macro_f1"): _mean(f1),
    }
    by_class = {"classes.recall": recall, "classes.precision": precision, "classes.f1": f1}
    return found | {Key(name, classes[i]): values[:, i] for name, values in by_class.items() for i in k}


def _entries(single: Counts, patients: NDArray[Any], classes: Sequence[str], n_boot: int, seed: int) -> dict[str, Measure]:
    """Matrices of samples (N, K, K) -> each measure with its interval and the number of images that it is of."""
    total = single.sum(0)
    values = statistics(total[None].astype(np.float64), classes)
    drawn = statistics(_resample(single, patients, n_boot, seed), classes)
    entries = {}
    for key, value in values.items():
        i, called = classes.index(key.of) if key.of else -1, key.name == "classes.precision"
        n = int(total.sum() if i < 0 else total[:, i].sum() if called else total[i].sum())
        finite = drawn[key][np.isfinite(drawn[key])]
        low, high = np.quantile(finite, [0.025, 0.975]) if len(finite) else (np.nan, np.nan)
        reason = "no images" if i < 0 else "never called" if called else "no image of the class"
        entries[str(key)] = Measure.of(Interval(float(value[0]), float(low), float(high), n), reason)
    return entries


def format_confusion(found: Confusion) -> str:
    """A text table of counts, over all and by source: a row for each true class, a column for each call, recall at the end."""
    wide = max(len(name) for name in (*found.classes, "truth \\ call"))
    blocks = []
    for title, matrix in {"all": found.matrix, **found.by}.items():
        lines = [f"confusion, {title or '(no source)'} ({matrix.sum()} images)"]
        lines.append(
            "  ".join([f"{'truth / call':<{wide}}", *(f"{name:>{max(5, len(name))}}" for name in found.classes), "recall"])
        )
        for name, row in zip(found.classes, matrix, strict=True):
            cells = [f"{count:>{max(5, len(head))}}" for head, count in zip(found.classes, row, strict=True)]
            recall = f"{row[found.classes.index(name)] / row.sum():6.3f}" if row.sum() else f"{'-':>6}"  # of the row's class
            lines.append("  ".join([f"{name:<{wide}}", *cells, recall]))
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks if len(found.by) > 1 else blocks[:1])


def _indices(truth: ArrayLike, calls: ArrayLike, k: int, n: int) -> tuple[Counts, Counts]:
    t, c = np.asarray(truth, dtype=np.int64), np.asarray(calls, dtype=np.int64)
    if t.shape != (n,) or c.shape != (n,):
        raise ValueError(f"expected truth and calls ({n},), got {t.shape} and {c.shape}")
    if n and (min(t.min(), c.min()) < 0 or max(t.max(), c.max()) >= k):
        raise ValueError(f"expected indices of {k} classes, got {sorted(set(t.tolist()) | set(c.tolist()))}")
    return t, c


def _matrices(truth: Counts, calls: Counts, k: int) -> Counts:
    """A confusion matrix for each sample: (N,), (N,) -> (N, K, K)."""
    matrices = np.zeros((len(truth), k, k), dtype=np.int64)
    matrices[np.arange(len(truth)), truth, calls] = 1
    return matrices


def _resample(matrices: Counts, patients: NDArray[Any], n_boot: int, seed: int) -> Floats:
    """Matrices of samples (N, K, K) -> of resampled patients (B, K, K)."""
    if not len(matrices):
        return np.zeros((1, *matrices.shape[1:]))
    unique, which = np.unique(patients, return_inverse=True)
    sums = np.zeros((len(unique), *matrices.shape[1:]))
    np.add.at(sums, which, matrices)
    draws = np.random.default_rng(seed).multinomial(len(unique), np.full(len(unique), 1 / len(unique)), size=n_boot)
    drawn: Floats = np.tensordot(draws.astype(np.float64), sums, axes=1)
    return drawn


def _divide(a: Floats, b: Floats) -> Floats:
    """a / b, NaN where b is 0."""
    quotient: Floats = np.divide(a, b, out=np.full(np.broadcast(a, b).shape, np.nan), where=b > 0)
    return quotient


def _mean(values: Floats) -> Floats:
    """Mean over the classes that have a value: (B, K) -> (B,)."""
    there = np.isfinite(values)
    return _divide(np.where(there, values, 0).sum(1), there.sum(1).astype(np.float64))
