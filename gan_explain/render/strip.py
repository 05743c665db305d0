"""Contact strips: a few frames of a traversal side by side, each over its layer, with the strength and what the target says."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from gan_explain.optics import opacity
from gan_explain.render.curves import positive_label
from gan_explain.render.draw import (
    ACCENT,
    COOL,
    FAINTEST,
    MUTED,
    TEXT,
    Heat,
    Pixels,
    Rgb,
    axis_of,
    canvas,
    enlarge,
    fit,
    font,
    heat,
    heat_bar,
    overlay,
    smooth,
    write_png,
)
from gan_explain.render.heat import outlined
from gan_explain.response import Response

GAP, MARGIN = 6, 20


def verdict(traversal: Response, probability: float) -> Rgb:
    """The colour of a probability: warm where the target calls the frame positive."""
    return ACCENT if probability >= traversal.operating_point else COOL


def pick(traversal: Response, columns: int) -> list[int]:
    """Indices of `columns` frames evenly along the strengths, first and last included."""
    wanted = np.linspace(float(traversal.strengths[0]), float(traversal.strengths[-1]), min(columns, len(traversal.strengths)))
    strengths = traversal.strengths.double().cpu().numpy()
    return sorted({int(np.abs(strengths - value).argmin()) for value in wanted})


def write_strip(
    traversal: Response,
    path: str | os.PathLike[str],
    *,
    columns: int = 7,
    side: int = 224,
    original: tuple[Tensor, float] | None = None,
) -> None:
    """`draw_strip` as a PNG."""
    write_png(draw_strip(traversal, columns=columns, side=side, original=original), path)


def draw_strip(
    traversal: Response, *, columns: int = 7, side: int = 224, original: tuple[Tensor, float] | None = None
) -> Image.Image:
    """One patient: frames above, their layers below, strength and probability between.

    `original`, the radiograph as it came (1, H, W) and its probability, stands first where it is not a frame itself.
    """
    traversal = traversal.reduced(side, pick(traversal, columns))
    chosen = range(len(traversal.frames))
    first = 1 if original is not None else 0
    caption, foot, head = 44, 34, 22
    width = 2 * MARGIN + (len(chosen) + first) * (side + GAP) - GAP
    picture, draw = canvas(width, head + 2 * side + caption + foot)
    if original is not None:
        picture.paste(Image.fromarray(enlarge(original[0], side)), (MARGIN, head))
        _caption(draw, MARGIN, head + side + 13, side, "input", original[1], verdict(traversal, original[1]))
    layers, symbol = heat(traversal), axis_of(traversal).symbol
    for column, i in enumerate(chosen, first):
        left, strength, p = MARGIN + column * (side + GAP), float(traversal.strengths[i]), float(traversal.probability[i])
        gray = enlarge(traversal.frames[i], side)
        picture.paste(Image.fromarray(gray), (left, head))
        picture.paste(Image.fromarray(layers.over(gray, i)), (left, head + side + caption))
        _caption(draw, left, head + side + 13, side, f"{symbol} = {strength:.2f}", p, verdict(traversal, p))
    _footer(picture, draw, traversal, layers, width, head + 2 * side + caption + 10)
    return picture


def draw_counterfactual(structure: Tensor, layer: Tensor, after: Tensor, caption: str, kind: str, side: int = 320) -> Image.Image:
    """A structure, the layer of a `kind` over it, and the counterfactual, (1, H, W) each, above a caption."""
    alpha = opacity(layer).cpu()
    gray = enlarge(structure, side)
    warm = overlay(gray, smooth(alpha, side), max(FAINTEST, float(alpha.abs().max())))
    return _beside({"structure": gray, f"layer ({kind})": warm, "counterfactual": enlarge(after, side)}, caption)


def draw_radiograph(image: Tensor, lungs: Tensor, caption: str, side: int = 320) -> Image.Image:
    """A radiograph, and the outline of its lungs over it, (1, H, W) each, above a caption."""
    gray = enlarge(image, side)
    return _beside({"radiograph": gray, "lungs": outlined(gray, lungs)}, caption)


def _beside(columns: Mapping[str, Pixels], caption: str) -> Image.Image:
    """Pixels (side, side, 3) beside one another, each under its title, above a caption."""
    side = len(next(iter(columns.values())))
    picture, draw = canvas(2 * MARGIN + len(columns) * (side + GAP) - GAP, 34 + side + 34)
    for i, (title, pixels) in enumerate(columns.items()):
        left = MARGIN + i * (side + GAP)
        draw.text((left, 9), title, MUTED, font(14))
        picture.paste(Image.fromarray(pixels), (left, 34))
    draw.text((MARGIN, 34 + side + 9), fit(caption, picture.width - 2 * MARGIN, 14), TEXT, font(14))
    return picture


def write_strips(
    traversals: Sequence[Response], path: str | os.PathLike[str], *, columns: int = 6, side: int = 160, layers: bool = True
) -> None:
    """Several patients, one a row: frames at increasing strength and, with `layers`, the layer at strength 1 at the end."""
    traversals = [each.reduced(side, pick(each, columns)) for each in traversals]
    first = traversals[0]
    shown = range(len(first.frames))
    width = 2 * MARGIN + (len(shown) + layers) * (side + GAP) - GAP
    caption, foot, head = 24, 34, 34
    picture, draw = canvas(width, head + len(traversals) * (side + caption) + foot)
    warmth = [heat(each) for each in traversals]
    common = Heat(warmth[0].alpha, max(each.scale for each in warmth), any(each.signed for each in warmth))
    for row, traversal in enumerate(traversals):
        top = head + row * (side + caption)
        for column, i in enumerate(shown):
            left, p = MARGIN + column * (side + GAP), float(traversal.probability[i])
            picture.paste(Image.fromarray(enlarge(traversal.frames[i], side)), (left, top))
            draw.text((left + side // 2, top + side + 3), f"p {p:.2f}", verdict(traversal, p), font(13), anchor="ma")
            if row == 0:
                text = f"λ = {float(traversal.strengths[i]):.2f}"
                draw.text((left + side // 2, 10), text, MUTED, font(14), anchor="ma")
        if layers:
            alpha = opacity(traversal.layer).cpu()
            gray = enlarge(traversal.structure, side)
            left = MARGIN + len(shown) * (side + GAP)
            picture.paste(Image.fromarray(overlay(gray, smooth(alpha, side), common.scale)), (left, top))
            if row == 0:
                draw.text((left + side // 2, 10), "layer, λ = 1", MUTED, font(14), anchor="ma")
    _footer(picture, draw, first, common, width, head + len(traversals) * (side + caption) + 8)
    write_png(picture, path)


def _caption(draw: ImageDraw.ImageDraw, left: int, top: int, side: int, place: str, p: float, colour: Rgb) -> None:
    draw.text((left + 6, top), place, TEXT, font(15))
    draw.text((left + side - 6, top), f"p = {p:.2f}", colour, font(15, bold=True), anchor="ra")


def _footer(picture: Image.Image, draw: ImageDraw.ImageDraw, traversal: Response, layers: Heat, width: int, top: int) -> None:
    text = f"p = {positive_label(traversal.positive)}, positive at {traversal.operating_point:.2f}"
    text = " · ".join((text, *traversal.remarks))
    draw.text((MARGIN, top), fit(text, width - 2 * MARGIN - 320, 13), MUTED, font(13))
    bar = heat_bar(120, 8, layers.signed)
    end = width - MARGIN
    draw.text((end, top), f"{layers.scale:.2f}", MUTED, font(13), anchor="ra")
    picture.paste(bar, (end - 42 - bar.width, top + 5))
    draw.text((end - 50 - bar.width, top), f"opacity α  {layers.low}", MUTED, font(13), anchor="ra")
