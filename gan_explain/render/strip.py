"""Contact strips: a few frames of a traversal side by side, each over its layer, with the strength and what the target says."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from gan_explain.optics import opacity
from gan_explain.render.curves import positive_label
from gan_explain.render.draw import (
    ACCENT,
    COOL,
    MUTED,
    STRENGTH,
    TEXT,
    Axis,
    Heat,
    Rgb,
    canvas,
    enlarge,
    font,
    heat,
    heat_bar,
    overlay,
    smooth,
    write_png,
)
from gan_explain.types import Traversal

GAP, MARGIN = 6, 20


def verdict(traversal: Traversal, probability: float) -> Rgb:
    """The colour of a probability: warm where the target calls the frame positive."""
    return ACCENT if probability >= traversal.operating_point else COOL


def pick(traversal: Traversal, columns: int) -> list[int]:
    """Indices of `columns` frames evenly along the strengths, first and last included."""
    wanted = np.linspace(float(traversal.strengths[0]), float(traversal.strengths[-1]), min(columns, len(traversal.strengths)))
    strengths = traversal.strengths.double().cpu().numpy()
    return sorted({int(np.abs(strengths - value).argmin()) for value in wanted})


def write_strip(
    traversal: Traversal,
    path: str | os.PathLike[str],
    *,
    axis: Axis = STRENGTH,
    columns: int = 7,
    side: int = 224,
    original: tuple[Tensor, float] | None = None,
) -> None:
    """One patient: frames above, their layers below, strength and probability between.

    `original`, the radiograph as it came (1, H, W) and its probability, stands first where it is not a frame itself.
    """
    chosen = pick(traversal, columns)
    first = 1 if original is not None else 0
    caption, foot, head = 44, 34, 22
    width = 2 * MARGIN + (len(chosen) + first) * (side + GAP) - GAP
    picture, draw = canvas(width, head + 2 * side + caption + foot)
    if original is not None:
        picture.paste(Image.fromarray(enlarge(original[0], side)), (MARGIN, head))
        _caption(draw, MARGIN, head + side + 13, side, "input", original[1], verdict(traversal, original[1]))
    layers = heat(traversal, axis)
    for column, i in enumerate(chosen, first):
        left, strength, p = MARGIN + column * (side + GAP), float(traversal.strengths[i]), float(traversal.probability[i])
        gray = enlarge(traversal.frames[i], side)
        picture.paste(Image.fromarray(gray), (left, head))
        picture.paste(Image.fromarray(layers.over(gray, i)), (left, head + side + caption))
        _caption(draw, left, head + side + 13, side, f"{axis.symbol} = {strength:.2f}", p, verdict(traversal, p))
    _footer(picture, draw, traversal, layers, width, head + 2 * side + caption + 10)
    write_png(picture, path)


def write_strips(
    traversals: Sequence[Traversal], path: str | os.PathLike[str], *, columns: int = 6, side: int = 160, layers: bool = True
) -> None:
    """Several patients, one a row: frames at increasing strength and, with `layers`, the layer at strength 1 at the end."""
    first = traversals[0]
    width = 2 * MARGIN + (len(pick(first, columns)) + layers) * (side + GAP) - GAP
    caption, foot, head = 24, 34, 34
    picture, draw = canvas(width, head + len(traversals) * (side + caption) + foot)
    warmth = [heat(each, STRENGTH) for each in traversals]
    common = Heat(warmth[0].alpha, max(each.scale for each in warmth), any(each.signed for each in warmth))
    for row, traversal in enumerate(traversals):
        top = head + row * (side + caption)
        for column, i in enumerate(pick(traversal, columns)):
            left, p = MARGIN + column * (side + GAP), float(traversal.probability[i])
            picture.paste(Image.fromarray(enlarge(traversal.frames[i], side)), (left, top))
            draw.text((left + side // 2, top + side + 3), f"p {p:.2f}", verdict(traversal, p), font(13), anchor="ma")
            if row == 0:
                text = f"λ = {float(traversal.strengths[i]):.2f}"
                draw.text((left + side // 2, 10), text, MUTED, font(14), anchor="ma")
        if layers:
            alpha = opacity(traversal.layer).cpu()
            gray = enlarge(traversal.structure, side)
            left = MARGIN + len(pick(traversal, columns)) * (side + GAP)
            picture.paste(Image.fromarray(overlay(gray, smooth(alpha, side), common.scale)), (left, top))
            if row == 0:
                draw.text((left + side // 2, 10), "layer, λ = 1", MUTED, font(14), anchor="ma")
    _footer(picture, draw, first, common, width, head + len(traversals) * (side + caption) + 8)
    write_png(picture, path)


def _caption(draw: ImageDraw.ImageDraw, left: int, top: int, side: int, place: str, p: float, colour: Rgb) -> None:
    draw.text((left + 6, top), place, TEXT, font(15))
    draw.text((left + side - 6, top), f"p = {p:.2f}", colour, font(15, bold=True), anchor="ra")


def _footer(picture: Image.Image, draw: ImageDraw.ImageDraw, traversal: Traversal, layers: Heat, width: int, top: int) -> None:
    text = f"p = {positive_label(traversal.positive)}, positive at {traversal.operating_point:.2f}"
    draw.text((MARGIN, top), text, MUTED, font(13))
    bar = heat_bar(120, 8, layers.signed)
    end = width - MARGIN
    draw.text((end, top), f"{layers.scale:.2f}", MUTED, font(13), anchor="ra")
    picture.paste(bar, (end - 42 - bar.width, top + 5))
    draw.text((end - 50 - bar.width, top), f"opacity α  {layers.low}", MUTED, font(13), anchor="ra")
