"""Statistics against pair counts, known means and exact small cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as reference

from gan_explain.stats import (
    auroc,
    balanced_accuracy,
    best_operating_point,
    bootstrap_indices,
    expected_calibration_error,
    paired_bootstrap,
    patient_bootstrap,
    permutation_test,
    spearman,
    violation_mass,
)


def clustered(patients: int, seed: int, each: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Values of mean 0 whose patients differ (sd 1) far more than the images of one (sd 0.1)."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(patients), each)
    return rng.normal(size=patients)[who] + 0.1 * rng.normal(size=len(who)), who


def test_the_interval_covers_a_known_mean_as_often_as_it_says() -> None:
    intervals = [patient_bootstrap(*clustered(40, seed), n_boot=300, seed=seed) for seed in range(200)]
    assert 0.88 <= np.mean([i.low <= 0 <= i.high for i in intervals]) <= 0.99


def test_taking_images_for_patients_would_be_too_sure() -> None:
    values, who = clustered(40, 0)
    honest, naive = patient_bootstrap(values, who), patient_bootstrap(values, np.arange(len(values)))
    assert honest.value == naive.value == pytest.approx(values.mean())
    assert honest.high - honest.low > 1.5 * (naive.high - naive.low)


def test_more_patients_make_it_narrower() -> None:
    widths = [(i.high - i.low) for i in (patient_bootstrap(*clustered(n, 1)) for n in (20, 80, 320))]
    assert widths[0] > widths[1] > widths[2]


def test_the_vectorised_mean_agrees_with_resampled_indices() -> None:
    values, who = clustered(60, 2)
    fast = patient_bootstrap(values, who, n_boot=4000)
    slow = bootstrap_indices(lambda i: float(values[i].mean()), list(who), n_boot=4000)
    plain = patient_bootstrap(values, who, lambda v: v.mean(), n_boot=4000)
    assert slow == plain
    assert fast.value == pytest.approx(slow.value)
    assert (fast.low, fast.high) == pytest.approx((slow.low, slow.high), abs=0.03)


def test_patients_with_more_images_weigh_more_and_a_constant_has_no_width() -> None:
    who = np.repeat(np.arange(6), (1, 2, 3, 5, 8, 13))
    interval = patient_bootstrap(np.full(len(who), 0.7), who)
    assert (interval.value, interval.low, interval.high) == pytest.approx((0.7, 0.7, 0.7))


def test_a_resample_holds_whole_patients() -> None:
    who = ["a", "b", "b", "c", "c", "c"]
    seen = []

    def statistic(index: np.ndarray) -> float:
        seen.append(index)
        return float(len(index))

    bootstrap_indices(statistic, who, n_boot=50)
    for index in seen:
        times = np.bincount(index, minlength=6)
        assert times[1] == times[2]
        assert times[3] == times[4] == times[5]
        assert times[0] + times[1] + times[3] == 3


def test_values_that_are_not_finite_are_left_out_and_n_says_so() -> None:
    interval = patient_bootstrap([1.0, math.nan, 3.0, math.inf], ["a", "b", "c", "d"])
    assert (interval.value, interval.n) == (2.0, 2)
    empty = patient_bootstrap([math.nan], ["a"])
    assert math.isnan(empty.value)
    assert empty.n == 0


def test_the_same_seed_gives_the_same_interval() -> None:
    values, who = clustered(10, 3)
    assert patient_bootstrap(values, who, seed=1) == patient_bootstrap(values, who, seed=1)
    assert patient_bootstrap(values, who, seed=1) != patient_bootstrap(values, who, seed=2)


def test_one_patient_for_each_value_is_asked_for() -> None:
    with pytest.raises(ValueError, match="expected one value a patient"):
        patient_bootstrap([1, 2, 3], ["a", "b"])


def test_pairs_cancel_what_patients_have_in_common() -> None:
    values, who = clustered(30, 4)
    interval = paired_bootstrap(values + 0.1, values, who)
    assert interval.value == pytest.approx(0.1)
    assert interval.high - interval.low < 1e-9


def test_permutation_test_is_uniform_under_no_difference_and_small_under_one() -> None:
    def p_value(seed: int, apart: float = 0.0) -> float:
        rng = np.random.default_rng(seed)
        return permutation_test(rng.normal(size=20) + apart, rng.normal(size=15), n=200, seed=seed)

    assert np.mean([p_value(seed) < 0.1 for seed in range(200)]) == pytest.approx(0.1, abs=0.06)
    assert p_value(0, apart=5) == pytest.approx(1 / 201)
    assert permutation_test([1.0], [0.0]) == 1.0  # one patient on each side proves nothing


def test_spearman_agrees_with_scipy_with_ties_and_is_undefined_for_a_constant() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, 50), rng.integers(0, 5, 50)
    assert spearman(x, y) == pytest.approx(reference.spearmanr(x, y).statistic)
    assert spearman([0, 1, 2, 3], [1, 10, 100, 1000]) == pytest.approx(1)
    assert spearman([0, 1, 2, 3], [3, 2, 1, 0]) == pytest.approx(-1)
    assert math.isnan(spearman([0, 1, 2], [5, 5, 5]))


@pytest.mark.parametrize(("curve", "mass"), [([0, 1, 2, 3], 0), ([3, 2, 1, 0], 1), ([0, 3, 2, 2], 0.25), ([0, 0.5, 0.25], 1 / 3)])
def test_violation_mass_of_curves(curve: list[float], mass: float) -> None:
    assert violation_mass(curve) == pytest.approx(mass)
    assert math.isnan(violation_mass([1, 1, 1]))


def scored(seed: int, levels: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    positive = rng.random(80) < 0.4
    return (rng.integers(0, levels, 80) + 2 * positive) / (levels + 2), positive


@pytest.mark.parametrize("seed", range(3))
def test_auroc_counts_pairs(seed: int) -> None:
    p, positive = scored(seed)
    pairs = p[positive][:, None] - p[~positive][None]
    assert auroc(p, positive) == pytest.approx(((pairs > 0) + (pairs == 0) / 2).mean())


def test_auroc_keeps_under_monotone_maps_and_turns_with_the_labels() -> None:
    p, positive = scored(3)
    area = auroc(p, positive)
    assert auroc(np.exp(5 * p), positive) == pytest.approx(area)
    assert auroc(-p, positive) == pytest.approx(1 - area)
    assert auroc(p, ~positive) == pytest.approx(1 - area)
    assert auroc(np.full(80, 0.3), positive) == 0.5
    assert math.isnan(auroc(p, np.ones(80, dtype=bool)))


def test_balanced_accuracy_does_not_reward_the_common_class() -> None:
    positive = np.array([True] + 9 * [False])
    assert balanced_accuracy(np.zeros(10, dtype=bool), positive) == 0.5
    assert balanced_accuracy(positive, positive) == 1
    assert balanced_accuracy(~positive, positive) == 0
    assert math.isnan(balanced_accuracy(positive, np.zeros(10, dtype=bool)))


def test_calibration_error_of_honest_and_overconfident_probabilities() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(20_000)
    truth = rng.random(20_000) < p
    assert expected_calibration_error(p, truth) < 0.02
    assert expected_calibration_error(np.full(100, 0.9), np.arange(100) < 60) == pytest.approx(0.3)
    assert expected_calibration_error(np.array([0.0, 1.0]), [False, True]) == 0


def test_the_operating_point_lies_midway_in_the_best_gap() -> None:
    assert best_operating_point([0.1, 0.2, 0.6, 0.9], [False, False, True, True]) == pytest.approx(0.4)
    assert best_operating_point([0.3, 0.3], [False, True]) == 0.5


@pytest.mark.parametrize("seed", range(4))
def test_no_other_threshold_is_better(seed: int) -> None:
    p, positive = scored(seed)
    best = balanced_accuracy(p >= best_operating_point(p, positive), positive)
    assert best >= max(balanced_accuracy(p >= t, positive) for t in np.linspace(0, 1, 101)) - 1e-12
