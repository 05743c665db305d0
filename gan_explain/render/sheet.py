"""A sheet: rows of images on a dark ground, for looking at many at once (training samples, synthetic patients)."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image
from torch import Tensor

from gan_explain.pixels import to_uint8
from gan_explain.render.draw import MUTED, canvas, font, write_png

GAP, LARGEST = 4, 16000  # pixels between images; the longest side of a sheet


def write_sheet(
    images: Tensor | Sequence[Sequence[Tensor]],
    path: str | os.PathLike[str],
    labels: Sequence[Sequence[str]] | None = None,
    rows: Sequence[str] | None = None,
) -> None:
    """Write a PNG of images (R, C, 1, H, W) in [0, 1], or of rows of (1, H, W), one after the other.

    `labels` (a row of texts for each row of images) stand under the images, `rows` (one text a row) above each row.
    Rows beyond a height of 16000 px are left out. Raises ValueError when there is nothing to show or the labels do not fit.
    """
    grid = [list(row) for row in images]
    if not grid or not grid[0]:
        raise ValueError("expected at least one image for a sheet, got none")
    if labels is not None and [len(row) for row in labels] != [len(row) for row in grid]:
        raise ValueError(f"expected a label an image, {[len(r) for r in grid]}, got {[len(r) for r in labels]}")
    height, width = grid[0][0].shape[-2:]
    below = 18 if labels else 0
    above = 20 if rows else 0
    step_x, step_y = width + GAP, height + GAP + below + above
    columns = max(len(row) for row in grid)
    fits = max(1, (LARGEST - GAP) // step_y)
    picture, draw = canvas(columns * step_x + GAP, min(len(grid), fits) * step_y + GAP)
    for r, row in enumerate(grid[:fits]):
        top = GAP + r * step_y
        if rows:
            draw.text((GAP + 2, top + 3), rows[r], MUTED, font(12))
        for c, image in enumerate(row):
            left = GAP + c * step_x
            picture.paste(Image.fromarray(np.squeeze(to_uint8(image), 0)), (left, top + above))
            if labels:
                draw.text((left + width // 2, top + above + height + 2), labels[r][c], MUTED, font(11), anchor="ma")
    write_png(picture, path)
