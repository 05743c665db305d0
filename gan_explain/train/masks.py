"""Lung masks of a whole dataset, read once by the segmenter and kept as bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from gan_explain.data import Batch, Dataset
from gan_explain.types import Record, Segmenter


class Batches(Protocol):
    """What trainers draw from: a Dataset, or one whose masks are the segmenter's."""

    records: tuple[Record, ...]

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int] | None = None) -> Batch: ...


def in_batches(dataset: Batches, size: int = 64) -> Iterator[Batch]:
    """All of a dataset in order, `size` images at a time."""
    for start in range(0, len(dataset), size):
        yield dataset.batch(range(start, min(start + size, len(dataset))))


class MaskedDataset:
    """A Dataset whose batches carry the segmenter's masks, as a deployed target would see them, in place of human ones.

    Masks are computed on first use and kept as booleans (16 kB an image at 128 px). Without a segmenter the batches keep theirs.
    """

    def __init__(self, dataset: Dataset, segmenter: Segmenter | None) -> None:
        self.dataset, self.segmenter = dataset, segmenter
        self.records = dataset.records
        self._known: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def batch(self, indices: Sequence[int] | None = None) -> Batch:
        indices = range(len(self)) if indices is None else indices
        batch = self.dataset.batch(list(indices))
        if self.segmenter is None:
            return batch
        missing = [i for i, index in enumerate(indices) if index not in self._known]
        for start in range(0, len(missing), 64):
            chunk = missing[start : start + 64]
            for i, mask in zip(chunk, self.segmenter(batch.images[chunk]), strict=True):
                self._known[indices[i]] = mask.bool()
        lungs = torch.stack([self._known[index] for index in indices]).to(batch.images)
        return dataclasses.replace(batch, lungs=lungs)
