"""Logistic regression on features: K classes, every image with its weight, the penalty chosen on images it was not fitted to.

scikit-learn solves it (Pedregosa et al., JMLR 2011, arXiv 1201.0490): the sum of the weighted cross-entropies plus
penalty |w|^2 / 2, the weights of mean 1, w without the biases. Features are standardised by those it is fitted to.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax, softmax
from torch import nn

from gan_explain.stats import Floats

PENALTIES = (1e4, 1e3, 1e2, 1e1, 1.0, 1e-1)  # strongest first
STEPS, PRECISION = 1000, 1e-6
Classes = NDArray[np.int64]


@dataclass(frozen=True)
class Logistic:
    """Logits weights . (x - mean) / scale + bias: mean and scale (F,), weights (K, F), bias (K,); of two classes
    they are opposite."""

    mean: Floats
    scale: Floats
    weights: Floats
    bias: Floats
    penalty: float = 0.0

    def logits(self, features: ArrayLike) -> Floats:
        """Features (N, F) -> (N, K)."""
        found: Floats = (np.asarray(features, dtype=np.float64) - self.mean) / self.scale @ self.weights.T + self.bias
        return found

    def probability(self, features: ArrayLike) -> Floats:
        """Features (N, F) -> p of every class (N, K)."""
        p: Floats = softmax(self.logits(features), 1)
        return p

    def linear(self) -> nn.Linear:
        """The same as a layer that takes features as they are: float32 (N, F) -> logits (N, K)."""
        weights = self.weights / self.scale
        layer = nn.Linear(weights.shape[1], weights.shape[0])
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weights))
            layer.bias.copy_(torch.from_numpy(self.bias - weights @ self.mean))
        return layer


def fit_logistic(
    features: ArrayLike,
    classes: ArrayLike,
    held: ArrayLike,
    held_classes: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    penalties: Sequence[float] = PENALTIES,
) -> Logistic:
    """Fit to features (N, F) of classes (N,) in 0 to K - 1, each with its weight (N,), by default so that classes weigh the same.

    The penalty is that of least loss on the features held out (M, F), (M,), whose classes weigh the same. ValueError unless all
    K classes are among the N and two of them among the M.
    """
    x, y = np.asarray(features, dtype=np.float64), np.asarray(classes)
    z, t = np.asarray(held, dtype=np.float64), np.asarray(held_classes)
    count = int(max(y.max(initial=0), t.max(initial=0))) + 1
    came = [np.bincount(each, minlength=count).tolist() for each in (y, t)]
    if count < 2 or 0 in came[0] or sum(n > 0 for n in came[1]) < 2:
        raise ValueError(f"expected images of all classes, and of two held out, got {came[0]} and {came[1]}")
    mean, scale = x.mean(0), x.std(0).clip(min=1e-6)
    found = solutions((x - mean) / scale, y, balanced(y) if weights is None else np.asarray(weights), penalties)
    models = [Logistic(mean, scale, *each, penalty) for each, penalty in zip(found, penalties, strict=True)]
    return min(models, key=lambda model: _loss(model, z, t))


def balanced(keys: Sequence[object] | NDArray[np.generic], floor: int = 1) -> Floats:
    """Weights (N,) of mean 1 that give all images of one key together the same; less, in proportion, to fewer than `floor`."""
    _, which, counts = np.unique(np.asarray(keys), return_inverse=True, return_counts=True)
    share = np.minimum(counts / floor, 1.0) / counts
    weights: Floats = share[which] / share[which].mean()
    return weights


def solutions(
    x: Floats, classes: Classes, weights: ArrayLike, penalties: Sequence[float], *, intercept: bool = True
) -> list[tuple[Floats, Floats]]:
    """Weights (K, F) and bias (K,) at each penalty on standardised features (N, F); each starts from the one before."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    solver = LogisticRegression(fit_intercept=intercept, tol=PRECISION, max_iter=STEPS, warm_start=True)
    sums = np.asarray(weights, dtype=np.float64)
    found = []
    for penalty in penalties:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a penalty so weak is one of several that are tried
            solver.set_params(C=1 / penalty).fit(x, classes, sums / sums.mean())
        w, b = solver.coef_, np.broadcast_to(solver.intercept_, len(solver.coef_))
        if len(w) == 1:  # of two classes the second's logit less the first's
            w, b = np.concatenate([-w, w]) / 2, np.concatenate([-b, b]) / 2
        found.append((w.copy(), b.copy()))
    return found


def _loss(model: Logistic, features: Floats, classes: Classes) -> float:
    """Mean over the classes that are there of the mean -log p of the truth."""
    loss = -log_softmax(model.logits(features), 1)[np.arange(len(classes)), classes]
    return float(balanced(classes) @ loss / len(classes))
