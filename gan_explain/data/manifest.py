"""The manifest CSV: `path,label,patient_id,split` and, where known, `mask,source,severity,lesion,...`.

Also the checks that the records of every layout must pass.
"""

from __future__ import annotations

import codecs
import csv
import math
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from gan_explain.files.temporaries import write_bytes
from gan_explain.files.text import csv_text, plain
from gan_explain.labels import canonical
from gan_explain.types import SPLITS, DataError, Record

REQUIRED = ("path", "label", "patient_id", "split")
OWN_FIELDS = (*REQUIRED, "source", "mask")
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}  # which spreadsheets write in place of commas


def read_table(path: Path, required: Sequence[str], any_case: bool = False) -> list[dict[str, str]]:
    """Rows of a UTF-8 CSV file as stripped text by column (in lower case with `any_case`).

    DataError: not text, no rows, a missing column, a row of another length.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            table = list(csv.reader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        with open(path, "rb") as raw:
            wide = raw.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        raise DataError(f"{path}: expected a UTF-8 CSV file, got{' UTF-16' if wide else f': {error}'}") from error
    header = [plain(name.strip().lower() if any_case else name.strip()) for name in table[0]] if table else []
    missing = [name for name in required if name not in header]
    if missing:
        if table and table[0] and table[0][0].lower().startswith("sep="):
            raise DataError(f"{path}: expected column names in the first row, got {table[0][0]!r}: take that row out")
        other = next((name for mark, name in SEPARATORS.items() if len(header) == 1 and mark in table[0][0]), None)
        found = f"; cells are separated by {other}, expected commas" if other else ""
        raise DataError(f"{path}: expected columns {','.join(required)}; missing: {', '.join(missing)}{found}")
    if len(set(header)) < len(header):
        raise DataError(f"{path}: expected each column once, got {','.join(header)}")
    rows = []
    for line, cells in enumerate(table[1:], start=2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise DataError(f"{path}: row {line}: expected {len(header)} cells, got {len(cells)}")
        rows.append(dict(zip(header, (plain(cell.strip()) for cell in cells), strict=True)))
    if not rows:
        raise DataError(f"{path}: expected at least one row below the header, got none")
    return rows


def read_manifest(path: Path) -> list[Record]:
    """Every row of a manifest as a Record, paths relative to the manifest's folder and without detours: `./a.png` is `a.png`.

    DataError names the file, the row and the fault.
    """
    records = []
    for line, row in enumerate(read_table(path, REQUIRED), start=1):
        where = f"{path}: image {line}"
        for name in REQUIRED:
            if not row[name]:
                raise DataError(f"{where}: expected a value in column {name}, got none")
        for name in ("path", "mask", "lesion"):
            check_relative(row.get(name, ""), path.parent, f"{where}: column {name}")
        if row["split"] not in SPLITS:
            raise DataError(f"{where}: expected a split of {', '.join(SPLITS)}, got {row['split']!r}")
        if severity := row.get("severity", ""):
            check_number(severity, f"{where}: column severity")
        records.append(
            Record(
                path=PurePosixPath(row["path"]).as_posix(),
                label=canonical(row["label"]),
                patient_id=row["patient_id"],
                split=row["split"],
                source=row.get("source", ""),
                mask=row.get("mask", ""),
                extra={name: value for name, value in row.items() if name not in OWN_FIELDS},
            )
        )
    return records


def write_manifest(records: Sequence[Record], path: Path) -> None:
    """The inverse of `read_manifest`."""
    extra = list(dict.fromkeys(name for record in records for name in record.extra))
    rows = [[*OWN_FIELDS, *extra]]
    for record in records:
        rows.append([getattr(record, name) for name in OWN_FIELDS] + [record.extra.get(name, "") for name in extra])
    write_bytes(path, csv_text(rows).encode())


def check_relative(text: str, root: Path, where: str) -> None:
    """DataError unless `text` is a path below the dataset's root (or empty), links followed: a data set that was handed on names
    no file of its reader's machine. The root itself may be a link."""
    posix, windows = PurePosixPath(text), PureWindowsPath(text)
    if posix.is_absolute() or windows.is_absolute() or windows.drive or ".." in (*posix.parts, *windows.parts) or "\0" in text:
        raise DataError(f"{where}: expected a path relative to the dataset and inside it, got {text!r}")
    if "\\" in text and not (root / text).exists():
        raise DataError(f"{where}: expected / between folders, got {text!r}")
    top = os.path.realpath(root)
    if text and os.path.commonpath([top, os.path.realpath(root / text)]) != top:
        raise DataError(f"{where}: expected a file inside the dataset, got {text!r}, a link that leaves it (copy the file)")


def check_number(text: str, where: str) -> None:
    """DataError unless `text` is a finite number."""
    try:
        finite = math.isfinite(float(text))
    except ValueError:
        finite = False
    if not finite:
        raise DataError(f"{where}: expected a number, got {text!r}")


def is_synthetic(record: Record) -> bool:
    """Whether a record says in its column `synthetic` that a generator made the image."""
    return record.extra.get("synthetic", "").strip().lower() not in ("", "0", "no", "false")


def check_records(records: Sequence[Record], where: Path | str, allow_single_class: bool = False) -> None:
    """DataError for no images, an image listed twice, a patient in two splits, a synthetic image outside the training split, or
    (unless allowed) a single class."""
    if not records:
        raise DataError(f"{where}: expected images, found none")
    seen: set[str] = set()
    split_of: dict[str, str] = {}
    for record in records:
        if record.path in seen:
            raise DataError(f"{where}: expected each image once, got {record.path} twice")
        seen.add(record.path)
        if record.split != "train" and is_synthetic(record):
            raise DataError(f"{where}: expected synthetic images in the training split only, got {record.path} in {record.split}")
        if split_of.setdefault(record.patient_id, record.split) != record.split:
            both = f"{split_of[record.patient_id]} and {record.split}"
            raise DataError(f"{where}: expected each patient in one split, got patient {record.patient_id!r} in {both}")
    classes = sorted({record.label for record in records})
    if len(classes) < 2 and not allow_single_class:
        raise DataError(f"{where}: expected at least two classes, got one: {classes[0]}")
