from __future__ import annotations

import pytest
import torch

from gan_explain.metrics.persistence import DISTURBANCES, eight_bit, jpeg, shift


@pytest.mark.parametrize("name", DISTURBANCES)
def test_a_disturbance_keeps_shape_and_range_and_changes_little(name: str) -> None:
    ramp = torch.linspace(0, 1, 32).expand(2, 1, 32, 32).contiguous()
    out = DISTURBANCES[name](ramp)
    assert out.shape == ramp.shape
    assert out.min() >= 0
    assert out.max() <= 1
    assert (out - ramp).abs().max() < 0.1
    assert not torch.equal(out, ramp)


def test_eight_bits_are_idempotent_and_at_most_half_a_level_away() -> None:
    x = torch.rand(2, 1, 16, 16)
    once = eight_bit(x)
    assert torch.equal(eight_bit(once), once)
    assert (once - x).abs().max() <= 0.5 / 255 + 1e-6


def test_jpeg_keeps_the_order_of_a_batch() -> None:
    x = torch.tensor([0.2, 0.8]).view(2, 1, 1, 1).expand(2, 1, 16, 16)
    assert jpeg(x).mean((1, 2, 3)).tolist() == pytest.approx([0.2, 0.8], abs=0.01)


def test_a_shift_moves_to_the_right_and_repeats_the_edge() -> None:
    row = torch.arange(5.0).view(1, 1, 1, 5)
    assert shift(row).flatten().tolist() == [0, 0, 0, 1, 2]
