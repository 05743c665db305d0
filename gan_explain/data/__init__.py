"""Datasets of radiographs, whatever their layout: `open_dataset`."""

from __future__ import annotations

from pathlib import Path

from gan_explain.data.dataset import Batch, Dataset, FileReader, Memory
from gan_explain.data.labels import canonical, coarse
from gan_explain.data.manifest import check_records, read_manifest
from gan_explain.types import DataError

__all__ = ["Batch", "Dataset", "canonical", "coarse", "open_dataset"]


def open_dataset(
    path: str | Path, *, size: int, seed: int = 0, rejects: Path | None = None, allow_single_class: bool = False
) -> Dataset:
    """Open a folder with a manifest.csv, or a manifest file. DataError names what was expected."""
    path = Path(path)
    manifest = path / "manifest.csv" if path.is_dir() else path
    if not manifest.is_file():
        raise DataError(f"{manifest}: no such dataset")
    records = read_manifest(manifest)
    check_records(records, manifest, allow_single_class)
    return Dataset(manifest.parent, records, Memory(FileReader(manifest.parent), size))
