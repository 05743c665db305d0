"""Which synthetic images are kept: a stated rule, and a check against near copies of real ones.

The rule, all of it measured on the 8-bit image that is written:
- the judge (a target that may have seen the training split only) calls it positive, p >= p*; left out without a judge
- the lungs found in it and in its source overlap, Dice >= 0.9: the anatomy stayed
- it differs from its source by at least 0.005 in the mean: doing nothing is no translation
- its contrast is that of a radiograph: standard deviation between half and twice the smallest and largest of the real positives

A near copy lies closer to a real positive of the training split, or to a synthetic image kept before, than half of the distance
at which real positives of different patients have their nearest neighbour (the 5th percentile of it): memorised or drawn twice.
Distances are those of images at 32 px, standardised, so that gamma and gain do not hide a copy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_explain.metrics.structure import dice
from gan_explain.pixels import resize
from gan_explain.types import Segmenter, Target

SIDE, QUANTILE, SHARE = 32, 0.05, 0.5


@dataclass(frozen=True)
class Rule:
    """What a synthetic image must pass. `contrast`: allowed range of its standard deviation; `judge` None leaves p out."""

    judge: Target | None
    segmenter: Segmenter
    contrast: tuple[float, float]
    least_dice: float = 0.9
    least_change: float = 0.005

    @torch.no_grad()
    def faults(self, images: Tensor, sources: Tensor, lungs: Tensor) -> list[str]:
        """images, their sources and the sources' lungs (N, 1, H, W) -> for each the first thing that is wrong, "" for nothing."""
        overlap = dice(self.segmenter(images).to(lungs), lungs)
        change = (images - sources).abs().mean((1, 2, 3))
        spread = images.std((1, 2, 3))
        p = torch.ones(len(images))
        if self.judge is not None:
            p = self.judge.probability(images, lungs if self.judge.uses_lungs else None).float().cpu()
        point = 0.0 if self.judge is None else self.judge.operating_point
        found = []
        for i in range(len(images)):
            if not self.contrast[0] <= float(spread[i]) <= self.contrast[1]:
                found.append("contrast")
            elif float(change[i]) < self.least_change:
                found.append("unchanged")
            elif float(overlap[i]) < self.least_dice:
                found.append("anatomy")
            else:
                found.append("" if float(p[i]) >= point else "not_positive")
        return found


def contrast_of(positives: Tensor) -> tuple[float, float]:
    """Half the smallest and twice the largest standard deviation of real positives (N, 1, H, W)."""
    spread = positives.std((1, 2, 3))
    return 0.5 * float(spread.min()), 2 * float(spread.max())


def signature(images: Tensor) -> Tensor:
    """(N, 1, H, W) -> (N, 1024): at 32 px, zero mean, unit length; the distance of two is sqrt(2 - 2 correlation)."""
    flat = resize(images, SIDE).flatten(1)
    centred = flat - flat.mean(1, keepdim=True)
    unit: Tensor = centred / centred.norm(dim=1, keepdim=True).clamp(min=1e-6)
    return unit


class Duplicates:
    """Remembers real positives and what was kept; `threshold` is the distance below which an image is a near copy.

    With fewer than two patients there is no distance between patients to go by: the threshold is then 0.1.
    """

    def __init__(self, positives: Tensor, patients: Sequence[str]) -> None:
        real = signature(positives)
        distance = torch.cdist(real, real)
        same = torch.tensor([[a == b for b in patients] for a in patients], dtype=torch.bool)
        nearest = distance.masked_fill(same.to(distance.device), torch.inf).amin(1)
        nearest = nearest[nearest.isfinite()]
        self.threshold = SHARE * float(nearest.quantile(QUANTILE)) if len(nearest) else 0.1
        self.real, self.kept = real, real[:0]

    def __call__(self, image: Tensor) -> str:
        """(1, 1, H, W) -> "copy_of_real", "copy_of_synthetic", or "" (it is then remembered)."""
        own = signature(image)
        if float(torch.cdist(own, self.real).min()) < self.threshold:
            return "copy_of_real"
        if len(self.kept) and float(torch.cdist(own, self.kept).min()) < self.threshold:
            return "copy_of_synthetic"
        self.kept = torch.cat([self.kept, own])
        return ""


def tally(faults: Sequence[str]) -> dict[str, int]:
    """How often each fault came, by name."""
    return dict(sorted(Counter(fault for fault in faults if fault).items()))
