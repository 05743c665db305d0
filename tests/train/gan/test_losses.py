"""The adversarial terms by hand."""

from __future__ import annotations

import math

import pytest
import torch

from gan_explain.train.gan.losses import discriminator_loss, generator_loss, pick, r1_penalty

SOFTPLUS = math.log(1 + math.exp(-2))  # of -2


def test_each_image_is_judged_in_its_own_cell() -> None:
    logits = torch.arange(6.0).view(2, 3)
    assert pick(logits, torch.tensor([2, 0])).tolist() == [2.0, 3.0]


def test_losses_of_a_discriminator_that_is_right() -> None:
    real, fake = torch.full((3,), 2.0), torch.full((5,), -2.0)
    assert discriminator_loss(real, fake).item() == pytest.approx(2 * SOFTPLUS, abs=1e-6)
    assert generator_loss(-fake).item() == pytest.approx(SOFTPLUS, abs=1e-6)
    assert discriminator_loss(torch.zeros(1), torch.zeros(1)).item() == pytest.approx(2 * math.log(2), abs=1e-6)


def test_r1_of_a_linear_judge_is_its_squared_slope() -> None:
    slope = torch.rand(1, 1, 4, 4, requires_grad=True)
    images = torch.rand(3, 1, 4, 4, requires_grad=True)
    penalty = r1_penalty((slope * images).sum((1, 2, 3)), images)
    torch.testing.assert_close(penalty, slope.square().sum())
    penalty.backward()
    torch.testing.assert_close(slope.grad, 2 * slope.detach())
