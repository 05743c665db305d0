"""Logistic regression: against an independent reference, and what its penalty and threshold are chosen by."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import approx_fprime

from gan_explain.bench.logistic import PENALTIES, _balance, _loss, fitted
from gan_explain.stats import Floats, auroc, balanced_accuracy


def drawn(n: int, seed: int, features: int = 6, shift: float = 1.5) -> tuple[Floats, NDArray[np.bool_]]:
    """Noise (n, features); in a third of the samples, the positives, the first feature is higher by `shift`."""
    random = np.random.default_rng(seed)
    positive = np.arange(n) % 3 == 0
    x = random.normal(size=(n, features)) * 5 + 20
    x[:, 0] += 5 * shift * positive
    return x, positive


def test_the_gradient_is_that_of_the_loss() -> None:
    x, positive = drawn(30, 0)
    x = (x - x.mean(0)) / x.std(0)
    at = np.linspace(-1, 1, x.shape[1] + 1)
    given = x, positive, _balance(positive), 3.0
    numeric = approx_fprime(at, lambda w: _loss(w, *given)[0], 1e-6)
    assert _loss(at, *given)[1] == pytest.approx(numeric, rel=1e-4, abs=1e-4)


def test_it_finds_the_one_feature_that_tells() -> None:
    x, positive = drawn(600, 0)
    held, truth = drawn(300, 1)
    model = fitted(x, positive, held, truth)
    assert np.abs(model.weights).argmax() == 0
    p = model.probability(drawn(900, 2)[0])
    assert auroc(p, drawn(900, 2)[1]) == pytest.approx(0.855, abs=0.03)  # Phi(1.5 / sqrt 2)
    assert p.mean() == pytest.approx(0.42, abs=0.08)  # both classes weigh the same, so p is 1/2 half way between them
    assert balanced_accuracy(model.probability(held) >= model.threshold, truth) > 0.75


def test_noise_is_penalised_more_than_a_clear_answer() -> None:
    noise = fitted(*drawn(60, 0, 40, shift=0), *drawn(60, 1, 40, shift=0))
    clear = fitted(*drawn(60, 0, 40, shift=6), *drawn(60, 1, 40, shift=6))
    assert clear.penalty < noise.penalty
    assert noise.penalty >= PENALTIES[2]


def test_one_class_alone_is_refused() -> None:
    x, positive = drawn(12, 0)
    with pytest.raises(ValueError, match="both classes, got 0 positives among 12"):
        fitted(x, positive, x, positive & False)
