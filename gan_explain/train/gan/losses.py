"""The adversarial terms: the non-saturating logistic loss (Goodfellow et al., NeurIPS 2014, arXiv 1406.2661), the R1 penalty
(Mescheder et al., ICML 2018, arXiv 1801.04406), the hinge (Lim & Ye, arXiv 1705.02894), and least squares (Mao et al., ICCV 2017,
arXiv 1611.04076)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pick(logits: Tensor, cells: Tensor) -> Tensor:
    """The logit of each image's own cell: (N, cells), (N,) -> (N,)."""
    return logits.gather(1, cells[:, None])[:, 0]


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Logistic; logits (N,), (M,) -> scalar."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """Logistic; logits (N,) -> scalar."""
    return F.softplus(-fake).mean()


def hinge(real: Tensor, *fakes: Tensor) -> dict[str, Tensor]:
    """Logits (N, K) of reals and of each kind of fakes -> the discriminator's two named terms; kinds of fakes count the same.
    The generator's is minus the mean of the logits."""
    false = torch.stack([F.relu(1 + fake).mean() for fake in fakes]).mean()
    return {"discriminator_real": F.relu(1 - real).mean(), "discriminator_fake": false}


def least_squares(logits: Tensor, real: bool) -> Tensor:
    """Logits of any shape -> scalar: the mean squared distance to 1 (taken for real) or 0 (for fake)."""
    return (logits - float(real)).square().mean()


def r1_penalty(real: Tensor, images: Tensor) -> Tensor:
    """Squared gradient norm of the real logits (N,) at the images (N, 1, H, W)."""
    (gradient,) = torch.autograd.grad(real.sum(), images, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()
