"""The report of a target by itself: how well it classifies, and whether it sees rendered opacities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan_explain.data import Dataset
from gan_explain.evaluate.inputs import ask, is_positive, read_batches
from gan_explain.labels import canonical, coarse
from gan_explain.metrics import opacity_probe as probe
from gan_explain.metrics.classification import classification_report
from gan_explain.metrics.confusion import Confusion, confusion, multiclass_report
from gan_explain.metrics.measure import Measure
from gan_explain.targets import device_of, masks_for
from gan_explain.types import DataError, Record, Segmenter, Target


@dataclass(frozen=True)
class TargetReport:
    """measures in the JSON shape; confusion: of the classes, over all and by source; left_out: images whose label is none of the
    target's classes, which only the measures of the positive set count."""

    measures: dict[str, Measure]
    confusion: Confusion
    left_out: int = 0


def report_target(
    target: Target, dataset: Dataset, segmenter: Segmenter, *, n_boot: int = 1000, seed: int = 0, batch_size: int = 32
) -> dict[str, Measure]:
    """The measures of `full_report`."""
    return full_report(target, dataset, segmenter, n_boot=n_boot, seed=seed, batch_size=batch_size).measures


def full_report(
    target: Target, dataset: Dataset, segmenter: Segmenter, *, n_boot: int = 1000, seed: int = 0, batch_size: int = 32
) -> TargetReport:
    """Classification of a dataset (or a split of one) and the opacity probe on the negatives that the target calls negative.

    A label counts as positive when it, or its three-class view, is in the target's positive set. A target of three classes or
    more is measured on each of them too: its call is the class of the largest logit, and a label belongs to the class of its own
    name or of its three-class view. With two classes, the call is made at the operating point. A target with a temperature has
    the calibration error of its p without one beside (`ece.uncalibrated`). DataError for a dataset without images.
    """
    if not len(dataset):
        raise DataError(f"{dataset.root}: expected images to report on, got none")
    several = len(target.classes) > 2
    temperature = float(getattr(target, "temperature", 1.0))
    probabilities, uncalibrated, calls, doses = [], [], [], []
    for batch in read_batches(dataset, segmenter, device_of(target), batch_size):
        p = ask(target, batch.images, batch.lungs)
        if several or temperature != 1:
            logits = _logits(target, batch.images, batch.lungs)
            calls.append(logits.argmax(1))
            uncalibrated.append(_positive_share(logits * temperature, target))
        negative = torch.tensor([not is_positive(record, target) for record in batch.records])
        chosen = torch.nonzero(negative & (p < target.operating_point)).flatten()
        if len(chosen):
            patients = [batch.patients[i] for i in chosen]
            doses.append(probe.opacity_probe(target, batch.images[chosen], batch.lungs[chosen], patients))
        probabilities.append(p.numpy())
    p_all = np.concatenate(probabilities)
    positive = np.array([is_positive(record, target) for record in dataset.records])
    patients = [record.patient_id for record in dataset.records]
    sources = [record.source for record in dataset.records]
    measures = dict(classification_report(p_all, positive, patients, sources, target.operating_point, n_boot=n_boot, seed=seed))
    if temperature != 1:
        before = torch.cat(uncalibrated).numpy()
        measures["ece.uncalibrated"] = classification_report(
            before, positive, patients, sources, target.operating_point, n_boot=n_boot, seed=seed
        )["ece"]
    if several:
        called, truth = torch.cat(calls).numpy(), true_classes(dataset.records, target.classes)
        classes: tuple[str, ...] = target.classes
    else:
        called, truth = (p_all >= target.operating_point).astype(int), positive.astype(int)
        classes = ("negative", "+".join(target.positive))
    known = np.flatnonzero(truth >= 0)
    here = [sources[i] for i in known]
    if several:
        who = [patients[i] for i in known]
        measures.update(multiclass_report(truth[known], called[known], classes, who, here, n_boot=n_boot, seed=seed))
    if doses:
        asked = np.flatnonzero(~positive & (p_all < target.operating_point))
        rows = np.concatenate(doses)
        names = [patients[i] for i in asked], [sources[i] for i in asked]
        measures.update(probe.summarise(rows, probe.DOSES, *names, n_boot=n_boot, seed=seed))
    else:
        measures["opacity_probe"] = Measure.missing("the target calls no negative image negative")
    return TargetReport(measures, confusion(truth[known], called[known], classes, here), len(truth) - len(known))


def true_classes(records: Sequence[Record], classes: Sequence[str]) -> NDArray[np.int64]:
    """The class of each record's label (N,), by its own name or else its three-class view; -1 where the target has neither."""
    known = {canonical(name): k for k, name in enumerate(classes)}
    return np.array([known.get(canonical(r.label), known.get(coarse(r.label), -1)) for r in records], dtype=np.int64)


@torch.no_grad()
def _logits(target: Target, images: Tensor, lungs: Tensor) -> Tensor:
    """(N, K), float32 on the CPU."""
    return target.logits(images, masks_for(target, lungs)).float().cpu()


def _positive_share(logits: Tensor, target: Target) -> Tensor:
    """Softmax of the positive set (N,)."""
    return logits.softmax(1)[:, [target.classes.index(name) for name in target.positive]].sum(1)
