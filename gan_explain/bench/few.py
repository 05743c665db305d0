"""Few positives: a training split with a handful of them, and classifiers trained on it from scratch."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from gan_explain.data import Dataset, belongs
from gan_explain.data.augment import Ranges
from gan_explain.data.manifest import is_synthetic
from gan_explain.metrics.inputs import seed_of
from gan_explain.nets.classifier import THREE_CHANNELS, ClassifierConfig, build
from gan_explain.targets import ModuleTarget, Preparation, TargetConfig
from gan_explain.train.loop import run
from gan_explain.train.objective import TargetObjective, Task
from gan_explain.train.supervised import SupervisedTrainer, SupervisedTraining
from gan_explain.train.target import WHOLE_MEAN, WHOLE_STD
from gan_explain.train.training import quiet
from gan_explain.types import DataError, Record

POSITIVE = ("covid",)
CLASSES = ("normal", "covid")
STILL = Ranges(rotate=0, scale=0, shift=0, gamma=0, contrast=0, blur=0, noise=0)  # no augmentation


def few_positives(train: Dataset, images: int, seed: int) -> Dataset:
    """All negatives of a training split and `images` positives: whole patients in an order drawn by the seed, the last one cut.

    A larger regime of the same seed holds the smaller ones. DataError where there are not that many positives.
    """
    positives = [record for record in train.records if belongs(record.label, POSITIVE)]
    if not 1 <= images <= len(positives):
        raise DataError(
            f"{train.root}: expected 1 to {len(positives)} training images of covid, as many as there are, not {images}"
        )
    order = sorted(positives, key=lambda r: (seed_of(r.patient_id, seed), r.patient_id, r.path))
    kept = {record.path for record in order[:images]}
    return train.where(lambda record: record.path in kept or not belongs(record.label, POSITIVE))


def cell(record: Record) -> str:
    """Which draws a record belongs to: "negative", "real" or "synthetic" (positives)."""
    if is_synthetic(record):
        return "synthetic"
    return "real" if belongs(record.label, POSITIVE) else "negative"


def shares(synthetic: float) -> dict[str, float]:
    """Half of the draws negatives; of the other half a share of `synthetic` images, the rest real positives."""
    return {"negative": 0.5, "real": 0.5 * (1 - synthetic), "synthetic": 0.5 * synthetic}


def classifier(train: Dataset, arch: str, config: SupervisedTraining, weights: Mapping[str, float] | None) -> ModuleTarget:
    """A classifier from scratch, its operating point 0.5. With `weights` the cells are drawn in that proportion; without, the
    images as they come."""
    channels = 3 if arch in THREE_CHANNELS else 1
    network = build(ClassifierConfig(arch=arch, classes=len(CLASSES), channels=channels))
    stored = TargetConfig(
        arch=arch, classes=CLASSES, positive=POSITIVE, size=train.size, channels=channels, mean=(WHOLE_MEAN,), std=(WHOLE_STD,)
    )  # fmt: skip
    objective = TargetObjective(network, Preparation(stored), Task(CLASSES, smoothing=0.05))
    cells = [cell(record) if weights else "" for record in train.records]
    trainer = SupervisedTrainer(objective, train, cells, config, shares=weights)
    with tempfile.TemporaryDirectory() as folder:
        run(trainer, quiet(config), Path(folder))
    return ModuleTarget(trainer.averaged().cpu(), stored)
