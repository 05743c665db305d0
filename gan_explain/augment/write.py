"""Synthetic images as a dataset: files with a manifest that says where each came from, or records in memory for training."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from gan_explain.augment.synthesise import Synthetic
from gan_explain.data import Dataset, write_manifest
from gan_explain.data.dataset import Compact, Memory, compact
from gan_explain.files.temporaries import write_bytes
from gan_explain.pixels import to_uint8
from gan_explain.types import Record


def as_records(synthetic: Sequence[Synthetic], label: str, folder: str = "synthetic") -> list[Record]:
    """Records of the training split; the patient is the source's, so that a split by patient keeps them together.

    Extra columns: synthetic=1, generator, seed, strength, source_path, and donor_path where the layer was read on a radiograph.
    """
    records = []
    for i, each in enumerate(synthetic):
        extra = {
            "synthetic": "1",
            "generator": each.generator,
            "seed": str(each.seed),
            "strength": f"{each.strength:.4f}",
            "source_path": each.source.path,
            "donor_path": each.donor.path if each.donor is not None else "",
        }
        name = f"{folder}/{each.generator}_{each.seed}_{i:05d}.png"
        kind = f"synthetic-{each.generator}"
        records.append(Record(name, label, each.source.patient_id, "train", source=kind, extra=extra))
    return records


def write_synthetic(synthetic: Sequence[Synthetic], folder: Path, label: str, beside: Sequence[Record] = ()) -> list[Record]:
    """Write 8-bit PNGs and manifest.csv below `folder`; `beside` are records of real images that are there already."""
    records = as_records(synthetic, label)
    (folder / "synthetic").mkdir(exist_ok=True)
    for each, record in zip(synthetic, records, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(to_uint8(each.image[0])).save(buffer, format="PNG")
        write_bytes(folder / record.path, buffer.getvalue())
    write_manifest([*beside, *records], folder / "manifest.csv")
    return records


@dataclass(frozen=True)
class _Held:
    """Reads the synthetic images held in memory, and everything else as the real dataset does."""

    held: dict[str, Compact]
    real: Memory

    def __call__(self, record: Record, size: int) -> Compact:
        return self.held[record.path] if record.path in self.held else self.real(record)


def joined(dataset: Dataset, synthetic: Sequence[Synthetic], label: str) -> Dataset:
    """A dataset with the synthetic images after its own, nothing written; they are read as they are, not clipped again."""
    records = as_records(synthetic, label)
    held = {record.path: compact(each.image, each.lungs) for record, each in zip(records, synthetic, strict=True)}
    return Dataset(dataset.root, [*dataset.records, *records], Memory(_Held(held, dataset.memory), dataset.size, 0))
