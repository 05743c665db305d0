"""Learning rates over the steps, and a backbone that is frozen at first: what moves when."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gan_explain.train.schedule import WARMUP, Freezing, cosine, fallen, level, linear_decay, warm


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Flatten(), nn.Linear(2, 2))


def test_the_head_alone_learns_and_then_everything() -> None:
    net = network()
    freezing = Freezing.but_head(net, "4", 2)
    net.train()
    assert freezing.apply(0)
    assert [name for name, p in net.named_parameters() if p.requires_grad] == ["4.weight", "4.bias"]
    assert not net[1].training
    assert net[2].training  # dropout stays
    before = net[1].running_mean.clone()
    net(torch.randn(4, 1, 1, 1))
    assert torch.equal(before, net[1].running_mean)
    net.train()
    assert not freezing.apply(1)
    assert not net[1].training  # train() had switched it on
    net.train()
    assert freezing.apply(2)
    assert all(p.requires_grad for p in net.parameters())
    assert net[1].training
    assert not freezing.apply(3)


def test_what_never_needed_a_gradient_never_gets_one() -> None:
    net = network()
    net[0].requires_grad_(False)
    freezing = Freezing.but_head(net, "4", 1)
    freezing.apply(0)
    freezing.apply(1)
    assert not net[0].weight.requires_grad
    assert net[1].weight.requires_grad


def test_no_frozen_steps_change_nothing() -> None:
    net = network()
    assert not Freezing.but_head(net, "4", 0).apply(0)
    assert all(p.requires_grad for p in net.parameters())
    expected = [warm(step, WARMUP) * fallen(step / 300) for step in range(300)]
    assert [cosine(step, 300) for step in range(300)] == pytest.approx(expected, rel=1e-12)


def test_the_rate_rises_again_when_the_backbone_joins() -> None:
    rates = [cosine(step, 400, freeze_steps=100) for step in range(400)]
    assert rates[:100] == pytest.approx([cosine(step, 400) for step in range(100)])
    assert rates[100] == pytest.approx(cosine(100, 400) / WARMUP)
    assert rates[100 + WARMUP :] == pytest.approx([cosine(step, 400) for step in range(100 + WARMUP, 400)])


def test_cosine_warms_up_and_comes_down() -> None:
    factors = [cosine(step, 1000, warmup=50) for step in range(1001)]
    assert factors[0] == pytest.approx(1 / 50, rel=1e-3)
    assert factors[24] == pytest.approx(0.5, abs=0.01)
    assert max(factors) == pytest.approx(1, abs=0.01)
    assert factors[500] == pytest.approx(0.51, abs=0.001)
    assert factors[1000] == pytest.approx(0.02)
    assert factors[:50] == sorted(factors[:50])
    assert factors[50:] == sorted(factors[50:], reverse=True)


def test_a_level_rate_rises_stays_and_falls() -> None:
    assert level(0, 0, 0.5) == pytest.approx(0.01)
    assert level(0.1, 200, 0.5) == level(0.5, 500, 0.5) == 1
    assert 0.02 < level(0.75, 700, 0.5) < 1
    assert level(1, 1000, 0.5) == pytest.approx(0.02)


def test_a_linear_decay_is_constant_and_then_falls_to_zero() -> None:
    assert [linear_decay(step, 8) for step in (0, 3, 4, 6, 8, 99)] == [1, 1, 1, 0.5, 0, 0]
