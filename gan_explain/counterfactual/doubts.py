"""What may be wrong with a radiograph: no lungs, one lung, lungs cut off, a film that is turned, inverted or squeezed."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan_explain.lungs import split_lungs
from gan_explain.pixels import resize
from gan_explain.types import DataError, Segmenter

SIDE = 128  # pixels a side at which images are judged
LEAST_LUNG, MOST_LUNG = 0.03, 0.8  # shares of the image: below it no lungs were found, above it hardly lungs
ONE_LUNG = 0.25  # of the larger lung's area: a smaller one does not count
DARKER = 0.08  # at least so much darker are lungs than what lies between them
BETTER = 0.08  # of Dice: how much better lungs must be found on a film that is turned or inverted
CUT = 0.125  # of a side of the image: lungs that touch more of it may be cut off
SQUEEZED = 2.0  # sides beyond this ratio


def doubts(label: str, image: Tensor, lungs: Tensor, segmenter: Segmenter, force: bool = False) -> tuple[str, ...]:
    """Remarks on an image in [0, 1] and its lungs in {0, 1}, (1, 1, H, W) each. DataError, naming `label`, where no lungs
    were found; `force` lets that pass."""
    share = float(lungs.mean())
    if share < LEAST_LUNG and not force:
        raise DataError(f"{label}: expected a frontal chest radiograph, found lungs on {share:.1%} of it (--force goes on)")
    small, mask = resize(image, SIDE), (resize(lungs, SIDE) > 0.5)[0, 0].cpu().numpy()
    sides = sorted(int(side.sum()) for side in split_lungs(mask))
    single = sides[0] < ONE_LUNG * max(sides[1], 1)
    faint = not single and _darker(small[0, 0].cpu().numpy(), mask) < DARKER
    height, width = image.shape[-2:]
    edges = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
    shape = "wide" if width > height else "narrow"
    remarks = [
        (share > MOST_LUNG, f"lungs were found on {share:.0%} of the image: this may be no chest radiograph"),
        (single, "only one lung was found: the other may be opaque, cut off, or the view is not frontal"),
        (faint, "the lungs are hardly darker than what lies between them: they may be opaque, or this is no radiograph"),
        (max(int(edge.sum()) for edge in edges) > CUT * SIDE, "the lungs reach the border of the image: they may be cut off"),
        (
            max(height, width) > SQUEEZED * min(height, width),
            f"{width}x{height} pixels: a chest radiograph is hardly ever so {shape}",
        ),
    ]
    return (*(remark for holds, remark in remarks if holds), *_otherwise(small, segmenter))


def _darker(image: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """Mean brightness between the lungs, row by row, less that in them, both (H, W). Infinite if nothing is between."""
    reached = np.logical_or.accumulate(mask, 1) & np.logical_or.accumulate(mask[:, ::-1], 1)[:, ::-1]
    between = reached & ~mask
    return float(image[between].mean() - image[mask].mean()) if between.any() else np.inf


def _otherwise(small: Tensor, segmenter: Segmenter) -> tuple[str, ...]:
    """Whether the lungs are better found on the film turned or inverted: image (1, 1, SIDE, SIDE).

    Lungs are well found where those of the mirrored film are theirs mirrored (Dice): a segmenter that has learned upright chests
    agrees with itself on those, and loses its way on others.
    """
    ways = {
        "it may be turned by 90 degrees": [small.rot90(1, (2, 3)), small.rot90(3, (2, 3))],
        "it may be upside down": [small.rot90(2, (2, 3))],
        "it may be inverted": [1 - small],
    }
    shown = torch.cat([small, *(each for images in ways.values() for each in images)])
    found, mirrored = segmenter(shown) > 0.5, segmenter(shown.flip(3)).flip(3) > 0.5
    both, either = (found & mirrored).sum((1, 2, 3)), found.sum((1, 2, 3)) + mirrored.sum((1, 2, 3))
    own, *others = (2 * both / either.clamp(min=1)).tolist()
    best = dict(zip(ways, (max(others[:2]), *others[2:]), strict=True))
    remark = max(best, key=lambda each: best[each])
    return (f"the film does not look like an upright one: {remark}",) if best[remark] > own + BETTER else ()
