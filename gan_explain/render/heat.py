"""Heat maps beside their radiograph, in rows: each method with its own colour bar, captions and caveat."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from gan_explain.render.draw import (
    ACCENT,
    COOL,
    MUTED,
    TEXT,
    Rgb,
    canvas,
    enlarge,
    fit,
    font,
    heat_bar,
    overlay,
    smooth,
    write_png,
)

GAP, MARGIN, LINE_HEIGHT = 18, 22, 17
HEAD, BAR = 34, 24  # above an image: its title; below it: its colour bar
ACROSS = 4  # images in a row
SMALL = 13  # pixels of captions
BRIGHTEST = 99.5  # percentile of the map that has full colour


@dataclass(frozen=True)
class HeatMap:
    """What one column shows. values (1, H, W), `signed` where they go below zero; `unit` stands under the colour bar, `notes`
    below that, and last `caveat`, wrapped. `scale` is the value of full colour; None: the largest one of the map."""

    title: str
    values: Tensor
    notes: tuple[str, ...] = ()
    caveat: str = ""
    signed: bool = False
    scale: float | None = None
    unit: str = ""

    @property
    def largest(self) -> float:
        return float(self.values.abs().max())

    @property
    def full(self) -> float:
        return self.scale if self.scale is not None else self.largest


@dataclass(frozen=True)
class Explained:
    """The radiograph (1, H, W) at any size that is explained: `title` names it, `label` what `probability` is of. The outline of
    `lungs` (1, H, W) is drawn over the maps; `remarks` are what may be wrong with it."""

    image: Tensor
    title: str
    label: str
    probability: float
    operating_point: float
    lungs: Tensor | None = None
    remarks: Sequence[str] = ()


def full_colour(values: Tensor) -> float:
    """A scale for a map in which a few pixels stand far above the rest: the value that one pixel in 200 exceeds, and the largest
    where that is 0 (a map with heat on less than that)."""
    magnitude = values.detach().abs().cpu().float().numpy()
    return float(np.percentile(magnitude, BRIGHTEST)) or float(magnitude.max())


@dataclass(frozen=True)
class _Cell:
    """One image of the figure with what stands over and under it; lines are (text, colour, bold)."""

    image: Image.Image
    title: str
    lines: list[tuple[str, Rgb, bool]]
    heat: HeatMap | None = None

    @property
    def height(self) -> int:
        """Of what stands under the image, in pixels."""
        return 8 + (0 if self.heat is None else BAR) + LINE_HEIGHT * len(self.lines) + 18


def write_heat(shown: Explained, maps: Sequence[HeatMap], path: str | os.PathLike[str], side: int = 384) -> None:
    """One figure: the radiograph, then each map over it, in rows of at most `ACROSS`, as a PNG."""
    gray = enlarge(shown.image, side)
    cells = [_Cell(Image.fromarray(gray), fit(shown.title, side, 16), _about(shown, any(each.signed for each in maps), side))]
    for each in maps:
        lines = [line for note in (each.unit, *each.notes) for line in _wrapped(note, side, TEXT)]
        lines += _wrapped(each.caveat, side, MUTED)
        cells.append(_Cell(lay(gray, each, shown.lungs), fit(each.title, side, 16), lines, each))
    across = -(-len(cells) // -(-len(cells) // ACROSS))  # as even as the rows can be
    rows = [cells[start : start + across] for start in range(0, len(cells), across)]
    heights = [HEAD + side + max(cell.height for cell in row) for row in rows]
    picture, draw = canvas(2 * MARGIN + across * (side + GAP) - GAP, 10 + sum(heights))
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            _draw(picture, draw, cell, MARGIN + column * (side + GAP), 10 + sum(heights[:number]), side)
    write_png(picture, path)


def _about(shown: Explained, signed: bool, side: int) -> list[tuple[str, Rgb, bool]]:
    """What stands under the radiograph itself."""
    called, colour = ("positive", ACCENT) if shown.probability >= shown.operating_point else ("negative", COOL)
    about = [(f"{shown.label} = {shown.probability:.3f}", colour, True)]
    about += _wrapped(f"called {called} (operating point {shown.operating_point:.2f})", side, MUTED)
    if shown.lungs is not None:
        about += _wrapped("thin line over the maps: lungs, as segmented", side, MUTED)
    if signed:
        about += _wrapped(f"warm: for {shown.label}; blue: against it", side, MUTED)
    return about + [line for remark in shown.remarks for line in _wrapped(remark, side, ACCENT)]


def lay(gray: np.ndarray, heat: HeatMap, lungs: Tensor | None = None) -> Image.Image:
    """A map over gray pixels (side, side, 3), with the outline of the lungs; a map of zeros leaves them as they are."""
    side = gray.shape[0]
    laid = overlay(gray, smooth(heat.values, side), heat.full) if heat.full > 0 else gray
    return Image.fromarray(outlined(laid, lungs) if lungs is not None else laid)


def outlined(pixels: np.ndarray, lungs: Tensor) -> np.ndarray:
    """Draw the edge of a mask (1, H, W) one or two pixels wide, half transparent, over pixels (side, side, 3)."""
    inside = smooth(lungs, pixels.shape[0]) > 0.5
    edge = np.zeros_like(inside)
    for axis in (0, 1):
        edge |= inside != np.roll(inside, 1, axis)
    edge[0], edge[:, 0] = False, False
    drawn = pixels.copy()
    drawn[edge] = (0.45 * pixels[edge] + 0.55 * np.asarray(TEXT)).astype(np.uint8)
    return drawn


def wrap(text: str, width: int, size: int) -> list[str]:
    """Lines of at most `width` pixels, broken between words."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font(size).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _wrapped(text: str, width: int, colour: Rgb) -> list[tuple[str, Rgb, bool]]:
    return [(line, colour, False) for line in wrap(text, width, SMALL)]


def _draw(picture: Image.Image, draw: ImageDraw.ImageDraw, cell: _Cell, left: int, top: int, side: int) -> None:
    draw.text((left, top + 4), cell.title, TEXT, font(16, bold=True))
    picture.paste(cell.image, (left, top + HEAD))
    below = top + HEAD + side + 8
    if cell.heat is not None:
        _bar(picture, draw, cell.heat, left, below, side)
        below += BAR
    for row, (line, colour, bold) in enumerate(cell.lines):
        draw.text((left, below + row * LINE_HEIGHT), line, colour, font(SMALL, bold=bold))


def _bar(picture: Image.Image, draw: ImageDraw.ImageDraw, heat: HeatMap, left: int, top: int, side: int) -> None:
    if heat.full <= 0:
        draw.text((left, top), "all zero: nothing to show", MUTED, font(SMALL))
        return
    beyond = "≥ " if heat.full < heat.largest else ""
    low, high = (f"{beyond.replace('≥', '≤')}{-heat.full:.2g}" if heat.signed else "0"), f"{beyond}{heat.full:.2g}"
    text = font(SMALL)
    start, end = left + int(text.getlength(low)) + 8, left + side - int(text.getlength(high)) - 8
    draw.text((left, top), low, MUTED, text)
    draw.text((left + side, top), high, MUTED, text, anchor="ra")
    picture.paste(heat_bar(end - start, 9, heat.signed), (start, top + 4))
