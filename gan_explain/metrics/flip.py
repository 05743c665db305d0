"""Validity of counterfactuals: whether the target changes its mind, and by how much.

Flip: p(x_c) is on the other side of the operating point than p(x); p >= p* is the positive side. Counterfactual validity CV(0.8):
abs(p(x) - p(x_c)) > 0.8 (Singla et al., "Explanation by Progressive Exaggeration", ICLR 2020, arXiv 1911.00483).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def flips(before: ArrayLike, after: ArrayLike, operating_point: float) -> NDArray[np.bool_]:
    """Probabilities (N,) of the inputs and of their counterfactuals -> (N,) bool; both directions count."""
    return np.asarray((np.asarray(before) >= operating_point) != (np.asarray(after) >= operating_point))


def large_changes(before: ArrayLike, after: ArrayLike, least: float = 0.8) -> NDArray[np.bool_]:
    """(N,) bool: whether p changed by more than `least`."""
    return np.asarray(np.abs(np.asarray(before) - np.asarray(after)) > least)
