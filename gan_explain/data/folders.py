"""Folders whose names are the classes.

    ROOT/CLASS/*.png                                     plain class folders
    ROOT/{train,val,test}/CLASS/*.png                    the same with a split
    ROOT/CLASS/{images,masks}/*.png                      COVID-19 Radiography Database (Rahman et al. 2021)
    ROOT/{Train,Val,Test}/CLASS/{images,lung masks}/*    COVID-QU-Ex (Tahir et al. 2021); `infection masks` are lesions

DICOM files count whatever they are called; files of other kinds (WebP, text) are left out and listed. Masks have the name of
their image, or it and `_mask`. Every file counts as a patient of its own: nothing says otherwise (patient tags of DICOM are not
read; a manifest can say who is who).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gan_explain.data.copies import same_patients
from gan_explain.data.splits import split_by_patient
from gan_explain.files.dicom import is_dicom
from gan_explain.labels import canonical
from gan_explain.types import DataError, Record

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".dib", ".gif"}
)  # and DICOM, under whatever name
CONTENTS = "DICOMDIR"  # DICOM itself, but a table of contents
SPLIT_NAMES = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test", "testing": "test",
}  # fmt: skip
MASK = "_mask"  # what the name of a mask may have behind that of its image
LUNG_MASKS = ("masks", "lung masks")
LESION_MASKS = ("infection masks",)
PREFERRED = "Lung Segmentation Data"  # COVID-QU-Ex has a second, overlapping collection beside this one


def read_folders(root: Path, seed: int) -> list[Record]:
    """Every image below the class folders of `root`; split by patient where the folders do not say.

    DataError: no class folders, or class and split folders side by side.
    """
    classes = list(_class_folders(root))
    if not any(_images(_child(folder, ("images",)) or folder) for folder, _ in classes):
        deeper = next((inner for folder, _ in classes for inner in _folders(folder)), None)
        found = f"folders in them: {deeper.relative_to(root).as_posix()}" if deeper else "none"
        raise DataError(f"{root}: expected images in the class folders, found {found}")
    records = [record for folder, split in classes for record in _read_class(root, folder, split)]
    return records if classes and classes[0][1] else split_by_patient(same_patients(records, root), seed)


def class_names(root: Path) -> list[str]:
    """The names of the class folders, as they are spelled."""
    return [folder.name for folder, _ in _class_folders(root)]


def left_out(root: Path) -> list[Path]:
    """What lies in the class folders, and above them, and is not read: files of other kinds, folders inside, images without a
    class, masks without an image."""
    top = _unwrap(root)
    found = [file for folder in dict.fromkeys((root, top)) for file in _images(folder)]
    for folder, _ in _class_folders(root):
        nested = _child(folder, ("images",))
        taken = {*_images(nested or folder)}
        if nested is None:
            found += _folders(folder)
        found += [file for file in sorted((nested or folder).iterdir()) if _counts(file) and file not in taken]
        names = {file.stem for file in taken}
        for kind in (LUNG_MASKS, LESION_MASKS) if nested else ():
            found += [file for name, file in _masks(_child(folder, kind)).items() if name not in names]
    return found


def _class_folders(root: Path) -> Iterator[tuple[Path, str]]:
    """Each class folder with its split, "" where the folders do not say."""
    top = _unwrap(root)
    folders = _folders(top)
    by_split = [folder for folder in folders if folder.name.lower() in SPLIT_NAMES]
    if by_split and len(by_split) < len(folders):
        other = next(folder.name for folder in folders if folder not in by_split)
        raise DataError(f"{top}: expected class folders or train/val/test folders, got both ({by_split[0].name}, {other})")
    if not by_split:
        yield from ((folder, "") for folder in folders)
    for folder in by_split:
        yield from ((each, SPLIT_NAMES[folder.name.lower()]) for each in _folders(folder))


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


def _counts(file: Path) -> bool:
    return file.is_file() and not file.name.startswith(".") and file.name != CONTENTS


def _images(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if _counts(file) and (file.suffix.lower() in SUFFIXES or is_dicom(file)))


def _child(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((child for child in _folders(folder) if child.name.lower() in names), None)


def _masks(folder: Path | None) -> dict[str, Path]:
    return {file.stem.removesuffix(MASK): file for file in _images(folder)} if folder else {}
