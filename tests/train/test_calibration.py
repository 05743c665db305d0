"""Temperature calibration: it finds a temperature that is known, and never makes the likelihood worse."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gan_explain.train.calibration import fit_temperature, top_label_error


def drawn(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits (n, 3) and labels drawn from their softmax: calibrated by construction."""
    random = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, 3, generator=random)
    return logits, torch.multinomial(logits.softmax(1), 1, generator=random).flatten()


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_a_known_temperature_is_found(temperature: float) -> None:
    logits, labels = drawn(20_000)
    found = fit_temperature(temperature * logits, labels)
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    assert found.nll_after <= found.nll_before
    assert found.ece_after < 0.015
    assert (found.ece_before > 0.05) == (temperature != 1.0)
    assert found.n == 20_000


def test_what_is_always_right_is_held_in_bounds() -> None:
    logits = torch.eye(3).repeat(4, 1)
    found = fit_temperature(logits, torch.arange(3).repeat(4))
    assert 0.05 <= found.temperature < 0.06
    assert found.nll_after < found.nll_before


def test_calibration_error_of_the_called_class_by_hand() -> None:
    """Four images called with p = 0.8, three of them rightly: the gap is 0.05."""
    logits = torch.tensor([[0.8, 0.2]]).log().repeat(4, 1)
    assert top_label_error(logits, torch.tensor([0, 0, 0, 1])) == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize(("logits", "labels"), [(torch.zeros(0, 2), torch.zeros(0)), (torch.zeros(2, 2), torch.zeros(3))])
def test_what_does_not_fit_is_refused(logits: Tensor, labels: Tensor) -> None:
    with pytest.raises(ValueError, match="expected finite logits"):
        fit_temperature(logits, labels.long())


def test_logits_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="expected finite logits"):
        fit_temperature(torch.tensor([[float("nan"), 0.0]]), torch.tensor([0]))
