"""A sheet of heat maps: images in rows, methods in columns, the mask that they are held against drawn over every one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from gan_explain.render.draw import MUTED, TEXT, canvas, enlarge, fit, font, write_png
from gan_explain.render.heat import HeatMap, lay

SIDE, GAP, HEAD, FOOT = 160, 8, 30, 22


@dataclass(frozen=True)
class MapRow:
    """One image (1, H, W), its mask (1, H, W), a map for each method by name, and what stands below the image."""

    image: Tensor
    mask: Tensor
    maps: Mapping[str, HeatMap]
    note: str = ""


def write_maps(rows: Sequence[MapRow], path: str | os.PathLike[str], side: int = SIDE) -> None:
    """Write the sheet as a PNG; every map is scaled by itself, its largest value full colour, and a method that has none for an
    image leaves its place empty. ValueError without a row."""
    if not rows:
        raise ValueError("expected at least one image for a sheet of maps, got none")
    names = list(dict.fromkeys(name for row in rows for name in row.maps))
    picture, draw = canvas((1 + len(names)) * (side + GAP) + GAP, HEAD + len(rows) * (side + FOOT))
    for column, name in enumerate(["mask", *names]):
        draw.text((GAP + column * (side + GAP), 9), fit(name, side, 12), TEXT, font(12, bold=True))
    for number, row in enumerate(rows):
        gray, top = enlarge(row.image, side), HEAD + number * (side + FOOT)
        for column, name in enumerate(["", *names]):
            if not name or name in row.maps:
                heat = row.maps[name] if name else HeatMap("", row.image * 0)
                picture.paste(lay(gray, heat, row.mask), (GAP + column * (side + GAP), top))
        draw.text((GAP, top + side + 3), fit(row.note, (1 + len(names)) * (side + GAP), 12), MUTED, font(12))
    write_png(picture, path)
