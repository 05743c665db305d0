"""Datasets of radiographs, whatever their layout: `open_dataset`."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

from gan_explain.data.columns import unknown, years
from gan_explain.data.copies import check_copies
from gan_explain.data.dataset import Batch, Dataset, FileReader, Item, Memory
from gan_explain.data.folders import class_names, left_out, read_folders
from gan_explain.data.ieee8023 import read_metadata
from gan_explain.data.manifest import check_records, read_manifest, read_table, write_manifest
from gan_explain.data.phantom import Phantom, PhantomSpec, phantom_dataset, render_phantom
from gan_explain.data.screen import screen
from gan_explain.data.splits import split_by_patient
from gan_explain.labels import belongs, canonical, coarse, folded
from gan_explain.types import DataError

__all__ = [
    "Batch",
    "Dataset",
    "Item",
    "Phantom",
    "PhantomSpec",
    "belongs",
    "canonical",
    "coarse",
    "open_dataset",
    "render_phantom",
    "split_by_patient",
    "write_manifest",
]


log = logging.getLogger(__name__)


def open_dataset(
    path: str | Path,
    *,
    size: int,
    seed: int = 0,
    rejects: Path | None = None,
    allow_single_class: bool = False,
    trim: bool = True,
) -> Dataset:
    """Open a dataset at `size` x `size` pixels: the whole image of each, resized, without uniform borders where `trim`.

    `path` is `phantom[:NAME=VALUE,...]` (see `phantom`), a manifest file, or a folder with manifest.csv (see `manifest`),
    metadata.csv (see `ieee8023`) or class folders (see `folders`). `seed` draws phantoms, and the split where there is none.
    Files that cannot be read or are not are left out and listed in `rejects`. What was left out, copies within a split and labels
    that are read as others are logged, and kept as `remarks` of the dataset.

    DataError names the file and what was expected: no such path, missing columns, a patient or the same bytes in two splits, no
    images, one class only (unless allowed), more than 5 % unreadable files.
    """
    if str(path).partition(":")[0] == "phantom":
        phantoms = phantom_dataset(PhantomSpec.parse(str(path)), size, seed)
        check_records(phantoms.records, str(path), allow_single_class)
        return phantoms
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such dataset; expected a folder, a manifest CSV or phantom[:OPTIONS]")
    root = path if path.is_dir() else path.parent
    manifest = path / "manifest.csv" if path.is_dir() else path
    metadata = root / "metadata.csv"
    remarks: list[str] = []

    def say(text: str) -> None:
        remarks.append(text)
        log.warning("%s: %s", path, text)

    unread: list[Path] = []
    if manifest.is_file() and manifest.name != metadata.name:
        origin, records = manifest, read_manifest(manifest)
        spelled = [row["label"] for row in read_table(manifest, ())]
    elif metadata.is_file():
        origin, records, spelled = metadata, read_metadata(metadata, seed), []
    else:
        origin, records = root, read_folders(root, seed)
        spelled, unread = class_names(root), left_out(root)
    check_records(records, origin, allow_single_class)
    if others := folded(spelled):
        say(f"labels read as others: {others}")
    if unread:
        kinds = Counter("folders" if each.is_dir() else each.suffix.lower() or "no suffix" for each in unread)
        say(f"{len(unread)} files left out: " + ", ".join(f"{n} {kind}" for kind, n in kinds.items()))
    reason = "not of a kind that is read (PNG, JPEG, TIFF, BMP, GIF, DICOM), without a class, or a mask without an image"
    readable = screen(records, root, say, rejects, [(each.relative_to(root).as_posix(), reason) for each in unread])
    check_records(readable, origin, allow_single_class)
    check_copies(readable, root, say)
    if unread_ages := unknown([record.extra.get("age", "") for record in readable], years):
        say(f"{unread_ages} ages are none and count as unknown")
    return Dataset(root, readable, Memory(FileReader(root, trim), size), remarks)
