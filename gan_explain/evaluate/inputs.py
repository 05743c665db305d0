"""What every evaluation reads: batches with the lungs found once, on the target's device, and what counts as positive."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from gan_explain.data import Batch, Dataset, belongs
from gan_explain.targets import masks_for
from gan_explain.types import Record, Segmenter, Target


def is_positive(record: Record, target: Target) -> bool:
    """Whether a record's label, as it is or in the three-class view, belongs to the target's positive set."""
    return belongs(record.label, target.positive)


def seed_of(patient: str, seed: int) -> int:
    """A seed that stays with a patient, whatever the order of the data: 0 to 2^63 - 1."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{patient}".encode()).digest()[:8], "little") >> 1


def read_batch(dataset: Dataset, places: Sequence[int], segmenter: Segmenter, device: torch.device) -> Batch:
    """The samples at `places`, images and lungs (the segmenter's) on `device`."""
    batch = dataset.batch(places)
    images = batch.images.to(device)
    return replace(batch, images=images, lungs=segmenter(images).to(images))


def read_batches(dataset: Dataset, segmenter: Segmenter, device: torch.device, batch_size: int) -> Iterator[Batch]:
    """Batches in the dataset's order, images and lungs (the segmenter's) on `device`."""
    for start in range(0, len(dataset), batch_size):
        yield read_batch(dataset, range(start, min(start + batch_size, len(dataset))), segmenter, device)


@torch.no_grad()
def ask(target: Target, images: Tensor, lungs: Tensor) -> Tensor:
    """Probability of the positive set (N,), float32 on the CPU."""
    return target.probability(images, masks_for(target, lungs)).float().cpu()
