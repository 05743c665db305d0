"""The shape of a response curve: does it rise throughout, and where does it cross the operating point?

Spearman's rho is taken of the logit, not of p, which saturates and ties. violation = sum max(0, -dr) / sum abs(dr) of r = p: the
share of all movement that goes down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
