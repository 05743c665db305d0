from __future__ import annotations

import math

import numpy as np
import pytest

from gan_explain.metrics.monotonicity import curve_shape

STRENGTHS = np.linspace(0, 1.5, 31)


def test_a_line_through_the_operating_point_is_known_in_full() -> None:
    shape = curve_shape(8 * (STRENGTHS - 0.7), STRENGTHS, 0.5)
    assert shape.rho == pytest.approx(1)
    assert shape.violation == 0
    assert shape.crosses
    assert shape.crossing == pytest.approx(0.7, abs=1e-6)
    assert shape.slope == pytest.approx(2, rel=0.02)  # dp/dz is 1/4 there


def test_rho_does_not_suffer_from_a_probability_that_saturates() -> None:
    assert curve_shape(10 + 60 * STRENGTHS, STRENGTHS, 0.5).rho == pytest.approx(1)


def test_a_curve_that_goes_up_and_half_down_again() -> None:
    z = np.concatenate([np.linspace(-3, 3, 16), np.linspace(3, 0, 16)[1:]])
    shape = curve_shape(z, STRENGTHS, 0.5)
    high, low = 1 / (1 + math.exp(-3)), 1 / (1 + math.exp(3))
    assert shape.violation == pytest.approx((high - 0.5) / (high - low + high - 0.5))


def test_the_first_of_two_crossings_counts() -> None:
    z = np.interp(STRENGTHS, [0, 0.4, 0.8, 1.2, 1.5], [-2, 2, -2, 2, 2])
    assert curve_shape(z, STRENGTHS, 0.5).crossing == pytest.approx(0.2, abs=1e-6)


def test_a_flat_curve_has_no_monotonicity_and_never_crosses() -> None:
    shape = curve_shape(np.full(31, -1.0), STRENGTHS, 0.5)
    assert math.isnan(shape.rho)
    assert math.isnan(shape.violation)
    assert not shape.crosses


def test_a_falling_curve_does_not_cross_upwards() -> None:
    shape = curve_shape(-STRENGTHS + 0.7, STRENGTHS, 0.5)
    assert shape.rho == pytest.approx(-1)
    assert shape.violation == pytest.approx(1)
    assert not shape.crosses


def test_too_few_strengths_are_refused() -> None:
    with pytest.raises(ValueError, match="21 or more"):
        curve_shape(np.arange(20), np.arange(20), 0.5)
