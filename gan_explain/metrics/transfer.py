"""Transfer: do independently trained networks see what moved the target? Noise made against one network does not transfer.

The null is projected gradient descent (Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018,
arXiv 1706.06083), here in L2 with normalised gradient steps, at the very norm that each counterfactual has.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gan_explain.metrics.change import Change, Columns
from gan_explain.metrics.inputs import ask, positive_logit
from gan_explain.metrics.registry import BELIEF, Entry, Key, computes
from gan_explain.targets import masks_for
from gan_explain.types import Target


def turned_positive(before: ArrayLike, after: ArrayLike, operating_point: float) -> NDArray[np.bool_]:
    """(N,) bool: negative before and positive after, under a judge's own operating point."""
    return np.asarray((np.asarray(before) < operating_point) & (np.asarray(after) >= operating_point))


def pgd(target: Target, images: Tensor, lungs: Tensor | None, norms: Tensor, steps: int = 20) -> Tensor:
    """Images (N, 1, H, W) in [0, 1] at L2 distance `norms` (N,) that raise the target's positive logit.

    A step is 2.5 norm / steps along the normalised gradient, projected onto the ball and onto [0, 1]; the end is stretched back
    to the full norm as far as [0, 1] lets it. Needs a differentiable target.
    """
    norms = norms.view(-1, 1, 1, 1)
    delta = torch.zeros_like(images)
    for _ in range(steps):
        leaf = (images + delta).detach().requires_grad_(True)
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(positive_logit(target, leaf, lungs).sum(), leaf)
        delta = delta + 2.5 * norms / steps * gradient / _length(gradient)
        delta = delta * (norms / _length(delta)).clamp(max=1)
        delta = (images + delta).clamp(0, 1) - images
    for _ in range(5):
        delta = (images + delta * norms / _length(delta)).clamp(0, 1) - images
    delta = delta * (norms / _length(delta)).clamp(max=1)
    return (images + delta).clamp(0, 1)


def _length(x: Tensor) -> Tensor:
    length: Tensor = x.flatten(1).norm(dim=1)
    return length.clamp(min=1e-12).view(-1, 1, 1, 1)


@computes(
    Entry("transfer", "flips that another CNN shares", BELIEF, better="higher"),
    Entry("pgd.flip", "flips by adversarial noise of equal norm", BELIEF),
    sides=("negative",),
)
def transfer(change: Change) -> Columns:
    """Turned positive under a judge's own operating point; .rises: whether the judge's p rises; beside it the turns by noise
    against the target at equal L2, and the difference; .agreed: over those that the judge, too, calls negative."""
    if not change.models.judges:
        return {}
    columns: Columns = {}
    noise = None
    if change.target.differentiable:
        norms = (change.counterfactual - change.images).flatten(1).norm(dim=1)
        noise = pgd(change.target, change.images, masks_for(change.target, change.lungs), norms)
        fooled = ask(change.target, noise, change.lungs)
        columns["pgd.flip"] = torch.from_numpy(turned_positive(change.p, fooled, change.target.operating_point))
    for name, judge in change.models.judges.items():
        before, point = ask(judge, change.images, change.lungs), judge.operating_point
        after = ask(judge, change.counterfactual, change.lungs)
        turned = torch.from_numpy(turned_positive(before, after, point)).float()
        found = {"": turned, "rises": after > before, "agreed": torch.where(before < point, turned, torch.nan)}
        if noise is not None:
            found["pgd"] = torch.from_numpy(turned_positive(before, ask(judge, noise, change.lungs), point)).float()
            found["minus_pgd"] = turned - found["pgd"]
        columns |= {str(Key("transfer", name, variant)): values for variant, values in found.items()}
    return columns
