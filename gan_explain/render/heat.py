"""Heat maps beside their radiograph: one column a method, each with its own colour bar, caption and caveat."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from gan_explain.render.draw import ACCENT, COOL, MUTED, TEXT, canvas, enlarge, font, heat_bar, overlay, smooth, write_png

GAP, MARGIN, LINE_HEIGHT = 14, 22, 17


@dataclass(frozen=True)
class HeatMap:
    """What one column shows. values (1, H, W), `signed` where they go below zero; `notes` stand below the title, one a line, and
    `caveat` under the colour bar, wrapped. `scale` is the value of full colour; None: the largest one of the map."""

    title: str
    values: Tensor
    notes: tuple[str, ...] = ()
    caveat: str = ""
    signed: bool = False
    scale: float | None = None

    @property
    def full(self) -> float:
        return self.scale if self.scale is not None else float(self.values.abs().max())


def write_heat(
    image: Tensor,
    maps: Sequence[HeatMap],
    path: str | os.PathLike[str],
    *,
    title: str,
    probability: float,
    label: str,
    operating_point: float,
    lungs: Tensor | None = None,
    side: int = 384,
) -> None:
    """One figure: the radiograph (1, H, W) at any size, then each map over it, as a PNG.

    `title` names the image, `label` what `probability` is of. The outline of `lungs` (1, H, W) is drawn over the maps.
    """
    gray = enlarge(image, side)
    head, notes = 44, max([1, *(len(each.notes) for each in maps)])
    caveats = [wrap(each.caveat, side, 13) for each in maps]
    foot = 12 + LINE_HEIGHT * notes + 30 + LINE_HEIGHT * max([0, *map(len, caveats)]) + 12
    picture, draw = canvas(2 * MARGIN + (1 + len(maps)) * (side + GAP) - GAP, head + side + foot)
    _column(picture, draw, 0, Image.fromarray(gray), fit(title, side, 16), side, head)
    below = head + side + 12
    colour = ACCENT if probability >= operating_point else COOL
    draw.text((MARGIN, below), f"{label} = {probability:.3f}", colour, font(15, bold=True))
    called = "positive" if probability >= operating_point else "negative"
    draw.text((MARGIN, below + LINE_HEIGHT + 4), f"called {called} (operating point {operating_point:.2f})", MUTED, font(13))
    if lungs is not None:
        draw.text((MARGIN, below + 2 * LINE_HEIGHT + 6), "thin line: lungs, as segmented", MUTED, font(13))
    for column, (each, caveat) in enumerate(zip(maps, caveats, strict=True), 1):
        left = MARGIN + column * (side + GAP)
        laid = lay(gray, each, lungs)
        _column(picture, draw, column, laid, each.title, side, head)
        for row, note in enumerate(each.notes):
            draw.text((left, below + row * LINE_HEIGHT), fit(note, side, 13), TEXT, font(13))
        bar = below + notes * LINE_HEIGHT + 8
        _bar(picture, draw, each, left, bar, side)
        for row, line in enumerate(caveat):
            draw.text((left, bar + 26 + row * LINE_HEIGHT), line, MUTED, font(13))
    write_png(picture, path)


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


def fit(text: str, width: int, size: int) -> str:
    """The text, cut with an ellipsis where it is wider than `width` pixels."""
    if font(size).getlength(text) <= width:
        return text
    while text and font(size).getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


def _column(
    picture: Image.Image, draw: ImageDraw.ImageDraw, column: int, image: Image.Image, title: str, side: int, head: int
) -> None:
    left = MARGIN + column * (side + GAP)
    draw.text((left, 14), title, TEXT, font(16, bold=True))
    picture.paste(image, (left, head))


def _bar(picture: Image.Image, draw: ImageDraw.ImageDraw, heat: HeatMap, left: int, top: int, side: int) -> None:
    if heat.full <= 0:
        draw.text((left, top), "all zero: nothing to show", MUTED, font(13))
        return
    low, high = (f"{-heat.full:.2g}" if heat.signed else "0"), f"{heat.full:.2g}"
    text = font(13)
    start, end = left + int(text.getlength(low)) + 8, left + side - int(text.getlength(high)) - 8
    draw.text((left, top), low, MUTED, text)
    draw.text((left + side, top), high, MUTED, text, anchor="ra")
    picture.paste(heat_bar(end - start, 9, heat.signed), (start, top + 4))
