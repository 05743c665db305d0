"""Rendered patterns: inside the lungs, of known thickness, a patient's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_explain.metrics.opacity_probe import veils
from gan_explain.metrics.second_renderer import PATTERNS, PEAK, patterns


@pytest.fixture
def lungs() -> Tensor:
    mask = torch.zeros(40, 1, 64, 64)
    mask[..., 10:54, 8:28] = mask[..., 10:54, 36:56] = 1
    return mask


NAMES = [str(i) for i in range(40)]


def test_patterns_lie_in_the_lungs_at_the_thickness_that_was_drawn(lungs: Tensor) -> None:
    tau = patterns(lungs, NAMES)
    assert float(tau[lungs == 0].abs().max()) == 0
    peaks = tau.amax((1, 2, 3))
    assert PEAK[0] - 1e-6 <= float(peaks.min()) <= float(peaks.max()) <= PEAK[1] + 1e-6


def test_patterns_follow_the_patient_alone(lungs: Tensor) -> None:
    together, alone = patterns(lungs, NAMES), patterns(lungs[:1], ["7"])
    torch.testing.assert_close(together[7:8], alone)
    assert not torch.allclose(together[7], together[8])
    assert not torch.allclose(alone, veils(lungs[:1], ["7"]))


def test_every_pattern_is_drawn_and_edges_are_sharp_and_soft(lungs: Tensor) -> None:
    tau = patterns(lungs, NAMES)
    steepest = tau.diff(dim=-2).abs().amax((1, 2, 3)) / tau.amax((1, 2, 3))
    assert float(steepest.min()) < 0.3 < 0.5 < float(steepest.max())
    for pattern in PATTERNS:
        drawn = [pattern(lungs[0, 0].numpy() > 0.5, np.random.default_rng(seed)) for seed in range(5)]
        assert all(0 < each.max() <= 1 for each in drawn), pattern.__name__


def test_without_lungs_there_is_nothing(lungs: Tensor) -> None:
    assert float(patterns(torch.zeros_like(lungs), NAMES).abs().max()) == 0
    assert patterns(lungs[:0], []).shape == (0, 1, 64, 64)
    with pytest.raises(ValueError, match="expected a patient for each of 40"):
        patterns(lungs, ["a"])
