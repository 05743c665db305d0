"""What a training changed: measures of two targets on the same images, and their paired difference, patients resampled."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gan_explain.audit import AuditResult
from gan_explain.data import Dataset
from gan_explain.evaluate.inputs import is_positive, read_batches
from gan_explain.metrics.inputs import ask
from gan_explain.metrics.measure import Measure
from gan_explain.stats import Floats, Interval, auroc, balanced_accuracy, bootstrap_indices
from gan_explain.targets import device_of
from gan_explain.types import Segmenter, Target

COLUMNS = {  # of an audit's samples, with what they are called
    "opacity_probe.slope": "slope of p per dose of rendered opacities",
    "opacity_probe.rises": "images whose p rises with rendered opacities",
    "shortcut": "shortcut score: the outside of a positive, beyond that of a negative",
    "rises": "negatives whose p rises under real patients' disease, λ = 1",
    "rises.at_2": "the same, λ = 2",
    "flip.negative": "negatives that turn positive under real patients' disease, λ = 1",
    "flip.negative.at_2": "the same, λ = 2",
}
CALLS = {"balanced_accuracy": "mean of sensitivity and specificity", "auroc": "AUROC of p against the labels"}
NAMES: Mapping[str, str] = {**CALLS, **COLUMNS}
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Answers:
    """What a target made of N images: p of the positive set, its operating point, and columns (N,), NaN where an image has none;
    truth (N,) bool; patients and sources."""

    p: Floats
    point: float
    truth: NDArray[np.bool_]
    patients: Sequence[str]
    sources: Sequence[str]
    columns: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def scores(self) -> dict[str, Callable[[Indices], float]]:
        """Of images at these indices."""
        return {
            "balanced_accuracy": lambda i: balanced_accuracy(self.p[i] >= self.point, self.truth[i]),
            "auroc": lambda i: auroc(self.p[i], self.truth[i]),
        }


@dataclass(frozen=True)
class Change:
    """A measure before and after, and the difference, after less before, on the images that have both."""

    before: Measure
    after: Measure
    difference: Measure

    def as_json(self) -> dict[str, Any]:
        return {"before": self.before.as_json(), "after": self.after.as_json(), "difference": self.difference.as_json()}


def of_audit(result: AuditResult, target: Target) -> Answers:
    """What an audit of a target noted of its samples."""
    samples = result.samples
    columns = {name: np.array([sample[name] for sample in samples]) for name in ("p", *COLUMNS)}
    return Answers(
        columns.pop("p"), target.operating_point, np.array([is_positive(s.record, target) for s in samples]),
        [s.record.patient_id for s in samples], [s.record.source for s in samples], columns,
    )  # fmt: skip


@torch.no_grad()
def of_target(target: Target, dataset: Dataset, segmenter: Segmenter, batch_size: int = 32) -> Answers:
    """What a target makes of a dataset."""
    p = [ask(target, batch.images, batch.lungs) for batch in read_batches(dataset, segmenter, device_of(target), batch_size)]
    return Answers(
        torch.cat(p).double().numpy(), target.operating_point, np.array([is_positive(r, target) for r in dataset.records]),
        [r.patient_id for r in dataset.records], [r.source for r in dataset.records],
    )  # fmt: skip


def changes(before: Answers, after: Answers, *, n_boot: int = 1000, seed: int = 0) -> dict[str, Change]:
    """Every measure of NAMES, over all images and within each source; of the same images in the same order."""
    patients, sources = np.asarray(before.patients, dtype=object), before.sources
    found = {}
    for name in CALLS:
        first, second = before.scores[name], after.scores[name]

        def measured(score: Callable[[Indices], float]) -> Measure:
            def interval(index: Indices) -> Interval:
                if not len(index) or math.isnan(score(index)):
                    return Interval(math.nan, math.nan, math.nan, 0)
                return bootstrap_indices(lambda i: score(index[i]), list(patients[index]), n_boot=n_boot, seed=seed)

            return Measure.by_source(interval, sources, "needs both classes")

        three = (first, second, lambda i, a=first, b=second: b(i) - a(i))
        found[name] = Change(*map(measured, three))
    for name in COLUMNS.keys() & before.columns.keys():
        a, b = before.columns[name], after.columns[name]
        both = [Measure.over(each, before.patients, sources, n_boot=n_boot, seed=seed) for each in (a, b, b - a)]
        found[name] = Change(*both)
    return {name: found[name] for name in NAMES if name in found}


def table(found: Mapping[str, Change]) -> str:
    """Markdown: a row a measure, and one for each source that has a part of its images."""
    lines = ["| measure | before | after | difference [95 %] | N |", "|---|---|---|---|---|"]
    for name, change in found.items():
        lines.append(_row(NAMES[name], change))
        by = {s: each for s, each in change.difference.by.items() if each.value is not None and each.n != change.difference.n}
        lines += [_row(f"  {s or '(no source)'}", Change(change.before.by[s], change.after.by[s], by[s])) for s in by]
    return "\n".join(lines)


def _row(title: str, change: Change) -> str:
    difference = change.difference
    cells = [_number(change.before), _number(change.after), _interval(difference), str(difference.n or 0)]
    return f"| {title} | " + " | ".join(cells) + " |"


def _number(found: Measure) -> str:
    return found.reason if found.value is None else f"{found.value:.3f}"


def _interval(found: Measure) -> str:
    if found.value is None:
        return found.reason
    bounds = "" if found.low is None or found.high is None else f" [{found.low:+.3f}, {found.high:+.3f}]"
    return f"{found.value:+.3f}{bounds}"
