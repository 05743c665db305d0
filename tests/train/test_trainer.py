"""What every trainer shares: an average, models that are asked and not trained, what is frozen for a while."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gan_explain.train.trainer import Ema, Objective, frozen


def test_average_by_hand() -> None:
    network = nn.BatchNorm1d(1)
    ema = Ema(network, decay=0.9)
    with torch.no_grad():
        network.weight.fill_(2.0)
    network.num_batches_tracked.fill_(5)  # type: ignore[union-attr, operator]
    ema.update(network, step=0)  # young: the decay is 1 / 10
    assert ema.shadow["weight"].item() == pytest.approx(0.1 * 1 + 0.9 * 2)
    assert ema.shadow["num_batches_tracked"].item() == 5
    ema.update(network, step=10_000)
    assert ema.shadow["weight"].item() == pytest.approx(0.9 * 1.9 + 0.1 * 2)
    assert network.weight.item() == 2.0


def test_what_is_asked_is_not_trained() -> None:
    network, judge = nn.Linear(2, 2), nn.Linear(2, 1)
    objective = Objective(network, judge=judge)
    assert {id(p) for p in objective.parameters()} == {id(p) for p in network.parameters()}
    assert objective.asked.judge is judge


def test_what_is_frozen_thaws_and_what_was_frozen_stays() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False))
    with frozen(network):
        assert not any(p.requires_grad for p in network.parameters())
    assert [p.requires_grad for p in network.parameters()] == [True, True, False, False]
