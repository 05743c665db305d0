from __future__ import annotations

import numpy as np

from gan_explain.metrics.flip import flips, large_changes


def test_both_directions_flip_and_the_operating_point_itself_is_positive() -> None:
    assert flips([0.1, 0.9, 0.1, 0.6], [0.9, 0.1, 0.2, 0.7], 0.5).tolist() == [True, True, False, False]
    assert flips([0.29], [0.3], 0.3).tolist() == [True]


def test_a_constant_target_never_flips() -> None:
    assert not flips(np.full(5, 0.4), np.full(5, 0.4), 0.4).any()


def test_a_change_must_be_larger_than_the_least() -> None:
    assert large_changes([0.05, 0.95, 0.2], [0.95, 0.05, 0.9]).tolist() == [True, True, False]
