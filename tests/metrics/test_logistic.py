"""Logistic regression: against optima that are known, what its penalty is chosen by, and as a layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax

from gan_explain.metrics.logistic import PENALTIES, Classes, balanced, fit_logistic, solutions
from gan_explain.stats import Floats, auroc


def drawn(n: int, seed: int, features: int = 6, shift: float = 1.5) -> tuple[Floats, Classes]:
    """Noise (n, features); in a third of the samples, class 1, the first feature is higher by `shift`."""
    random = np.random.default_rng(seed)
    classes = (np.arange(n) % 3 == 0).astype(np.int64)
    x = random.normal(size=(n, features)) * 5 + 20
    x[:, 0] += 5 * shift * classes
    return x, classes


@pytest.mark.parametrize("k", [2, 3])
def test_it_finds_the_optimum_of_the_weighted_penalised_loss(k: int) -> None:
    random = np.random.default_rng(k)
    x, y, weights = random.normal(size=(40, 4)), np.arange(40) % k, random.uniform(0.5, 2, 40)
    weights /= weights.mean()
    x[:, 0] += y

    def loss(flat: Floats) -> float:
        """As a softmax of k logits; for two classes only their difference w is penalised, which is |w|^2 of one of them."""
        w, b = flat[: 4 * k].reshape(k, 4), flat[4 * k :]
        size = ((w[1] - w[0]) ** 2).sum() if k == 2 else (w**2).sum()
        return float(-weights @ log_softmax(x @ w.T + b, 1)[np.arange(40), y] + 3.0 * size / 2)

    ((w, b),) = solutions(x, y, weights, [3.0])
    best = minimize(loss, np.zeros(5 * k), options={"gtol": 1e-9})
    assert loss(np.append(w.ravel(), b)) == pytest.approx(best.fun, rel=1e-6)


def test_it_finds_the_one_feature_that_tells() -> None:
    model = fit_logistic(*drawn(600, 0), *drawn(300, 1))
    assert np.abs(model.weights[1]).argmax() == 0
    x, truth = drawn(900, 2)
    p = model.probability(x)[:, 1]
    assert auroc(p, truth) == pytest.approx(0.855, abs=0.03)  # Phi(1.5 / sqrt 2)
    assert p.mean() == pytest.approx(0.42, abs=0.08)  # both classes weigh the same, so p is 1/2 half way between them


def test_noise_is_penalised_more_than_a_clear_answer() -> None:
    noise = fit_logistic(*drawn(60, 0, 40, shift=0), *drawn(60, 1, 40, shift=0))
    clear = fit_logistic(*drawn(60, 0, 40, shift=6), *drawn(60, 1, 40, shift=6))
    assert clear.penalty < noise.penalty
    assert noise.penalty >= PENALTIES[2]


def test_the_layer_takes_features_as_they_are() -> None:
    x, _ = drawn(60, 0)
    model = fit_logistic(x, np.arange(60) % 3, x, np.arange(60) % 3)
    assert model.linear()(torch.from_numpy(x).float()).detach().numpy() == pytest.approx(model.logits(x), abs=1e-4)


def test_keys_weigh_the_same_and_a_handful_less() -> None:
    keys = ["a"] * 6 + ["b"] * 2
    found = balanced(keys)
    assert found.mean() == pytest.approx(1)
    assert found[:6].sum() == pytest.approx(found[6:].sum())
    few = balanced(keys, floor=4)
    assert few[6:].sum() == pytest.approx(few[:6].sum() / 2)


def test_one_class_alone_is_refused() -> None:
    x, classes = drawn(12, 0)
    with pytest.raises(ValueError, match=r"expected images of all classes.* got \[12, 0\]"):
        fit_logistic(x, 0 * classes, x, classes)
    with pytest.raises(ValueError, match=r"two held out, got \[8, 4\] and \[0, 12\]"):
        fit_logistic(x, classes, x, 0 * classes + 1)
