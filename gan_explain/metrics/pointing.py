"""Does a heat map point at a mask (a lesion, the lungs)? Both are (N, 1, H, W); each measure gives one number a map.

Pointing game: Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016, arXiv 1608.00507 (there 15 px of
tolerance on natural images, here 3). Relevance mass: Arras et al., CLEVR-XAI, arXiv 2003.07258.
"""

from __future__ import annotations

import torch
from torch import Tensor


def pointing_game(heat: Tensor, mask: Tensor, tolerance: float = 3.0) -> Tensor:
    """Whether the hottest pixel lies in the mask or within `tolerance` pixels of it -> (N,) bool. A flat map points nowhere."""
    flat = heat.flatten(1)
    height, width = heat.shape[-2:]
    hottest = flat.argmax(1)
    y, x = (hottest // width).view(-1, 1, 1), (hottest % width).view(-1, 1, 1)
    rows = torch.arange(height, device=heat.device).view(1, -1, 1)
    columns = torch.arange(width, device=heat.device).view(1, 1, -1)
    near = (rows - y) ** 2 + (columns - x) ** 2 <= tolerance**2  # (N, H, W)
    return (near & (mask[:, 0] > 0.5)).flatten(1).any(1) & (flat.amax(1) > flat.amin(1))


def iou_equal_area(heat: Tensor, mask: Tensor) -> Tensor:
    """IoU of the mask with as many of the hottest pixels as it has -> (N,); NaN for an empty mask, 0 for a flat map.

    Of pixels as hot as the last one that is taken, each counts by the chance that a random choice among them takes it."""
    scores = []
    for map_, inside in zip(heat.flatten(1), mask.flatten(1) > 0.5, strict=True):
        area = int(inside.sum())
        if not area:
            scores.append(float("nan"))
            continue
        last = map_.topk(area).values[-1]
        above, tied = map_ > last, map_ == last
        chance = (area - int(above.sum())) / int(tied.sum())
        common = int((above & inside).sum()) + chance * int((tied & inside).sum()) if bool(map_.amax() > map_.amin()) else 0.0
        scores.append(common / (2 * area - common))
    return torch.tensor(scores, device=heat.device)


def relevance_mass(heat: Tensor, mask: Tensor) -> Tensor:
    """Share of the positive heat that lies in the mask -> (N,) in [0, 1]; NaN for a map without any."""
    positive = heat.clamp(min=0)
    total = positive.flatten(1).sum(1)
    inside = (positive * (mask > 0.5)).flatten(1).sum(1)
    return torch.where(total > 0, inside / total.clamp(min=1e-30), torch.nan)
