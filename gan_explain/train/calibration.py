"""Temperature calibration: one number that makes a target's confidence match how often it is right.

Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017, arXiv 1706.04599): logits are divided by the T of least
negative log-likelihood on held-out data. T changes no ranking of classes. Here log T is searched in [log 0.05, log 20].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from torch import Tensor

from gan_explain.stats import expected_calibration_error

HOTTEST = 20.0


@dataclass(frozen=True)
class Calibration:
    """The temperature, and negative log-likelihood and calibration error (of the called class, 15 bins) before and after."""

    temperature: float
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float
    n: int


def fit_temperature(logits: Tensor, labels: Tensor) -> Calibration:
    """Logits (N, K) and the true classes (N,) -> the temperature of least mean cross-entropy. ValueError without samples."""
    if logits.ndim != 2 or not len(logits) or labels.shape != (len(logits),) or not bool(torch.isfinite(logits).all()):
        raise ValueError(f"expected finite logits (N, K) and N labels, got {tuple(logits.shape)} and {tuple(labels.shape)}")
    wide = logits.double()

    def nll(temperature: float) -> float:
        return float(F.cross_entropy(wide / temperature, labels))

    bounds = (-math.log(HOTTEST), math.log(HOTTEST))
    found = math.exp(minimize_scalar(lambda log: nll(math.exp(log)), bounds=bounds, method="bounded").x)
    temperature = found if nll(found) < nll(1.0) else 1.0  # never worse than none
    return Calibration(
        temperature, nll(1.0), nll(temperature), top_label_error(wide, labels), top_label_error(wide / temperature, labels),
        len(logits),
    )  # fmt: skip


def top_label_error(logits: Tensor, labels: Tensor) -> float:
    """Expected calibration error of the called class: its probability against whether it is right."""
    confidence, called = logits.softmax(1).max(1)
    return expected_calibration_error(confidence.numpy(), (called == labels).numpy())
