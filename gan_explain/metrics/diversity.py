"""Variety: do different codes give one patient different layers, and where do the layers of many patients lie?"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_explain.metrics.change import Change
from gan_explain.metrics.inputs import seed_of
from gan_explain.metrics.registry import AMOUNT, Entry, computes, register
from gan_explain.optics import opacity

register(
    Entry(
        "diversity.placement",
        "how widely layers are spread over the lungs",
        AMOUNT,
        of={"added": "laid on", "removed": "taken off"},
    )
)


def layer_diversity(tau: Tensor, lungs: Tensor, share: float = 0.1) -> float:
    """Mean over pairs of 1 - IoU of the densest `share` of the lung area: tau (K, 1, H, W), lungs (1, 1, H, W) -> [0, 1].

    0: all codes put their opacities in one place; 1: no two of them touch. NaN for fewer than two layers or without lungs.
    """
    inside = lungs.flatten() > 0.5
    area, count = int(inside.sum()), len(tau)
    if count < 2 or not area:
        return math.nan
    alpha = opacity(tau).abs().flatten(1)[:, inside]  # (K, area)
    kept = max(1, round(share * area))
    top = torch.zeros_like(alpha).scatter_(1, alpha.topk(kept, dim=1).indices, 1)
    common = top @ top.T  # (K, K)
    iou = common / (2 * kept - common)
    first, second = torch.triu_indices(count, count, 1)
    return float((1 - iou[first, second]).mean())


def registered(maps: Tensor, lungs: Tensor, size: int = 32) -> Tensor:
    """Maps (N, 1, H, W), each cut to the bounding box of its lungs and resampled: (N, 1, size, size). Without lungs: zeros."""
    cut = []
    for map_, mask in zip(maps, lungs[:, 0] > 0.5, strict=True):
        rows, columns = torch.nonzero(mask.any(1)).flatten(), torch.nonzero(mask.any(0)).flatten()
        if not len(rows):
            cut.append(maps.new_zeros(1, 1, size, size))
            continue
        box = map_[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        cut.append(F.interpolate(box[None], (size, size), mode="bilinear", antialias=True, align_corners=False))
    return torch.cat(cut)


def placement_entropy(tau: Tensor, lungs: Tensor, size: int = 32) -> float:
    """Entropy of the mean alpha over patients, within lungs registered by bounding box: tau and lungs (N, 1, H, W) -> [0, 1].

    H = -sum q log q / log(cells), q the mean alpha in the cells that are lung in most patients, scaled to sum 1. 1: spread over
    the whole lungs; low: always the same spot. To be read beside that of healed positives. NaN without alpha or lungs.
    """
    mean = registered(opacity(tau).abs() * lungs, lungs, size).mean(0).flatten()
    cells = registered(lungs, lungs, size).mean(0).flatten() > 0.5
    q = mean[cells].double()
    if len(q) < 2 or not bool(q.sum() > 0):
        return math.nan
    q = q / q.sum()
    return float(-torch.xlogy(q, q).sum() / math.log(len(q)))


@computes(
    Entry("diversity.layers", "how unlike each other layers drawn for one patient are", AMOUNT), sides=("negative",), dear=True
)
@torch.no_grad()
def variety(change: Change) -> Tensor:
    """How unlike each other the layers of many codes in the same lungs are."""
    values, generator, settings = [], change.models.drawing, change.settings
    for i, patient in enumerate(change.part.patients):
        random = torch.Generator().manual_seed(seed_of(f"{patient} diversity", settings.seed))
        many = generator.prior(settings.codes, random, settings.label).to(change.models.device)
        lungs = change.lungs[i : i + 1]
        values.append(layer_diversity(generator.layer(many, lungs.expand(settings.codes, -1, -1, -1)), lungs))
    return torch.tensor(values)
