"""Screening: what cannot be read, or is not, is set aside with a reason before any work is done on the rest."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from gan_explain.data.prepare import read_mask
from gan_explain.files.temporaries import write_bytes
from gan_explain.files.text import csv_text
from gan_explain.image import check_image
from gan_explain.types import DataError, Record

MOST_REJECTS = 0.05
log = logging.getLogger(__name__)


def check_files(record: Record, root: Path) -> None:
    """DataError unless the image of a record, its lung mask and its lesion mask, where it has them, can be read."""
    check_image(root / record.path)
    for name in filter(None, (record.mask, record.extra.get("lesion", ""))):
        read_mask(root / name)


def screen(
    records: Sequence[Record], root: Path, rejects: Path | None = None, left_out: Sequence[tuple[str, str]] = ()
) -> list[Record]:
    """The records whose files can all be read. The others are logged and, with `rejects`, listed in that CSV (`path,reason`; an
    earlier list is taken away where there are none), before them what was `left_out`.

    DataError if more than 5 % are rejected; what was left out does not count.
    """
    kept: list[Record] = []
    faults: list[tuple[str, str]] = []
    for record in records:
        try:
            check_files(record, root)
            kept.append(record)
        except DataError as error:
            faults.append((record.path, str(error)))
            log.warning("rejected %s", error)
    listed = [*left_out, *faults]
    if listed and rejects is not None:
        _write(listed, rejects)
    elif rejects is not None:
        rejects.unlink(missing_ok=True)
    if len(faults) > MOST_REJECTS * len(records):
        share = f"{len(faults)} of {len(records)}"
        raise DataError(f"{root}: expected at most {MOST_REJECTS:.0%} unreadable images, got {share}; the first: {faults[0][1]}")
    return kept


def _write(faults: Sequence[tuple[str, str]], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, csv_text([("path", "reason"), *faults]).encode("utf-8", "backslashreplace"))
