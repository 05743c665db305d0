"""Early stopping: which weights are kept, when it ends, and that all of it survives a resume."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gan_explain.train.early import Check, EarlyStopping


def scripted(*found: tuple[float, float]) -> Callable[[object], tuple[float, float]]:
    """A measure that gives these, one after another."""
    left = iter(found)
    return lambda weights: next(left)


def weights(value: float) -> dict[str, Tensor]:
    return {"w": torch.tensor(value)}


def test_the_best_weights_are_kept_and_patience_ends_it() -> None:
    early = EarlyStopping(scripted((0.6, 1.0), (0.8, 0.9), (0.7, 0.1), (0.8, 0.9)), patience=2)
    done = []
    for step in (10, 20, 30, 40):
        early.check(step, weights(step))
        done.append(early.done)
    assert done == [False, False, False, True]
    assert early.best == Check(20, 0.8, 0.9)
    assert early.weights["w"] == 20
    assert early.summary() == {
        "patience": 2,
        "monitor": "balanced_accuracy",
        "best": {"step": 20, "balanced_accuracy": 0.8, "loss": 0.9},
        "checks": 4,
    }


def test_among_equals_the_smaller_loss_is_better() -> None:
    early = EarlyStopping(scripted((0.8, 0.9), (0.8, 0.5), (0.8, 0.7)), patience=2)
    for step in (1, 2, 3):
        early.check(step, weights(step))
    assert early.weights["w"] == 2
    assert not early.done


def test_by_loss_alone() -> None:
    early = EarlyStopping(scripted((0.9, 0.9), (0.6, 0.5), (0.9, 0.7), (0.9, 0.6)), patience=2, monitor="loss")
    for step in (1, 2, 3, 4):
        early.check(step, weights(step))
    assert early.weights["w"] == 2
    assert early.done
    again = EarlyStopping(scripted(), patience=2, monitor="loss")
    again.restore(early.state())
    assert again.best == early.best == Check(2, 0.6, 0.5)


def test_a_copy_is_kept_that_training_cannot_change() -> None:
    early, live = EarlyStopping(scripted((0.5, 1.0)), patience=1), weights(1.0)
    early.check(1, live)
    live["w"].fill_(7.0)
    assert early.weights["w"] == 1


def test_half_and_half_is_the_whole() -> None:
    script = [(0.6, 1.0), (0.8, 0.9), (0.7, 0.1), (0.75, 0.2)]
    whole = EarlyStopping(scripted(*script), patience=2)
    first, second = EarlyStopping(scripted(*script[:3]), patience=2), EarlyStopping(scripted(*script[3:]), patience=2)
    for step in range(4):
        whole.check(step, weights(step))
        if step == 3:
            second.restore(first.state())
        (first if step < 3 else second).check(step, weights(step))
    assert second.done
    assert whole.done
    assert second.summary() == whole.summary()
    assert second.weights == whole.weights


def test_no_patience_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one check"):
        EarlyStopping(scripted(), patience=0)
