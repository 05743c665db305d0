"""Cross-fitting: patients in folds, so that each is measured by models that never saw a radiograph of theirs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from gan_explain.types import Record


def folds_of(patients: Iterable[str], count: int, seed: int = 0) -> dict[str, int]:
    """Patients in `count` folds of equal size (to one), the same whenever they are the same. ValueError for fewer patients."""
    names = sorted(set(patients), key=lambda name: (hashlib.sha256((f"{seed}:" * bool(seed) + name).encode()).hexdigest(), name))
    if not 2 <= count <= len(names):
        raise ValueError(f"expected 2 to {len(names)} folds for {len(names)} patients, got {count}")
    return {name: i % count for i, name in enumerate(names)}


def held_out(records: Sequence[Record], fold_of: dict[str, int], fold: int) -> list[Record]:
    """Records with the patients of one fold in "test" and those of the other folds in "train"; the rest keep their split, so that
    p* is still set on the patients of "val" that have no fold."""

    def split(record: Record) -> str:
        mine = fold_of.get(record.patient_id)
        return record.split if mine is None else "test" if mine == fold else "train"

    return [replace(record, split=split(record)) for record in records]
