"""Screening: files that cannot be read are set aside with a reason before any work is done on the others."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from gan_explain.files.temporaries import write_bytes
from gan_explain.files.text import csv_text
from gan_explain.image import check_image
from gan_explain.types import DataError, Record

MOST_REJECTS = 0.05
log = logging.getLogger(__name__)


def files_of(record: Record) -> Iterable[str]:
    """The image of a record, its lung mask and its lesion mask: those it has."""
    return filter(None, (record.path, record.mask, record.extra.get("lesion", "")))


def screen(records: Sequence[Record], root: Path, rejects: Path | None = None) -> list[Record]:
    """The records whose files can all be read. The others are logged and, with `rejects`, listed in that CSV (`path,reason`; an
    earlier list is taken away where there are none).

    DataError if more than 5 % are rejected.
    """
    kept: list[Record] = []
    faults: list[tuple[str, str]] = []
    for record in records:
        try:
            for name in files_of(record):
                check_image(root / name)
            kept.append(record)
        except DataError as error:
            faults.append((record.path, str(error)))
            log.warning("rejected %s", error)
    if faults and rejects is not None:
        _write(faults, rejects)
    elif rejects is not None:
        rejects.unlink(missing_ok=True)
    if len(faults) > MOST_REJECTS * len(records):
        share = f"{len(faults)} of {len(records)}"
        raise DataError(f"{root}: expected at most {MOST_REJECTS:.0%} unreadable images, got {share}; the first: {faults[0][1]}")
    return kept


def _write(faults: Sequence[tuple[str, str]], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, csv_text([("path", "reason"), *faults]).encode("utf-8", "backslashreplace"))
