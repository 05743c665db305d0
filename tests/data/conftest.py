"""Small datasets on disk, built by the tests in their own folder."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


class Layouts:
    """Writes images, masks and tables below `root`."""

    header = ("path", "label", "patient_id", "split")

    def __init__(self, root: Path) -> None:
        self.root = root

    def picture(self, name: str, seed: int | None = None, size: int = 24, mode: str = "L") -> Path:
        """An image of noise, by default one of its own."""
        array = np.random.default_rng(zlib.crc32(name.encode()) if seed is None else seed).integers(
            0, 256, (size, size), dtype=np.uint8
        )
        return self._save(Image.fromarray(array).convert(mode), name)

    def disc(self, name: str, size: int = 24, mode: str = "L") -> Path:
        """A mask: 255 inside a disc, 0 outside."""
        y, x = np.mgrid[0:size, 0:size]
        inside = (x - size / 2) ** 2 + (y - size / 2) ** 2 < (size / 4) ** 2
        return self._save(Image.fromarray(inside.astype(np.uint8) * 255).convert(mode), name)

    def text(self, name: str, content: str = "not an image") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def table(self, name: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Path:
        path = self.text(name, "")
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        return path

    def manifest(self, rows: Sequence[Sequence[str]], header: Sequence[str] = header) -> Path:
        """manifest.csv and an image for each row."""
        for seed, row in enumerate(rows):
            self.picture(row[0], seed)
        return self.table("manifest.csv", header, rows)

    def class_folders(self, *folders: str, count: int = 10) -> None:
        """`count` images in each folder."""
        for folder in folders:
            for i in range(count):
                self.picture(f"{folder}/{i}.png")

    def _save(self, image: Image.Image, name: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        return path


@pytest.fixture
def layouts(tmp_path: Path) -> Layouts:
    return Layouts(tmp_path)
