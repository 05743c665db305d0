"""Every cell equally often, small ones less, and the same draws after a restore."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from gan_explain.train.sampling import BalancedSampler
from gan_explain.types import DataError

KEYS = ["a"] * 90 + ["b"] * 9 + ["c"]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shares(sampler: BalancedSampler, n: int = 6000) -> dict[str, float]:
    return {key: count / n for key, count in Counter(KEYS[i] for i in sampler.draw(n)).items()}


def test_cells_are_drawn_equally_often_whatever_their_size() -> None:
    for share in shares(BalancedSampler(KEYS, seeded(0))).values():
        assert share == pytest.approx(1 / 3, abs=0.02)


def test_cells_below_the_floor_are_drawn_in_proportion() -> None:
    found = shares(BalancedSampler(KEYS, seeded(0), floor=45))
    total = 1 + 9 / 45 + 1 / 45
    assert found == pytest.approx({"a": 1 / total, "b": 0.2 / total, "c": 1 / 45 / total}, abs=0.02)


def test_cells_are_drawn_as_often_as_is_said() -> None:
    found = shares(BalancedSampler(KEYS, seeded(0), shares={"a": 0.5, "b": 0.375, "c": 0.125}))
    assert found == pytest.approx({"a": 0.5, "b": 0.375, "c": 0.125}, abs=0.02)


def test_members_of_a_cell_are_drawn_equally_often() -> None:
    counts = Counter(BalancedSampler(["a"] * 10, seeded(0)).draw(5000))
    assert sorted(counts) == list(range(10))
    assert min(counts.values()) > 400


def test_state_goes_on_where_it_was() -> None:
    sampler, other = BalancedSampler(KEYS, seeded(0)), BalancedSampler(KEYS, seeded(1))
    sampler.draw(17)
    other.generator.set_state(sampler.generator.get_state())
    assert sampler.draw(50) == other.draw(50)
    assert BalancedSampler(KEYS, seeded(0)).draw(50) != BalancedSampler(KEYS, seeded(1)).draw(50)


def test_nothing_to_draw_from() -> None:
    with pytest.raises(DataError, match="at least one training image"):
        BalancedSampler([], seeded(0))
