"""The adversarial terms: the non-saturating logistic loss (Goodfellow et al., NeurIPS 2014, arXiv 1406.2661), the R1 penalty
(Mescheder et al., ICML 2018, arXiv 1801.04406), and least squares (Mao et al., ICCV 2017, arXiv 1611.04076)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pick(logits: Tensor, cells: Tensor) -> Tensor:
    """The logit of each image's own cell: (N, cells), (N,) -> (N,)."""
    return logits.gather(1, cells[:, None])[:, 0]


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Logits (N,), (M,) -> scalar."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """Logits (N,) -> scalar."""
    return F.softplus(-fake).mean()


def r1_penalty(real: Tensor, images: Tensor) -> Tensor:
    """Squared gradient norm of the real logits (N,) at the images (N, 1, H, W)."""
    (gradient,) = torch.autograd.grad(real.sum(), images, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


def least_squares(logits: Tensor, real: bool) -> Tensor:
    """Logits of any shape -> scalar: the mean squared distance to 1 (taken for real) or 0 (for fake)."""
    return (logits - float(real)).square().mean()
