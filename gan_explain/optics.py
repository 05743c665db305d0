"""Beer-Lambert layers: how optical thickness is laid over a structure image and taken off again.

A radiograph is bright where tissue attenuates; 1 - x is the film's darkness. A layer of optical thickness tau >= 0 leaves
exp(-tau) of it: 1 - x = (1 - S) exp(-lambda tau). The signed form (free generators) also darkens: negative tau multiplies the
brightness itself by exp(-|tau|). All images are in [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor


def compose(structure: Tensor, tau: Tensor, strength: Tensor | float = 1.0) -> Tensor:
    """Lay tau over a structure at a strength lambda >= 0.

    x = S + (1 - S) (1 - exp(-lambda tau+)) - S (1 - exp(-lambda tau-)), with tau+ = max(tau, 0), tau- = max(-tau, 0);
    lambda = 0 gives S to the bit. Shapes broadcast: structure and tau (N, 1, H, W), strength a number or (N, 1, 1, 1).
    """
    thickness = strength * tau
    brighter = (1 - structure) * -torch.expm1(-thickness.clamp(min=0))
    darker = structure * -torch.expm1(-(-thickness).clamp(min=0))
    return structure + brighter - darker


def take_off(image: Tensor, tau: Tensor) -> tuple[Tensor, Tensor]:
    """Undo `compose` at strength 1 and clamp to [0, 1].

    1 - S = (1 - x) exp(tau) where tau >= 0, S = x exp(-tau) where tau < 0; where tau = 0 the image stays to the bit.
    Returns the structure (N, 1, H, W) and the share of clamped pixels (N,).
    """
    lighter = (1 - image) * torch.expm1(tau.clamp(min=0))
    darker = image * torch.expm1((-tau).clamp(min=0))
    raw = image - lighter + darker
    clamped = ((raw < 0) | (raw > 1)).float().flatten(1).mean(1)
    return raw.clamp(0, 1), clamped


def opacity(tau: Tensor, strength: float = 1.0) -> Tensor:
    """alpha = 1 - exp(-lambda |tau|) in [0, 1): the heat map people look at, signed like tau."""
    return torch.sign(tau) * -torch.expm1(-strength * tau.abs())
