"""Transplants: what raises p when a part of another radiograph takes its place in this one? No generator takes part.

x is an image that the target calls negative, y a donor, R a region's weights in [0, 1]: x' = x + R (y - x) and the effect is
p(x') - p(x), the target asked with x's own lungs. The mean effect of positive donors minus that of negative donors of the same
source is the *excess*: the seam, a stranger's anatomy and the source are in both, so what is left is what the target takes for
disease. An excess of the outside, where both images' lungs are left alone, is evidence of a shortcut.

Related: background swaps of natural images (Xiao et al., "Noise or Signal", ICLR 2021, arXiv 2006.09994); they replace the
background of an object by that of another class, we hold both lungs and compare with donors of the same class.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from gan_explain.metrics.registry import PLACES, Entry, Key, register
from gan_explain.metrics.statistics import STATISTICS, matched
from gan_explain.metrics.text import text
from gan_explain.pixels import feather, gaussian_blur
from gan_explain.types import Target

REGION_NAMES = {
    "whole": "whole image",
    "lungs": "inside the lungs",
    "outside": "outside the lungs",
    "corners": "corners",
    "border": "border",
    "text": "burned-in text and markers",
}
STATISTIC_NAMES = {
    "lung_darkness": "mean of the lungs",
    "lung_contrast": "contrast in the lungs",
    "exposure": "exposure of the image",
    "sharpness": "sharpness",
}
register(
    Entry("transplant", "change of p with a part of another patient put in", PLACES, of=REGION_NAMES),
    Entry("statistic", "change of p with a statistic of another patient put in", PLACES, of=STATISTIC_NAMES),
    Entry("shortcut", "shortcut score: the outside of a positive, beyond that of a negative", PLACES, better="lower"),
)

REGIONS = ("whole", "lungs", "outside", "corners", "border")  # of the image's plane
TRANSPLANTS = (*REGIONS, "text")
OUTSIDE = ("outside", "corners", "border")
EFFECTS = (*(Key("transplant", name) for name in TRANSPLANTS), *(Key("statistic", name) for name in STATISTICS))
CORNER, BORDER = 0.2, 0.08  # of the side: a corner's square, the frame's width
# Of the side: the outside begins this far from the lungs. Segmenters miss the opaque rim of a lung, and what they miss would be
# called outside: of the lesions of phantoms 3 to 4 % lie more than 1/64 from the lungs that lungs128 sees, 1 % more than 1/32.
MARGIN = 1 / 32
SOFT = 1 / 128  # of the side: standard deviation of a region's edge


def regions(lungs_x: Tensor, lungs_y: Tensor) -> dict[str, Tensor]:
    """Weights (N, 1, H, W) in [0, 1] of each of REGIONS, from the lungs of x and of y (N, 1, H, W) in {0, 1}.

    lungs: inside both, feathered inwards. outside: inside neither, MARGIN away, exactly 0 in the lungs of x and of y. corners
    and border: the outside's part in the corners (CORNER) and in the frame (BORDER). whole: everything. One of the two may have
    N = 1.
    """
    size = lungs_x.shape[-1]
    either = ((lungs_x + lungs_y) > 0).to(lungs_x)
    reach = max(1, round(MARGIN * size))
    outside = gaussian_blur(1 - max_pool2d(either, 2 * reach + 1, 1, reach), SOFT * size) * (1 - either)
    corners, border = _frame(lungs_x)
    return {
        "whole": torch.ones_like(either),
        "lungs": feather(((lungs_x * lungs_y) > 0).to(lungs_x), size / 64),
        "outside": outside,
        "corners": outside * corners,
        "border": outside * border,
    }


def _frame(like: Tensor) -> tuple[Tensor, Tensor]:
    """Soft weights (1, 1, H, W) of the four corners and of the frame."""
    height, width = like.shape[-2:]
    down, across = ((torch.arange(n).to(like) + 0.5) / n for n in (height, width))
    near = [torch.minimum(t, 1 - t) for t in (down, across)]  # distance from the nearer edge

    def within(reach: float) -> tuple[Tensor, Tensor]:
        rows, columns = (((reach - t) / (4 * SOFT) + 0.5).clamp(0, 1) for t in near)
        return rows.view(1, 1, -1, 1), columns.view(1, 1, 1, -1)

    (top, left), (upper, outer) = within(CORNER), within(BORDER)
    return top * left, 1 - (1 - upper) * (1 - outer)


def transplants(x: Tensor, y: Tensor, lungs_x: Tensor, lungs_y: Tensor) -> dict[str, Tensor]:
    """x with each of TRANSPLANTS taken from y: images (N, 1, H, W) in [0, 1]; x and its lungs may have N = 1.

    text: letters found in y (`metrics.text`), laid over x by the maximum, outside the lungs of both.
    """
    placed = regions(lungs_x, lungs_y)
    images = {name: x + weight * (y - x) for name, weight in placed.items()}
    letters = text(y, lungs_y) * placed["outside"]
    images["text"] = x + letters * (torch.maximum(x, y) - x)
    return images


@torch.no_grad()
def effects(
    target: Target, x: Tensor, lungs_x: Tensor, donors: Tensor, lungs_d: Tensor, only: Sequence[Key] = EFFECTS
) -> dict[Key, Tensor]:
    """p(x') - p(x) of one image x (1, 1, H, W) under each of EFFECTS (or `only` some) and each of D donors (D, 1, H, W): (D,)
    float64, on the CPU.

    Exactly 0 where nothing was changed (a donor without letters). All images are one batch.
    """
    if x.shape[0] != 1 or donors.shape[1:] != x.shape[1:]:
        raise ValueError(f"expected x (1, 1, H, W) and donors (D, 1, H, W), got {tuple(x.shape)} and {tuple(donors.shape)}")
    made = {Key("transplant", name): image for name, image in transplants(x, donors, lungs_x, lungs_d).items()}
    made |= {Key("statistic", name): image for name, image in matched(x, donors, lungs_x, lungs_d).items()}
    images = torch.cat([x, *(made[name] for name in only)])  # (1 + len(only) * D, 1, H, W)
    lungs = lungs_x.expand(len(images), -1, -1, -1) if target.uses_lungs else None
    p = target.probability(images, lungs).double().cpu()
    same = (images == x).flatten(1).all(1).cpu()
    rise = torch.where(same, 0.0, p - p[0])[1:].view(len(only), len(donors))
    return dict(zip(only, rise, strict=True))
