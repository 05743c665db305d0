"""Deletion and insertion: does the answer go soon when a map's hottest pixels are taken away, and come soon when they are put in?

Petsiuk, Das & Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018, arXiv 1806.07421. Pixels
are replaced by those of a baseline image, the hottest first (deletion, less is better), or put back into it (insertion, more is
better), in equal steps; the measure is the area under the probability of the positive set over the share of pixels. Differs: one
baseline, which the caller names, serves both (there zeros and a blurred image), and pixels of equal heat go in a random order.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gan_explain.types import Target


def ranks(heat: Tensor, seeds: Sequence[int]) -> Tensor:
    """The place of every pixel when a map's are ordered, 0 the hottest: heat (N, 1, H, W) -> (N, H W) of int64.

    Signed maps count as they are. Ties are broken in an order drawn by the image's seed (N,), so that a flat map, or a flat part
    of one, is a random order and not the order of the rows.
    """
    placed = []
    for values, seed in zip(heat.detach().cpu().flatten(1), seeds, strict=True):
        shuffled = torch.randperm(len(values), generator=torch.Generator().manual_seed(seed))
        order = shuffled[values[shuffled].argsort(descending=True, stable=True)]
        placed.append(torch.empty_like(order).scatter_(0, order, torch.arange(len(order))))
    return torch.stack(placed).to(heat.device)


def deletion_auc(
    target: Target, images: Tensor, rank: Tensor, baseline: Tensor, lungs: Tensor | None = None, steps: int = 50
) -> Tensor:
    """Area under p as images (N, 1, H, W) become the baseline, in the order of `rank` (N, H W) -> (N,), float64 on the CPU."""
    return _area(target, images, baseline, rank, lungs, steps)


def insertion_auc(
    target: Target, images: Tensor, rank: Tensor, baseline: Tensor, lungs: Tensor | None = None, steps: int = 50
) -> Tensor:
    """Area under p as the baseline (N, 1, H, W) becomes the images, in the order of `rank` -> (N,), float64 on the CPU."""
    return _area(target, baseline, images, rank, lungs, steps)


@torch.no_grad()
def _area(target: Target, before: Tensor, after: Tensor, rank: Tensor, lungs: Tensor | None, steps: int) -> Tensor:
    """Trapezoids over steps + 1 images; `lungs`, the mask of the input, goes to a lungs-only target throughout."""
    pixels, curve = rank.shape[1], []
    for step in range(steps + 1):
        changed = (rank < round(pixels * step / steps)).view_as(before)
        mixed = torch.where(changed, after, before)
        curve.append(target.probability(mixed, lungs if target.uses_lungs else None).double().cpu())
    return torch.trapezoid(torch.stack(curve, 1), dx=1 / steps, dim=1)
