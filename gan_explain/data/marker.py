"""Markers: a bright letter in an upper corner, outside the lungs, planted in a known share of each class."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gan_explain.data.dataset import Compact, Dataset, Memory, Reader
from gan_explain.types import Record

Field = NDArray[np.float64]
GLYPHS = {
    "R": ("11110", "10001", "10001", "11110", "10100", "10010", "10001"),
    "L": ("10000", "10000", "10000", "10000", "10000", "10000", "11111"),
}
BRIGHTNESS = 0.97
HEIGHT = 0.11  # of the image's side


def glyph(letter: str, size: int) -> Field:
    """The letter R or L for an image of `size` pixels a side: (height, width) in {0, 1}."""
    cells = np.array([[float(cell) for cell in row] for row in GLYPHS[letter]])
    height = max(7, round(HEIGHT * size))
    width = max(5, round(height * 5 / 7))
    rows, columns = np.arange(height) * 7 // height, np.arange(width) * 5 // width
    letters: Field = cells[np.ix_(rows, columns)]
    return letters


def draw_marker(rng: np.random.Generator, size: int) -> Field:
    """A letter R or L in the upper corner of its side (R on the left, the patient's right), (size, size) in {0, 1}."""
    letter = "R" if rng.random() < 0.5 else "L"
    cells = glyph(letter, size)
    height, width = cells.shape
    token = np.zeros((size, size))
    top = round(size * rng.uniform(0.015, 0.035))
    left = round(size * rng.uniform(0.015, 0.04))
    left = left if letter == "R" else size - left - width
    token[top : top + height, left : left + width] = cells
    return token


class MarkerReader:
    """Reads through `reader` and, where the record's `marker` is "1" and the original's is not, burns a marker into the image."""

    def __init__(self, reader: Callable[[Record], Compact], originals: dict[str, Record], seed: int) -> None:
        self.reader, self.originals, self.seed = reader, originals, seed

    def __call__(self, record: Record, size: int) -> Compact:
        original = self.originals[record.path]
        item = self.reader(original)
        if record.extra.get("marker") != "1" or original.extra.get("marker") == "1":
            return item
        token = draw_marker(_stream(record, self.seed, "marker"), size)
        bright = np.round(BRIGHTNESS * 65535 * token).astype(np.uint16)
        return replace(item, image=np.maximum(item.image, bright))


def planted(
    dataset: Dataset,
    positive: Callable[[Record], bool],
    share_positive: float,
    share_negative: float = 0.05,
    *,
    seed: int = 0,
) -> Dataset:
    """The same records with a further column `marker` ("0" or "1"), and images that show it.

    A share of the positive records and one of the others, each in [0, 1], get a marker, drawn from seed, patient and path:
    neither order nor selection matters. Images that had a marker (a phantom's) keep it. ValueError for shares outside [0, 1].
    """
    if not (0 <= share_positive <= 1 and 0 <= share_negative <= 1):
        raise ValueError(f"expected shares of markers in [0, 1], got {share_positive} and {share_negative}")
    records = []
    for record in dataset.records:
        share = share_positive if positive(record) else share_negative
        there = record.extra.get("marker") == "1" or _stream(record, seed, "planted").random() < share
        records.append(replace(record, extra={**record.extra, "marker": str(int(there))}))
    reader: Reader = MarkerReader(dataset.memory, {record.path: record for record in dataset.records}, seed)
    return Dataset(dataset.root, records, Memory(reader, dataset.size, dataset.memory.limit))


def _stream(record: Record, seed: int, purpose: str) -> np.random.Generator:
    """Random numbers that stay with an image."""
    digest = hashlib.sha256(f"{seed}:{purpose}:{record.patient_id}:{record.path}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))
