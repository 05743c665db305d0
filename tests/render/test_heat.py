"""Heat maps beside their radiograph: what is drawn is what came."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_explain.render.draw import enlarge, font
from gan_explain.render.heat import Explained, HeatMap, fit, full_colour, lay, outlined, wrap, write_heat

SIDE = 192


def hot_corner() -> torch.Tensor:
    values = torch.zeros(1, 16, 16)
    values[:, :4, :4] = 2.0
    return values


def test_colour_stands_where_the_heat_is() -> None:
    gray = enlarge(torch.full((1, 32, 32), 0.4), SIDE)
    laid = np.asarray(lay(gray, HeatMap("x", hot_corner())), dtype=int)
    spread = laid.max(2) - laid.min(2)  # gray has none
    assert spread[5:30, 5:30].min() > 50
    assert (laid[SIDE // 2 :, SIDE // 2 :] == gray[SIDE // 2 :, SIDE // 2 :]).all()


def test_a_common_scale_keeps_a_faint_map_faint() -> None:
    gray = enlarge(torch.full((1, 32, 32), 0.4), SIDE)
    own, common = (
        np.asarray(lay(gray, HeatMap("x", 0.1 * hot_corner(), scale=scale)), dtype=int)[20, 20] for scale in (None, 2.0)
    )
    assert abs(common - gray[20, 20]).sum() < abs(own - gray[20, 20]).sum() / 2


def test_a_map_of_zeros_leaves_the_radiograph_alone() -> None:
    gray = enlarge(torch.rand(1, 32, 32), SIDE)
    assert (np.asarray(lay(gray, HeatMap("x", torch.zeros(1, 16, 16)))) == gray).all()


def test_the_outline_is_thin_and_on_the_edge() -> None:
    lungs = torch.zeros(1, 32, 32)
    lungs[:, 8:24, 8:24] = 1
    gray = enlarge(torch.full((1, 32, 32), 0.4), SIDE)
    changed = (outlined(gray, lungs) != gray).any(2)
    assert 0.01 < changed.mean() < 0.05
    assert not changed[SIDE // 2 - 20 : SIDE // 2 + 20, SIDE // 2 - 20 : SIDE // 2 + 20].any()


def test_text_fits() -> None:
    lines = wrap("one two three four five six seven eight nine ten", 120, 13)
    assert " ".join(lines) == "one two three four five six seven eight nine ten"
    assert max(font(13).getlength(line) for line in lines) <= 120
    assert fit("short", 200, 13) == "short"
    assert font(13).getlength(fit("x" * 200, 100, 13)) <= 100


def test_a_few_bright_pixels_do_not_dim_the_rest() -> None:
    values = torch.full((1, 1, 64, 64), 0.1)
    values[0, 0, 0, :4] = -5.0
    assert full_colour(values) == pytest.approx(0.1)
    lone = torch.zeros(1, 1, 64, 64)
    lone[0, 0, 3, 3] = 2.0
    assert full_colour(lone) == 2.0
    assert full_colour(torch.zeros(1, 1, 8, 8)) == 0.0


def size_of(count: int, path: Path) -> tuple[int, int]:
    maps = [HeatMap(f"map {i}", hot_corner(), caveat="It says. " * (20 if i == 5 else 1), unit="opacity") for i in range(count)]
    shown = Explained(torch.rand(1, 64, 64), "a.png", "p(covid)", 0.7, 0.5)
    write_heat(shown, maps, path, SIDE)
    with Image.open(path) as picture:
        return picture.size


def test_many_maps_stand_in_rows(tmp_path: Path) -> None:
    """With the image itself: 4 in one row, 5 as 3 and 2, 8 as 4 and 4, 9 as three rows of 3."""
    sizes = {count: size_of(count, tmp_path / "x.png") for count in (2, 3, 4, 7, 8)}
    assert sizes[3][0] > sizes[2][0]
    assert sizes[4][0] == sizes[2][0] == sizes[8][0]
    assert sizes[7][0] == sizes[3][0]
    assert sizes[4][1] > 1.9 * (sizes[3][1] - 20)
    assert sizes[8][1] > sizes[7][1]


def test_every_line_of_a_caption_is_drawn(tmp_path: Path) -> None:
    """A longer note makes the figure taller, and its last line is there."""
    heights = []
    for count in (1, 12):
        heat = HeatMap("x", hot_corner(), ("word " * 12 * count,), "last words")
        write_heat(Explained(torch.rand(1, 64, 64), "a", "p", 0.1, 0.5), [heat], tmp_path / "x.png", SIDE)
        with Image.open(tmp_path / "x.png") as picture:
            pixels = np.asarray(picture, dtype=int)
        heights.append(pixels.shape[0])
        right = pixels[:, SIDE + 40 :].max(2)
        rows = np.flatnonzero((right > 80).any(1))
        assert pixels.shape[0] - 50 < rows[-1] < pixels.shape[0] - 5
    assert heights[1] > heights[0] + 100


def test_a_figure_has_a_column_for_each_map(tmp_path: Path) -> None:
    maps = [HeatMap("Grad-CAM", hot_corner(), ("layer x",), "It says roughly where. " * 8), HeatMap("none", torch.zeros(1, 8, 8))]
    sizes = []
    for count in (1, 2):
        path = tmp_path / f"{count}.png"
        shown = Explained(torch.rand(1, 64, 64), "a.png", "p(covid)", 0.7, 0.5, torch.ones(1, 64, 64))
        write_heat(shown, maps[:count], path, SIDE)
        with Image.open(path) as picture:
            sizes.append(picture.size)
    assert sizes[1][0] - sizes[0][0] > SIDE
    assert sizes[0][1] == sizes[1][1] > SIDE
