"""Numbers in the columns of a manifest, as hospitals write them; what is no number is unknown."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterable, Sequence

log = logging.getLogger(__name__)

UNSAID = frozenset({"", "-", "?", "n/a", "na", "nan", "none", "null", "unknown", "not available", "missing"})
YEARS = {"y": 1.0, "m": 1 / 12, "w": 7 / 365.25, "d": 1 / 365.25}  # of a DICOM age string
AGE = re.compile(r"(?P<over>[>≥]=?)?\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[ymwd])?(?P<more>\+)?", re.IGNORECASE)
LEAST_NUMBERS, LEAST_AGES = 0.9, 0.5  # share of what a column says that must be numbers for it to be one of numbers, or of ages


def number(text: str) -> float | None:
    """A finite number, None for anything else."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def years(text: str) -> float | None:
    """An age in years: 58, 58.5, 058Y, 011M, 003W, 010D (DICOM PS3.5, AS); 89+ and >89 (which is 90 or more) as the least that
    they say; None for anything else."""
    found = AGE.fullmatch(text.strip())
    if found is None:
        return None
    value = float(found["number"]) * YEARS[(found["unit"] or "y").lower()]
    return value + 1 if found["over"] == ">" else value


def is_said(text: str) -> bool:
    """Whether a cell says anything."""
    return text.strip().lower() not in UNSAID


def unknown(values: Iterable[str], read: Callable[[str], float | None]) -> int:
    """How many entries say something that `read` (`number`, `years`) does not take."""
    return sum(is_said(text) and read(text) is None for text in values)


def numbers(values: Sequence[str], column: str = "") -> list[float | None] | None:
    """The entries of a column as numbers (`age`: as years), None where unknown, which is logged with their count; None where
    too little of what is said are numbers: the column holds names."""
    read, least = (years, LEAST_AGES) if column == "age" else (number, LEAST_NUMBERS)
    found = [read(text) for text in values]
    said = [text for text in values if is_said(text)]
    others = unknown(values, read)
    if not said or others > (1 - least) * len(said):
        return None
    if others:
        log.warning("column %s: %d of %d entries are no number and count as unknown", column, others, len(said))
    return found
