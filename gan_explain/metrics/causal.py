"""Which part of a change moves the target: the one inside the lungs or the one outside?

With M the lungs and the soft border of a layer around them, x_hat the image at strength 1 or 0 and x_c the counterfactual:
    E_in  = p(M x_c + (1 - M) x_hat) - p(x_hat)
    E_out = p((1 - M) x_c + M x_hat) - p(x_hat)
    outside share = |E_out| / (|E_in| + |E_out|),   interaction = p(x_c) - p(x_hat) - E_in - E_out
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from gan_explain.metrics.change import Change, Columns
from gan_explain.metrics.registry import PLACES, Entry, computes
from gan_explain.metrics.structure import widened
from gan_explain.metrics.transplant import OUTSIDE, REGION_NAMES, regions
from gan_explain.pixels import feather
from gan_explain.types import Target

BORDER = 1 / 16  # of the side: how far around the lungs a change still counts as one inside them
SMALLEST = 1e-6  # |E_in| + |E_out| below which there is no effect to share out


@dataclass(frozen=True)
class CausalShare:
    """All (N,) on the CPU; outside_share in [0, 1] is NaN where neither part has an effect."""

    e_in: Tensor
    e_out: Tensor
    interaction: Tensor
    outside_share: Tensor


@torch.no_grad()
def causal_share(target: Target, reference: Tensor, counterfactual: Tensor, lungs: Tensor) -> CausalShare:
    """Images and lungs (N, 1, H, W)."""
    soft = feather(widened(lungs, BORDER), reference.shape[-1] / 64)
    masks = lungs if target.uses_lungs else None

    def p(images: Tensor) -> Tensor:
        return target.probability(images, masks).double().cpu()

    change = counterfactual - reference
    start = p(reference)
    e_in, e_out = p(reference + soft * change) - start, p(reference + (1 - soft) * change) - start
    total = e_in.abs() + e_out.abs()
    share = torch.where(total > SMALLEST, e_out.abs() / total.clamp(min=SMALLEST), torch.nan)
    return CausalShare(e_in, e_out, p(counterfactual) - start - e_in - e_out, share)


@torch.no_grad()
def region_effects(
    target: Target, reference: Tensor, counterfactual: Tensor, lungs: Tensor, regions: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """E_R = p(x_hat + R (x_c - x_hat)) - p(x_hat) for weights R (N, 1, H, W) in [0, 1], by name: (N,) on the CPU."""
    masks = lungs if target.uses_lungs else None
    start = target.probability(reference, masks).double().cpu()
    change = counterfactual - reference
    return {name: target.probability(reference + r * change, masks).double().cpu() - start for name, r in regions.items()}


@computes(
    Entry("causal.e_in", "effect of the lungs alone", PLACES),
    Entry("causal.e_out", "effect of the outside alone", PLACES),
    Entry("causal.interaction", "interaction of lungs and outside", PLACES),
    Entry("causal.outside_share", "share of the effect from outside the lungs", PLACES, better="lower"),
    sides=("negative", "healed", "free"),
    quick=True,
)
def causes(change: Change) -> Columns:
    """How much of what moved the target lies inside and outside the lungs."""
    found = causal_share(change.target, change.images, change.counterfactual, change.lungs)
    return change.named({f"causal.{field.name}": getattr(found, field.name) for field in fields(found)})


@computes(Entry("causal.region", "effect of the change in one region", PLACES, of=REGION_NAMES), sides=("free",), quick=True)
def by_region(change: Change) -> Columns:
    """What of a change reaches the target through one part of the outside alone."""
    weights = regions(change.lungs, change.lungs)
    chosen = {name: weights[name] for name in OUTSIDE}
    found = region_effects(change.target, change.images, change.counterfactual, change.lungs, chosen)
    return change.named({f"causal.region[{name}]": values for name, values in found.items()})
