"""Radiographs and masks as a dataset gives them: the whole image, trimmed and stretched, squeezed to a square."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from gan_explain.image import FloatImage, clip_percentile, read_image, trim_box
from gan_explain.pixels import resize
from gan_explain.types import DataError

LABELS = 16  # different values up to which a mask is taken for drawn labels, each of them exact
FAINTEST = 1 / 16  # of the largest value: what is fainter is noise (of JPEG, mostly) and not a label
FLAT = 0.5  # share of a drawn label that lies within it; of noise, and of soft edges, less does
SOLID, SOFT = 0.005, 0.15  # share of the pixels from which a value is a label; share that soft edges may have at most


def prepare(array: FloatImage, size: int, trim: bool = True) -> Tensor:
    """A radiograph as read -> (1, size, size) float32 in [0, 1]: uniform borders trimmed, percentiles clipped, the whole image
    resized, whatever its sides."""
    if trim:
        array = array[trim_box(array)]
    stretched = np.ascontiguousarray(clip_percentile(array))
    return resize(torch.from_numpy(stretched)[None, None], size)[0].clamp(0, 1)


def prepare_aligned(
    array: FloatImage, masks: Sequence[FloatImage | None], size: int, trim: bool = True
) -> tuple[Tensor, list[Tensor | None]]:
    """A radiograph and masks in {0, 1} of the same field of view (on any grid), all trimmed by one box.

    Returns `prepare(array, size, trim)` and the masks as (1, size, size) in {0, 1}.
    """
    box = trim_box(array) if trim else (slice(None), slice(None))
    prepared: list[Tensor | None] = []
    for mask in masks:
        if mask is not None and mask.shape != array.shape:
            grid = F.interpolate(torch.from_numpy(np.ascontiguousarray(mask))[None, None], array.shape, mode="nearest-exact")
            mask = grid[0, 0].numpy()
        prepared.append(None if mask is None else _squeezed(mask[box], size))
    return prepare(array[box], size, trim=False), prepared


def _squeezed(mask: FloatImage, size: int) -> Tensor:
    whole = torch.from_numpy(np.ascontiguousarray(mask))[None, None]
    return (resize(whole, size)[0] > 0.5).float()


def read_mask(path: str | os.PathLike[str]) -> FloatImage:
    """A mask file as (H, W) in {0, 1}. DataError as of `image.read_image`, and where it is not plain what is inside."""
    return inside(read_image(path), str(path))


def inside(values: FloatImage, name: str = "mask") -> FloatImage:
    """A mask as read, (H, W) in [0, 1] -> {0, 1}: whatever is not 0 is inside, whichever value or colour it has.

    Soft edges, as resizing and JPEG leave them, are cut half way to the faintest label, and what is faint and nowhere flat is
    noise. DataError, with the values, where that decides too much: nothing is 0, areas of values just above 0, or more gray than
    edges have; and where all four corners are inside.
    """
    grid = (values * 65535).round().astype(np.int64)
    counts = np.bincount(grid.ravel())
    levels = np.flatnonzero(counts)
    if not grid.any():
        return np.zeros(grid.shape, np.float32)
    share = counts[levels] / grid.size
    solid = levels if len(levels) <= LABELS else levels[share >= SOLID]
    faint = FAINTEST * levels[-1]
    noise = [level for level in levels[(levels > 0) & (levels <= faint)] if _flat(grid == level) < FLAT]
    labels = solid[(solid > 0) & ~np.isin(solid, noise)]
    soft = 1 - float(share[np.isin(levels, [*solid, *noise])].sum())
    plain = len(labels) and levels[0] == 0 and labels[0] > faint and soft <= SOFT
    wanted = "expected a mask of 0 outside and one or more clear values inside"
    if not plain:
        shown = ", ".join(f"{level / 257:.4g}" for level in levels[:6]) + (", ..." if len(levels) > 6 else "")
        raise DataError(f"{name}: {wanted}, got {len(levels)} values: {shown} (of 255)")
    clear = next((level for level in labels if _flat(grid == level) >= FLAT), labels[0])
    cut = 0 if len(levels) <= LABELS and not noise else clear / 2
    found = (grid > cut).astype(np.float32)
    if found[:: len(found) - 1 or 1, :: found.shape[1] - 1 or 1].all():
        raise DataError(f"{name}: {wanted}, got one that covers all four corners: inside and outside look exchanged")
    return found


def _flat(place: NDArray[np.bool_]) -> float:
    """The share of a place (H, W) of which all eight neighbours belong to it."""
    return float(ndimage.binary_erosion(place, np.ones((3, 3))).sum() / place.sum())
