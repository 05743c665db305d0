"""Screening: what cannot be read, or is not, is set aside with a reason before any work is done on the rest."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from gan_explain.data.prepare import read_mask
from gan_explain.files.temporaries import write_bytes
from gan_explain.files.text import csv_text
from gan_explain.image import check_image
from gan_explain.types import DataError, Record

MOST_REJECTS = 0.05
SIDES = 0.05  # difference of the logarithms of height / width from which a mask has other sides than its image
EMPTY = "the lung mask is empty and counts as none"
OTHER_SIDES = "a mask has other proportions than its image: it is stretched over the whole of it"
log = logging.getLogger(__name__)


def check_files(record: Record, root: Path) -> tuple[str, ...]:
    """What is odd about the lung mask and the lesion mask of a record, where it has them: `EMPTY`, `OTHER_SIDES`. DataError
    unless they and the image can be read."""
    height, width = check_image(root / record.path)
    odd = []
    for name in filter(None, (record.mask, record.extra.get("lesion", ""))):
        mask = read_mask(root / name)
        if name == record.mask and not mask.any():
            odd.append(EMPTY)
        if abs(math.log(mask.shape[0] * width / (mask.shape[1] * height))) > SIDES:
            odd.append(OTHER_SIDES)
    return tuple(odd)


def screen(
    records: Sequence[Record],
    root: Path,
    say: Callable[[str], None],
    rejects: Path | None = None,
    left_out: Sequence[tuple[str, str]] = (),
) -> list[Record]:
    """The records whose files can all be read. The others are logged and, with `rejects`, listed in that CSV (`path,reason`; an
    earlier list is taken away where there are none), before them what was `left_out`. An empty lung mask is taken for none; that
    and masks of other sides than their image's are counted by what is said, and the first is named by the log.

    DataError if more than 5 % are rejected; what was left out does not count.
    """
    kept: list[Record] = []
    faults: list[tuple[str, str]] = []
    odd: dict[str, list[Record]] = {}
    for record in records:
        try:
            found = check_files(record, root)
            kept.append(replace(record, mask="") if EMPTY in found else record)
            for each in found:
                odd.setdefault(each, []).append(record)
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
    for each, those in odd.items():
        log.warning("%s: the first of %d: %s: %s", root, len(those), those[0].mask or those[0].extra.get("lesion", ""), each)
        say(f"{len(those)} images: {each}")
    return kept


def _write(faults: Sequence[tuple[str, str]], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, csv_text([("path", "reason"), *faults]).encode("utf-8", "backslashreplace"))
