"""The shape of a response curve: does it rise throughout, and where does it cross the operating point?

Spearman's rho is taken of the logit, not of p, which saturates and ties. violation = sum max(0, -dr) / sum abs(dr) of r = p: the
share of all movement that goes down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from gan_explain.metrics.change import Change, Columns
from gan_explain.metrics.registry import RESPONSE, Entry, computes
from gan_explain.stats import spearman, violation_mass

FEWEST = 21  # strengths that a curve must have
FLAT = 1e-6  # range of a logit below which it did not move: rounding of float32


@dataclass(frozen=True)
class CurveShape:
    """rho in [-1, 1]; violation in [0, 1]; both NaN for a curve that does not move. crossing (lambda*) and slope (dp / dlambda
    there) are NaN for a curve that never crosses upwards."""

    rho: float
    violation: float
    crossing: float
    slope: float

    @property
    def crosses(self) -> bool:
        return not math.isnan(self.crossing)


def curve_shape(logits: ArrayLike, strengths: ArrayLike, operating_point: float) -> CurveShape:
    """Logits (L,) of the positive set at increasing strengths (L,), at least 21. ValueError for fewer or other shapes."""
    z, s = np.asarray(logits, dtype=np.float64), np.asarray(strengths, dtype=np.float64)
    if z.ndim != 1 or z.shape != s.shape or len(z) < FEWEST:
        raise ValueError(f"expected {FEWEST} or more logits (L,) and as many strengths, got {z.shape} and {s.shape}")
    p = 1 / (1 + np.exp(-z.clip(-60, 60)))
    crossing, slope = _crossing(p, s, operating_point)
    if np.ptp(z) < FLAT:
        return CurveShape(math.nan, math.nan, crossing, slope)
    return CurveShape(float(spearman(z, s)), float(violation_mass(p)), crossing, slope)


def _crossing(p: NDArray[np.float64], strengths: NDArray[np.float64], operating_point: float) -> tuple[float, float]:
    above = p >= operating_point
    rises = np.flatnonzero(~above[:-1] & above[1:])
    if not len(rises):
        return math.nan, math.nan
    i = int(rises[0])
    slope = float((p[i + 1] - p[i]) / (strengths[i + 1] - strengths[i]))
    return float(strengths[i] + (operating_point - p[i]) / slope), slope


@computes(
    Entry("monotonicity.rho", "Spearman ρ of the logit along λ", RESPONSE, "median", better="higher"),
    Entry("monotonicity.violation", "share of the movement of p that falls", RESPONSE, better="lower"),
    Entry("monotonicity.never_crosses", "images that never cross p*", RESPONSE, better="lower"),
    Entry("crossing.lambda", "λ* at which p passes p*", RESPONSE, "median"),
    Entry("crossing.slope", "slope of p at λ*", RESPONSE, "median", unit="per λ"),
    sides=("negative", "free"),
    quick=True,
)
def shape_of_curves(change: Change) -> Columns:
    """The shape of each sample's response curve."""
    point = change.target.operating_point
    shapes = [curve_shape(each.numpy(), change.settings.strengths, point) for each in change.logits]
    found = {
        "monotonicity.rho": torch.tensor([s.rho for s in shapes]),
        "monotonicity.violation": torch.tensor([s.violation for s in shapes]),
        "monotonicity.never_crosses": torch.tensor([not s.crosses for s in shapes]),
        "crossing.lambda": torch.tensor([s.crossing for s in shapes]),
        "crossing.slope": torch.tensor([s.slope for s in shapes]),
    }
    return change.named(found)
