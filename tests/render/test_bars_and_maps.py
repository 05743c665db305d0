"""Bars with intervals and sheets of maps: what is drawn is there, what is missing leaves its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_explain.render.bars import Bar, Panel, write_bars
from gan_explain.render.draw import ACCENT, BACKGROUND, COOL
from gan_explain.render.heat import HeatMap
from gan_explain.render.maps import GAP, HEAD, SIDE, MapRow, write_maps


def near(pixels: np.ndarray, colour: tuple[int, int, int]) -> int:
    """How many pixels are about that colour."""
    return int((np.abs(pixels.astype(int) - np.asarray(colour)).max(-1) < 60).sum())


def test_a_longer_bar_has_more_of_its_colour_and_a_missing_one_none(tmp_path: Path) -> None:
    panels = [
        Panel("a", [Bar("x", 1.0, 0.9, 1.1, True), Bar("y", 0.25, 0.2, 0.3)]),
        Panel("b", [Bar("x", None, marked=True), Bar("y", None)]),
    ]
    write_bars(panels, tmp_path / "bars.png", columns=2)
    with Image.open(tmp_path / "bars.png") as picture:
        left, right = np.split(np.asarray(picture.convert("RGB"))[:, : picture.width // 2 * 2], 2, axis=1)
    assert near(left, ACCENT) > 2 * near(left, COOL) > 0
    assert near(right, ACCENT) == near(right, COOL) == 0
    with pytest.raises(ValueError, match="at least one panel"):
        write_bars([], tmp_path / "none.png")
    with pytest.raises(ValueError, match="same names"):
        write_bars([panels[0], Panel("b", [Bar("z", 1.0)])], tmp_path / "none.png")


def test_a_sheet_has_a_row_an_image_a_column_a_method_and_empty_places(tmp_path: Path) -> None:
    image, mask = torch.full((1, 16, 16), 0.5), torch.zeros(1, 16, 16)
    mask[:, 4:8, 4:8] = 1
    hot = HeatMap("", torch.ones(1, 16, 16))
    write_maps([MapRow(image, mask, {"a": hot, "b": hot}, "first"), MapRow(image, mask, {"b": hot})], tmp_path / "maps.png")
    with Image.open(tmp_path / "maps.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[1] == 3 * (SIDE + GAP) + GAP
    step = (pixels.shape[0] - HEAD) // 2

    def cell(row: int, column: int) -> np.ndarray:
        top, left = HEAD + row * step, GAP + column * (SIDE + GAP)
        return pixels[top : top + SIDE, left : left + SIDE]

    assert np.ptp(cell(0, 0)[-1, -1].astype(int)) == 0  # the image alone is gray
    assert np.ptp(cell(0, 1)[-1, -1].astype(int)) > 30  # a map is not
    assert (cell(1, 1) == BACKGROUND).all()  # the second image has no map of the first method
    assert np.array_equal(cell(0, 2), cell(1, 2))
    with pytest.raises(ValueError, match="at least one image"):
        write_maps([], tmp_path / "none.png")
