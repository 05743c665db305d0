"""Opacity load, and whether it follows the severity that was planted or scored by an expert."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from gan_explain.stats import Interval, bootstrap_indices, spearman


def opacity_load(tau: Tensor, lungs: Tensor) -> Tensor:
    """sum(tau M) / sum(M): mean optical thickness over the lungs. tau and M (N, 1, H, W) -> (N,); NaN without lungs."""
    area = lungs.flatten(1).sum(1)
    load = (tau * lungs).flatten(1).sum(1)
    return torch.where(area > 0, load / area.clamp(min=1e-12), torch.nan)


def severity_agreement(
    measured: ArrayLike, planted: ArrayLike, patients: Sequence[str], *, n_boot: int = 1000, seed: int = 0
) -> Interval:
    """Spearman's rho of a measured load or strength (N,) with the severity (N,), over the samples that have both."""
    a, b = np.asarray(measured, dtype=np.float64), np.asarray(planted, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(a) & np.isfinite(b))
    if not len(known):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    a, b, who = a[known], b[known], [patients[i] for i in known.tolist()]
    return bootstrap_indices(lambda i: spearman(a[i], b[i]), who, n_boot=n_boot, seed=seed)
