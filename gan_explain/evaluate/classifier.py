"""The report of a target by itself: how well it classifies, and whether it sees rendered opacities."""

from __future__ import annotations

import numpy as np
import torch

from gan_explain.data import Dataset
from gan_explain.evaluate.inputs import ask, device_of, is_positive, read_batches
from gan_explain.metrics import opacity_probe as probe
from gan_explain.metrics.aggregate import Measure, null
from gan_explain.metrics.classification import classification_report
from gan_explain.types import DataError, Segmenter, Target


def report_target(
    target: Target, dataset: Dataset, segmenter: Segmenter, *, n_boot: int = 1000, seed: int = 0, batch_size: int = 32
) -> dict[str, Measure]:
    """Classification of a dataset (or a split of one) and the opacity probe on the negatives that the target calls negative.

    A label counts as positive when it, or its three-class view, is in the target's positive set. Returns the measures in the
    JSON shape. DataError for a dataset without images.
    """
    if not len(dataset):
        raise DataError(f"{dataset.root}: expected images to report on, got none")
    probabilities, doses = [], []
    for batch in read_batches(dataset, segmenter, device_of(target), batch_size):
        p = ask(target, batch.images, batch.lungs)
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
    if doses:
        asked = np.flatnonzero(~positive & (p_all < target.operating_point))
        rows = np.concatenate(doses)
        names = [patients[i] for i in asked], [sources[i] for i in asked]
        measures.update(probe.summarise(rows, probe.DOSES, *names, n_boot=n_boot, seed=seed))
    else:
        measures["opacity_probe"] = null("the target calls no negative image negative")
    return measures
