"""One image twice: files of the same bytes, under whatever name, patient or label."""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from gan_explain.types import DataError, Record

log = logging.getLogger(__name__)

SAMPLE = 1 << 16  # bytes from the middle of a file that are compared before all of it is


def check_copies(records: Sequence[Record], root: Path, say: Callable[[str], None]) -> None:
    """DataError, naming both, where two records of different splits have the same bytes; says how many of one split have.
    What is said names no file, for it goes into results; the log does.

    Only files of the same size are opened, and read whole only where their middle is the same.
    """
    groups = copies(records, root)
    for group in groups:
        first = group[0]
        other = next((each for each in group if each.split != first.split), None)
        if other is not None:
            raise DataError(
                f"{root}: expected each image in one split, got the same bytes in {first.path} ({first.split}) and {other.path} "
                f"({other.split})"
            )
    if groups:
        count = sum(len(group) - 1 for group in groups)
        labels = sum(len({each.label for each in group}) > 1 for group in groups)
        differ = f", {labels} under different labels" if labels else ""
        log.warning("%s: the same bytes in %s and %s", root, groups[0][0].path, groups[0][1].path)
        say(f"{count} images are copies of others{differ}")


def copies(records: Sequence[Record], root: Path) -> list[list[Record]]:
    """Records whose files have the same bytes, in groups; what is no file is left out."""
    groups = [[each for each in records if (root / each.path).is_file()]]
    for key in (lambda path: path.stat().st_size, _middle, _digest):
        groups = _equal(groups, key, root)
    return groups


def same_patients(records: Sequence[Record], root: Path) -> list[Record]:
    """The records, copies as images of the first one's patient: what is split by patient keeps them together."""
    patient = {each.path: group[0].patient_id for group in copies(records, root) for each in group}
    return [replace(each, patient_id=patient.get(each.path, each.patient_id)) for each in records]


def _equal(groups: Iterable[list[Record]], key: Callable[[Path], object], root: Path) -> list[list[Record]]:
    """Groups split by a key of their files; what is alone is left out."""
    found: list[list[Record]] = []
    for group in groups:
        parts: defaultdict[object, list[Record]] = defaultdict(list)
        for record in group:
            parts[key(root / record.path)].append(record)
        found += [part for part in parts.values() if len(part) > 1]
    return found


def _middle(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, (path.stat().st_size - SAMPLE) // 2))
        return hashlib.sha256(file.read(SAMPLE)).digest()


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
