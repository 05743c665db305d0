"""Folders whose names are the classes.

    ROOT/CLASS/*.png                                     plain class folders
    ROOT/{train,val,test}/CLASS/*.png                    the same with a split
    ROOT/CLASS/{images,masks}/*.png                      COVID-19 Radiography Database (Rahman et al. 2021)
    ROOT/{Train,Val,Test}/CLASS/{images,lung masks}/*    COVID-QU-Ex (Tahir et al. 2021); `infection masks` are lesions

DICOM files count whatever they are called. Masks have the name of their image. Every file counts as a patient of its own:
nothing says otherwise (patient tags of DICOM are not read; a manifest can say who is who).
"""

from __future__ import annotations

from pathlib import Path

from gan_explain.data.splits import split_by_patient
from gan_explain.files.dicom import is_dicom
from gan_explain.labels import canonical
from gan_explain.types import DataError, Record

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})  # and DICOM, under whatever name
CONTENTS = "DICOMDIR"  # DICOM itself, but a table of contents
SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
LUNG_MASKS = ("masks", "lung masks")
LESION_MASKS = ("infection masks",)
PREFERRED = "Lung Segmentation Data"  # COVID-QU-Ex has a second, overlapping collection beside this one


def read_folders(root: Path, seed: int) -> list[Record]:
    """Every image below the class folders of `root`; split by patient where the folders do not say.

    DataError: no class folders, or class and split folders side by side.
    """
    top = _unwrap(root)
    folders = _folders(top)
    by_split = [folder for folder in folders if folder.name.lower() in SPLIT_NAMES]
    if by_split and len(by_split) < len(folders):
        other = next(folder.name for folder in folders if folder not in by_split)
        raise DataError(f"{top}: expected class folders or train/val/test folders, got both ({by_split[0].name}, {other})")
    if by_split:
        return [
            record
            for folder in by_split
            for class_folder in _folders(folder)
            for record in _read_class(root, class_folder, SPLIT_NAMES[folder.name.lower()])
        ]
    return split_by_patient([record for folder in folders for record in _read_class(root, folder, "")], seed)


def _read_class(root: Path, folder: Path, split: str) -> list[Record]:
    nested = _child(folder, ("images",))
    lungs = _masks(_child(folder, LUNG_MASKS)) if nested else {}
    lesions = _masks(_child(folder, LESION_MASKS)) if nested else {}
    records = []
    for file in _images(nested or folder):
        path = file.relative_to(root).as_posix()
        lesion = lesions.get(file.stem)
        records.append(
            Record(
                path=path,
                label=canonical(folder.name),
                patient_id=path,
                split=split,
                mask=lungs[file.stem].relative_to(root).as_posix() if file.stem in lungs else "",
                extra={"lesion": lesion.relative_to(root).as_posix()} if lesion else {},
            )
        )
    return records


def _unwrap(root: Path) -> Path:
    """Step into the wrapping folders that archives leave: a lone folder with folders in it, or the preferred collection."""
    folders = _folders(root)
    if not folders:
        found = "image files directly in it" if _images(root) else "neither"
        raise DataError(f"{root}: expected manifest.csv, metadata.csv or one folder per class with images, got {found}")
    preferred = [folder for folder in folders if folder.name == PREFERRED]
    lone = preferred[0] if preferred else folders[0] if len(folders) == 1 else None
    wraps = lone is not None and lone.name.lower() not in SPLIT_NAMES and not _child(lone, ("images",)) and bool(_folders(lone))
    return _unwrap(lone) if lone is not None and wraps else root


def _folders(path: Path) -> list[Path]:
    return sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith((".", "__")))


def _images(path: Path) -> list[Path]:
    files = (child for child in path.iterdir() if child.is_file() and not child.name.startswith(".") and child.name != CONTENTS)
    return sorted(file for file in files if file.suffix.lower() in SUFFIXES or is_dicom(file))


def _child(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((child for child in _folders(folder) if child.name.lower() in names), None)


def _masks(folder: Path | None) -> dict[str, Path]:
    return {file.stem: file for file in _images(folder)} if folder else {}
