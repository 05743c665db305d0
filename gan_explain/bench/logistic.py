"""Logistic regression on features: its penalty and its threshold are chosen on images that it was not fitted to.

Both classes weigh the same, however many images they have. Features are standardised by those it is fitted to.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from gan_explain.stats import Floats, best_operating_point

PENALTIES = (1e4, 1e3, 1e2, 1e1, 1.0, 1e-1)  # on |w|^2 / 2, beside the sum of the losses of all images; strongest first
STEPS = 500
Truth = NDArray[np.bool_]


@dataclass(frozen=True)
class Logistic:
    """p = sigmoid(w . (x - mean) / scale + bias), mean, scale and w (F,); positive from `threshold` on; `penalty` on |w|^2."""

    mean: Floats
    scale: Floats
    weights: Floats
    bias: float
    threshold: float = 0.5
    penalty: float = 0.0

    def probability(self, features: Floats) -> Floats:
        """Features (N, F) -> p of the positive class (N,)."""
        p: Floats = expit((features - self.mean) / self.scale @ self.weights + self.bias)
        return p


def fitted(features: Floats, positive: Truth, held: Floats, held_positive: Truth) -> Logistic:
    """Fitted to features (N, F) and truth (N,). On those held out (M, F), (M,): the penalty of least loss, and the threshold of
    best balanced accuracy. ValueError unless both sets have both classes."""
    for truth in (positive, held_positive):
        if truth.all() or not truth.any():
            raise ValueError(f"expected both classes, got {int(truth.sum())} positives among {len(truth)}")
    mean, scale = features.mean(0), features.std(0).clip(min=1e-6)
    x, weight = (features - mean) / scale, _balance(positive)
    found: list[tuple[float, Logistic]] = []
    start = np.zeros(x.shape[1] + 1)
    for penalty in PENALTIES:
        start = minimize(
            _loss, start, args=(x, positive, weight, penalty), jac=True, method="L-BFGS-B", options={"maxiter": STEPS}
        ).x
        model = Logistic(mean, scale, start[:-1], float(start[-1]), penalty=penalty)
        found.append((_cross_entropy(model.probability(held), held_positive), model))
    best = min(found, key=lambda each: each[0])[1]
    threshold = best_operating_point(best.probability(held), held_positive)
    return Logistic(mean, scale, best.weights, best.bias, threshold, best.penalty)


def _balance(positive: Truth) -> Floats:
    """Weights (N,) of mean 1 that give both classes the same sum."""
    share = positive.mean()
    weights: Floats = np.where(positive, 0.5 / share, 0.5 / (1 - share))
    return weights


def _loss(parameters: Floats, x: Floats, positive: Truth, weight: Floats, penalty: float) -> tuple[float, Floats]:
    """Cross-entropy, weighted and summed, and penalty |w|^2 / 2, with their gradient; parameters: w and the bias (F + 1,)."""
    w, z = parameters[:-1], x @ parameters[:-1] + parameters[-1]
    error = weight * (expit(z) - positive)
    loss = float(weight @ np.logaddexp(0, np.where(positive, -z, z)) + penalty * (w @ w) / 2)
    return loss, np.append(error @ x + penalty * w, error.sum())


def _cross_entropy(p: Floats, positive: Truth) -> float:
    """Mean over both classes of the mean -log p of the truth."""
    return float(_balance(positive) @ -np.log(np.where(positive, p, 1 - p).clip(min=1e-12)) / len(p))
