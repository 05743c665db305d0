"""What every evaluation reads: batches with the lungs found once, on the models' device, and what counts as positive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from gan_explain.data import Batch, Dataset, belongs
from gan_explain.metrics.inputs import seed_of
from gan_explain.types import DataError, Record, Segmenter, Target


def is_positive(record: Record, target: Target) -> bool:
    """Whether a record's label, as it is or in the three-class view, belongs to the target's positive set."""
    return belongs(record.label, target.positive)


def read_batch(dataset: Dataset, places: Sequence[int], segmenter: Segmenter, device: torch.device) -> Batch:
    """The samples at `places`, images and lungs (the segmenter's) on `device`."""
    batch = dataset.batch(places)
    images = batch.images.to(device)
    return replace(batch, images=images, lungs=segmenter(images).to(images))


def read_batches(dataset: Dataset, segmenter: Segmenter, device: torch.device, batch_size: int) -> Iterator[Batch]:
    """Batches in the dataset's order, images and lungs (the segmenter's) on `device`."""
    for places in batched(len(dataset), batch_size):
        yield read_batch(dataset, places, segmenter, device)


def batched(count: int, batch_size: int) -> list[list[int]]:
    """0 to count - 1 in batches."""
    return [list(range(start, min(start + batch_size, count))) for start in range(0, count, batch_size)]


def limited(dataset: Dataset, limit: int | None, seed: int) -> Dataset:
    """At most `limit` images, drawn by name. DataError where there are none."""
    if not len(dataset):
        raise DataError(f"{dataset.root}: expected images to evaluate on, got none")
    if limit is None or limit >= len(dataset):
        return dataset
    order = sorted(range(len(dataset)), key=lambda i: seed_of(dataset.records[i].path, seed))
    kept = {dataset.records[i].path for i in order[:limit]}
    return dataset.where(lambda record: record.path in kept)
