"""Whether the anatomy stays: the lungs that a segmenter finds before and after."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from gan_explain.metrics.change import Change, Columns
from gan_explain.metrics.registry import AMOUNT, Entry, computes


def dice(a: Tensor, b: Tensor) -> Tensor:
    """Dice of masks (N, 1, H, W) in {0, 1} -> (N,); 1 for two empty ones."""
    a, b = a.flatten(1), b.flatten(1)
    total = a.sum(1) + b.sum(1)
    return torch.where(total > 0, 2 * (a * b).sum(1) / total.clamp(min=1), torch.ones_like(total))


def thoracic_width(lungs: Tensor) -> Tensor:
    """Columns from the outer border of one lung to that of the other, as a share of the image: (N, 1, H, W) -> (N,)."""
    columns = lungs.amax((1, 2)) > 0.5  # (N, W)
    place = torch.arange(columns.shape[1], device=lungs.device).expand_as(columns)
    right = torch.where(columns, place, -1).amax(1)
    left = torch.where(columns, place, columns.shape[1]).amin(1)
    return (right - left + 1).clamp(min=0).to(lungs.dtype) / columns.shape[1]


def structure(before: Tensor, after: Tensor) -> dict[str, Tensor]:
    """Lung masks (N, 1, H, W) found before and after -> "dice", and the relative drifts "area_drift" and "width_drift", (N,);
    drifts are NaN where no lungs were found before."""
    return {
        "dice": dice(before, after),
        "area_drift": _drift(before.flatten(1).mean(1), after.flatten(1).mean(1)),
        "width_drift": _drift(thoracic_width(before), thoracic_width(after)),
    }


def _drift(before: Tensor, after: Tensor) -> Tensor:
    return torch.where(before > 0, (after - before).abs() / before.clamp(min=1e-12), torch.nan)


def widened(lungs: Tensor, share: float) -> Tensor:
    """Masks (N, 1, H, W) in {0, 1} with all that lies within `share` of the side around them."""
    reach = max(1, round(share * lungs.shape[-1]))
    return max_pool2d(lungs, 2 * reach + 1, stride=1, padding=reach)


@computes(
    Entry("structure.dice", "Dice of the lungs found before and after", AMOUNT, better="higher"),
    Entry("structure.area_drift", "relative change of the lungs' area", AMOUNT, better="lower"),
    Entry("structure.width_drift", "relative change of the lungs' width", AMOUNT, better="lower"),
)
def anatomy(change: Change) -> Columns:
    """The lungs found before and after."""
    after = change.models.segmenter(change.counterfactual)
    return change.named({f"structure.{name}": values for name, values in structure(change.lungs, after).items()})
