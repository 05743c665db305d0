"""Whose layers a synthetic image may wear, and which data a CycleGAN can translate."""

from __future__ import annotations

import torch
from torch import Tensor

from gan_explain.data import Dataset, belongs, coarse
from gan_explain.data.manifest import is_synthetic
from gan_explain.types import DataError, Segmenter

MOST_DONORS = 256  # positives that layers are taken from


def donors_of(train: Dataset, label: str, segmenter: Segmenter, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images and lungs of the positives that layers are taken from, at most MOST_DONORS, as `synthesise` counts them."""
    positives = train.where(lambda record: belongs(record.label, (label,)) and not is_synthetic(record))
    images = positives.batch(range(min(len(positives), MOST_DONORS))).images.to(device)
    return images, segmenter(images).to(images)


def check_binary(train: Dataset, label: str) -> None:
    """DataError unless the training split has two classes: a CycleGAN knows no third."""
    classes = sorted({coarse(record.label) for record in train.records})
    if len(classes) != 2:
        came = ", ".join(classes)
        raise DataError(f"{train.root}: a CycleGAN translates one class to {label}: expected two classes (--include), got {came}")
