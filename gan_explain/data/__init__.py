"""Datasets of radiographs, whatever their layout: `open_dataset`."""

from __future__ import annotations

from pathlib import Path

from gan_explain.data.dataset import Batch, Dataset, FileReader, Memory
from gan_explain.data.folders import read_folders
from gan_explain.data.ieee8023 import read_metadata
from gan_explain.data.manifest import check_records, read_manifest, write_manifest
from gan_explain.data.phantom import Phantom, PhantomSpec, phantom_dataset, render_phantom
from gan_explain.data.screen import screen
from gan_explain.data.splits import split_by_patient
from gan_explain.labels import belongs, canonical, coarse
from gan_explain.types import DataError

__all__ = [
    "Batch",
    "Dataset",
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


def open_dataset(
    path: str | Path, *, size: int, seed: int = 0, rejects: Path | None = None, allow_single_class: bool = False
) -> Dataset:
    """Open a dataset at `size` x `size` pixels.

    `path` is `phantom[:NAME=VALUE,...]` (see `phantom`), a manifest file, or a folder with manifest.csv (see `manifest`),
    metadata.csv (see `ieee8023`) or class folders (see `folders`). `seed` draws phantoms, and the split where there is none.
    Files that cannot be read are left out and listed in `rejects`.

    DataError names the file and what was expected: no such path, missing columns, a patient in two splits, no images, one class
    only (unless allowed), more than 5 % unreadable files.
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
    if manifest.is_file() and manifest.name != metadata.name:
        origin, records = manifest, read_manifest(manifest)
    elif metadata.is_file():
        origin, records = metadata, read_metadata(metadata, seed)
    else:
        origin, records = root, read_folders(root, seed)
    check_records(records, origin, allow_single_class)
    readable = screen(records, root, rejects)
    check_records(readable, origin, allow_single_class)
    return Dataset(root, readable, Memory(FileReader(root), size))
