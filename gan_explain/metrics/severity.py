"""Opacity load: what is set against the severity that was planted or scored by an expert."""

from __future__ import annotations

import torch
from torch import Tensor


def opacity_load(tau: Tensor, lungs: Tensor) -> Tensor:
    """sum(tau M) / sum(M): mean optical thickness over the lungs. tau and M (N, 1, H, W) -> (N,); NaN without lungs."""
    area = lungs.flatten(1).sum(1)
    load = (tau * lungs).flatten(1).sum(1)
    return torch.where(area > 0, load / area.clamp(min=1e-12), torch.nan)
