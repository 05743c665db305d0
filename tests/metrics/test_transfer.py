from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gan_explain.metrics.inputs import positive_logit
from gan_explain.metrics.transfer import pgd, turned_positive
from gan_explain.targets import ModuleTarget, TargetConfig


class Linear(nn.Module):
    """One logit: the image's scalar product with fixed weights."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.register_buffer("weights", weights)

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.weights).sum((1, 2, 3))


def target(weights: Tensor) -> ModuleTarget:
    return ModuleTarget(Linear(weights), TargetConfig(positive=("covid",), size=weights.shape[-1], channels=1))


def test_the_logit_is_that_of_the_probability() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    three = ModuleTarget(
        network, TargetConfig(classes=("normal", "pneumonia", "covid"), positive=("covid", "pneumonia"), size=8, channels=1)
    )
    x = torch.rand(4, 1, 8, 8)
    assert positive_logit(three, x, None).sigmoid().tolist() == pytest.approx(three.probability(x).tolist(), abs=1e-6)


def test_noise_against_a_linear_target_is_its_own_weights_at_the_given_norm() -> None:
    weights = torch.randn(8, 8)
    x, norms = torch.full((2, 1, 8, 8), 0.5), torch.tensor([0.1, 0.4])
    delta = pgd(target(weights), x, None, norms) - x
    assert delta.flatten(1).norm(dim=1).tolist() == pytest.approx(norms.tolist(), rel=1e-4)
    cosine = torch.cosine_similarity(delta.flatten(1), weights.flatten()[None])
    assert cosine.tolist() == pytest.approx([1, 1], abs=1e-4)


def test_noise_stays_in_range_and_never_goes_beyond_the_norm() -> None:
    x, norms = torch.rand(3, 1, 8, 8).round(), torch.tensor([0.0, 1.0, 100.0])
    noisy = pgd(target(torch.randn(8, 8)), x, None, norms)
    assert noisy.min() >= 0
    assert noisy.max() <= 1
    assert ((noisy - x).flatten(1).norm(dim=1) <= norms * 1.0001).all()
    assert torch.equal(noisy[0], x[0])


def test_only_negative_to_positive_counts_as_turned() -> None:
    assert turned_positive([0.1, 0.9, 0.9, 0.1], [0.9, 0.9, 0.1, 0.2], 0.5).tolist() == [True, False, False, False]
