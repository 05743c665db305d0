"""The dataset every command works on: records, a reader that turns one into tensors, and a bounded memory of what was read."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from gan_explain.data.prepare import prepare_aligned, read_mask
from gan_explain.image import read_image
from gan_explain.labels import coarse
from gan_explain.types import SPLITS, Brief, DataError, Record

CACHE_BYTES = 2 << 30


@dataclass(frozen=True)
class Compact:
    """A sample as it is kept in memory: image (H, W) uint16 over [0, 1]; lungs and lesion (H, W) bool, None where unknown."""

    image: NDArray[np.uint16]
    lungs: NDArray[np.bool_] | None = None
    lesion: NDArray[np.bool_] | None = None
    severity: float | None = None

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in (self.image, self.lungs, self.lesion) if array is not None)


class Reader(Protocol):
    def __call__(self, record: Record, size: int) -> Compact:
        """Read (or render) one record at `size`; DataError names the file if that fails."""
        ...


def compact(image: Tensor, lungs: Tensor | None = None, lesion: Tensor | None = None, severity: float | None = None) -> Compact:
    """(1, H, W) tensors in [0, 1] -> their compact form; images are rounded to the 16-bit grid."""

    def mask(values: Tensor | None) -> NDArray[np.bool_] | None:
        return None if values is None else (values[0] > 0.5).numpy()

    return Compact((image[0] * 65535).round().to(torch.int32).numpy().astype(np.uint16), mask(lungs), mask(lesion), severity)


@dataclass(frozen=True)
class FileReader:
    """Reads image, lung mask (`Record.mask`), and, where the manifest has them, the `lesion` mask and `severity` of a record; the
    whole image, without uniform borders where `trim`."""

    root: Path
    trim: bool = True

    def __call__(self, record: Record, size: int) -> Compact:
        paths = [record.mask, record.extra.get("lesion", "")]
        masks = [read_mask(self.root / path) if path else None for path in paths]
        image, (lungs, lesion) = prepare_aligned(read_image(self.root / record.path), masks, size, self.trim)
        severity = record.extra.get("severity", "")
        return compact(image, lungs, lesion, float(severity) if severity else None)


class Memory:
    """Remembers what `reader` returned until `limit` bytes are held; beyond that, reads again.
    Shared by a dataset and its splits."""

    def __init__(self, reader: Reader, size: int, limit: int = CACHE_BYTES) -> None:
        self.reader, self.size, self.limit, self.held = reader, size, limit, 0
        self._items: dict[str, Compact] = {}

    def __call__(self, record: Record) -> Compact:
        item = self._items.get(record.path)
        if item is None:
            item = self.reader(record, self.size)
            if self.held + item.nbytes <= self.limit:
                self._items[record.path] = item
                self.held += item.nbytes
        return item

    def __getstate__(self) -> dict[str, Any]:
        """Workers of a DataLoader read for themselves."""
        return self.__dict__ | {"_items": {}, "held": 0}


class Item(TypedDict):
    """One image as `torch.utils.data.DataLoader` collates it. image (1, H, W) float32 in [0, 1]; lungs and lesion (1, H, W) in
    {0, 1}, zeros where `has_lungs` or `has_lesion` is False; severity NaN where it is unknown."""

    image: Tensor
    lungs: Tensor
    lesion: Tensor
    has_lungs: bool
    has_lesion: bool
    severity: float
    label: str
    patient: str
    split: str
    source: str
    path: str


@dataclass(frozen=True, repr=False)
class Batch(Brief):
    """N samples as tensors. images (N, 1, H, W) in [0, 1]; lungs (N, 1, H, W) human mask, zeros where `has_lungs` (N,) is False;
    lesion (N, 1, H, W) and severity (N,), NaN where unknown, are None if no sample has them."""

    images: Tensor
    lungs: Tensor
    has_lungs: Tensor
    records: tuple[Record, ...]
    lesion: Tensor | None = None
    severity: Tensor | None = None

    def __len__(self) -> int:
        return len(self.records)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(record.label for record in self.records)

    @property
    def patients(self) -> tuple[str, ...]:
        return tuple(record.patient_id for record in self.records)

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(record.source for record in self.records)


def fitting(wanted: Sequence[str]) -> Callable[[Record], bool]:
    """Whether a record fits one of [SOURCE:]LABEL, its label as it is or in the three-class view."""
    pairs = [each.rpartition(":")[::2] for each in wanted]
    return lambda r: any(s in ("", r.source) and label in (r.label, coarse(r.label)) for s, label in pairs)


class Dataset(TorchDataset[Item]):
    """Records of one root, read on demand at one size. `split` and `where` give views that share the memory; `remarks` are what
    was left out, folded or found twice when it was opened.

    A plain `DataLoader(dataset, batch_size=16, num_workers=2)` gives batches: a dictionary as `Item`, tensors stacked."""

    def __init__(self, root: Path, records: Sequence[Record], memory: Memory, remarks: Sequence[str] = ()) -> None:
        self.root, self.records, self.memory, self.remarks = root, tuple(records), memory, tuple(remarks)

    @property
    def size(self) -> int:
        return self.memory.size

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(sorted({record.label for record in self.records}))

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(sorted({record.source for record in self.records}))

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Item:
        record = self.records[index]
        item = self.memory(record)
        return {
            "image": _unit(item.image),
            "lungs": _mask(item.lungs, self.size),
            "lesion": _mask(item.lesion, self.size),
            "has_lungs": item.lungs is not None,
            "has_lesion": item.lesion is not None,
            "severity": math.nan if item.severity is None else item.severity,
            "label": record.label,
            "patient": record.patient_id,
            "split": record.split,
            "source": record.source,
            "path": record.path,
        }

    def __repr__(self) -> str:
        splits = ", ".join(f"{sum(each.split == name for each in self.records)} {name}" for name in SPLITS)
        return f"Dataset({str(self.root)!r}: {len(self)} images of {', '.join(self.classes)}, {self.size} px; {splits})"

    def where(self, keep: Callable[[Record], bool]) -> Dataset:
        return Dataset(self.root, [record for record in self.records if keep(record)], self.memory, self.remarks)

    def including(self, wanted: Sequence[str]) -> Dataset:
        """The records that fit one of [SOURCE:]LABEL, as it is or in the three-class view; all where none is wanted."""
        return self.where(fitting(wanted)) if wanted else self

    def remembering(self, limit: int) -> Dataset:
        """The same records with a memory of their own, of at most `limit` bytes."""
        return Dataset(self.root, self.records, Memory(self.memory.reader, self.size, limit), self.remarks)

    def split(self, name: str) -> Dataset:
        """The records of `train`, `val` or `test`; empty where the dataset has none. DataError for another name."""
        if name not in SPLITS:
            raise DataError(f"{self.root}: expected a split of {', '.join(SPLITS)}, got {name!r}")
        return self.where(lambda record: record.split == name)

    def fingerprint(self) -> str:
        """SHA-256 (hex) of everything the records say, in order."""
        lines = (json.dumps(asdict(record), sort_keys=True) for record in self.records)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def batch(self, indices: Sequence[int] | None = None) -> Batch:
        """The samples at `indices` (None: all), in that order, as one batch; fast once they are in memory."""
        records = self.records if indices is None else tuple(self.records[i] for i in indices)
        items = [self.memory(record) for record in records]
        shape = (len(items), 1, self.size, self.size)
        pixels, lungs, lesion = (np.zeros(shape, np.float32) for _ in range(3))
        for i, item in enumerate(items):
            np.multiply(item.image, np.float32(1 / 65535), out=pixels[i, 0], dtype=np.float32)
            for masks, mask in ((lungs, item.lungs), (lesion, item.lesion)):
                if mask is not None:
                    masks[i, 0] = mask
        severities = [math.nan if item.severity is None else item.severity for item in items]
        return Batch(
            images=torch.from_numpy(pixels),
            lungs=torch.from_numpy(lungs),
            has_lungs=torch.tensor([item.lungs is not None for item in items], dtype=torch.bool),
            records=records,
            lesion=torch.from_numpy(lesion) if any(item.lesion is not None for item in items) else None,
            severity=torch.tensor(severities, dtype=torch.float32) if any(item.severity is not None for item in items) else None,
        )


def _unit(array: NDArray[np.uint16]) -> Tensor:
    return torch.from_numpy(array.astype(np.float32) * np.float32(1 / 65535))[None]


def _mask(array: NDArray[np.bool_] | None, size: int) -> Tensor:
    return torch.zeros(1, size, size, dtype=torch.float32) if array is None else torch.from_numpy(array.astype(np.float32))[None]
