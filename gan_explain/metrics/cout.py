"""COUT: does a counterfactual reach its class with few of its pixels?

Khorram & Fuxin, Cycle-Consistent Counterfactuals by Latent Transformations, CVPR 2022, arXiv 2203.15064. The pixels of x_c are
pasted into x, those of the largest normalised |x_c - x| first, in equal steps; COUT = AUC(p of the class aimed at) - AUC(p of the
class left), over the share pasted. It lies in [-1, 1], higher is better.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gan_explain.metrics.change import Change
from gan_explain.metrics.registry import AMOUNT, Entry, computes
from gan_explain.types import Target


@torch.no_grad()
def cout(
    target: Target,
    images: Tensor,
    counterfactuals: Tensor,
    towards_positive: Tensor,
    lungs: Tensor | None = None,
    steps: int = 50,
) -> Tensor:
    """Images (N, 1, H, W), towards_positive (N,) bool: whether the positive set is aimed at -> (N,), float64 on the CPU.

    The classes are the positive set and its complement, so AUC(p) - AUC(1 - p) = 2 AUC(p) - 1, and its negative the other way.
    Trapezoids over steps + 1 images; `lungs` goes to a lungs-only target.
    """
    change = (counterfactuals - images).flatten(1)  # (N, H W); the order does not depend on the normalisation
    pixels = change.shape[1]
    rank = change.abs().argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    curve = []
    for step in range(steps + 1):
        pasted = images.flatten(1) + change * (rank < round(pixels * step / steps))
        curve.append(target.probability(pasted.view_as(images), lungs if target.uses_lungs else None).double().cpu())
    area = torch.trapezoid(torch.stack(curve, 1), dx=1 / steps, dim=1)
    return torch.where(towards_positive.cpu(), 2 * area - 1, 1 - 2 * area)


@computes(
    Entry("cout", "COUT: p gained less p lost as pixels are pasted in", AMOUNT, better="higher"), sides=("negative",), dear=True
)
def pasted(change: Change) -> Tensor:
    """The positive set aimed at: 51 answers of the target an image."""
    towards = torch.ones(len(change), dtype=torch.bool)
    return cout(change.target, change.images, change.counterfactual, towards, change.lungs)
