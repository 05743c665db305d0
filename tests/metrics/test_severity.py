"""Opacity load in exact cases."""

from __future__ import annotations

import math

import pytest
import torch

from gan_explain.lungs import opacity_load


def test_the_load_is_the_mean_thickness_over_the_lungs_alone() -> None:
    lungs = torch.zeros(2, 1, 4, 4)
    lungs[0, :, :2] = 1  # eight pixels; the second image has none
    tau = torch.full((2, 1, 4, 4), 0.5)
    tau[0, 0, 0, 0] = 4.5
    tau[0, 0, 3, 3] = 100
    load = opacity_load(tau, lungs)
    assert float(load[0]) == pytest.approx(1.0)
    assert math.isnan(load[1])
    assert float(opacity_load(2 * tau, lungs)[0]) == pytest.approx(2.0)
