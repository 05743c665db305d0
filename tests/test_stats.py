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
    between_groups,
    bootstrap_indices,
    curve_band,
    curve_permutation_test,
    expected_calibration_error,
    holm,
    paired_bootstrap,
    patient_bootstrap,
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


def test_a_band_is_the_bootstrap_of_each_column() -> None:
    rng = np.random.default_rng(0)
    who = np.repeat([f"p{i}" for i in range(12)], np.arange(12) % 3 + 1)
    curves = rng.random((len(who), 5))
    curves[3, 2] = math.nan  # its whole curve is left out
    kept = np.arange(len(who)) != 3
    mean, low, high = curve_band(curves, list(who), 500, 7)
    for i in range(5):
        alone = patient_bootstrap(curves[kept, i], list(who[kept]), n_boot=500, seed=7)
        assert (mean[i], low[i], high[i]) == pytest.approx((alone.value, alone.low, alone.high), abs=1e-12)
    assert np.isnan(curve_band(np.full((2, 3), math.nan), ["a", "b"])).all()
    with pytest.raises(ValueError, match="expected a curve a patient entry"):
        curve_band(curves, ["a"])


def test_a_band_covers_a_known_curve_as_often_as_it_says() -> None:
    truth, inside = np.linspace(0, 1, 4), []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        who = np.repeat(np.arange(40), 2)
        _, low, high = curve_band(truth + rng.normal(size=(40, 4))[who], list(map(str, who)), 300, seed)
        inside.append((low <= truth) & (truth <= high))
    assert np.mean(inside, axis=0) == pytest.approx(0.94, abs=0.05)


def test_sum_of_squares_between_groups_by_hand() -> None:
    curves = np.array([[0, 0, 0], [0, 0, 2], [1, 1, 1], [3, 3, 3]])
    # means (0, 0, 1), (2, 2, 2), of all (1, 1, 1.5): 2 * 2 * (1, 1, .25), trapezoid weights 1/4, 1/2, 1/4
    assert between_groups(curves, ["a", "a", "b", "b"], [0, 1, 2]) == pytest.approx(4 * (0.25 + 0.5 + 0.0625))
    assert between_groups(curves, ["a"] * 4, [0, 1, 2]) == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="rising order"):
        between_groups(curves, ["a", "a", "b", "b"], [0, 2, 1])


def test_at_one_point_it_is_the_sum_of_squares_of_the_f_test() -> None:
    rng = np.random.default_rng(0)
    groups = list("aaabbbbbcc")
    values = rng.normal(size=10)
    parts = [values[[g == name for g in groups]] for name in "abc"]
    between = between_groups(values[:, None], groups, [0.0])
    within = sum(((part - part.mean()) ** 2).sum() for part in parts)
    assert (between / 2) / (within / 7) == pytest.approx(reference.f_oneway(*parts).statistic)


def test_curves_of_two_groups_are_permuted_exactly() -> None:
    curves = np.array([[0.0], [0.1], [1.0], [1.1]])
    # 2 of the 6 ways to deal out two and two are as extreme: itself and the exchange of both
    p = curve_permutation_test(curves, ["a", "a", "b", "b"], [0.0], n=6000)
    assert p == pytest.approx(1 / 3, abs=0.02)
    assert curve_permutation_test(np.ones((4, 3)), ["a", "a", "b", "b"], [0, 1, 2], n=50) == 1.0


def curve_p(seed: int, apart: float = 0.0, **options: object) -> float:
    """A p-value for 30 patients in three groups of unequal size, whose smooth curves differ by `apart` in one."""
    rng = np.random.default_rng(seed)
    groups = ["a"] * 6 + ["b"] * 9 + ["c"] * 15
    x = np.linspace(0, 1, 11)
    curves = rng.normal(size=(30, 1)) * x + 0.3 * rng.normal(size=(30, 11)) + apart * np.outer([g == "c" for g in groups], x)
    return curve_permutation_test(curves, groups, x, n=199, seed=seed, **options)


def test_p_of_the_curve_test_is_uniform_under_no_difference() -> None:
    p = [curve_p(seed) for seed in range(300)]
    assert reference.kstest(p, "uniform").pvalue > 0.01
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.03)


def test_the_curve_test_sees_a_difference_and_repeats_itself() -> None:
    assert np.mean([curve_p(seed, apart=1.5) <= 0.05 for seed in range(40)]) > 0.8
    assert curve_p(0, apart=1.5) == curve_p(0, apart=1.5)


def test_a_difference_between_sources_is_not_put_down_to_the_groups_within_them() -> None:
    def p_values(seed: int) -> tuple[float, float]:
        rng = np.random.default_rng(seed)
        source = np.repeat(["near", "far"], 30)
        sex = np.where(rng.random(60) < np.where(source == "near", 0.8, 0.2), "F", "M")
        curves = rng.normal(size=(60, 3)) + 2.0 * (source == "near")[:, None]
        plain = curve_permutation_test(curves, list(sex), [0, 1, 2], n=199, seed=seed)
        return plain, curve_permutation_test(curves, list(sex), [0, 1, 2], strata=list(source), n=199, seed=seed)

    plain, within = np.array([p_values(seed) for seed in range(100)]).T  # sexes differ between sources, not within
    assert np.mean(plain <= 0.05) > 0.8
    assert np.mean(within <= 0.05) == pytest.approx(0.05, abs=0.06)


def test_a_difference_within_sources_is_seen_through_a_larger_one_between_them() -> None:
    def p_value(seed: int, strata: bool) -> float:
        rng = np.random.default_rng(seed)
        source, sex = np.repeat(["near", "far"], 30), np.tile(["F", "M"], 30)
        curves = rng.normal(size=(60, 3)) + 20.0 * (source == "near")[:, None] + 0.8 * (sex == "F")[:, None]
        return curve_permutation_test(curves, list(sex), [0, 1, 2], strata=list(source) if strata else None, n=199, seed=seed)

    assert np.mean([p_value(seed, strata=True) <= 0.05 for seed in range(30)]) > 0.8
    assert np.mean([p_value(seed, strata=False) <= 0.05 for seed in range(30)]) < 0.2


def test_holm_by_hand() -> None:
    # sorted .01 .02 .03 .04: 4 * .01, 3 * .02, 2 * .03, then .04 is raised to .06
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([None, 0.02, None]) == [None, 0.02, None]  # what was not tested does not count
    assert holm([]) == []
    with pytest.raises(ValueError, match="p-values in"):
        holm([1.5])


def test_holm_lies_between_no_correction_and_bonferroni_and_keeps_the_order() -> None:
    p = np.random.default_rng(0).random(20) ** 3
    corrected = np.array(holm(list(p)), dtype=float)
    assert (corrected >= p).all()
    assert (corrected <= np.minimum(1, 20 * p) + 1e-12).all()
    assert (np.diff(corrected[np.argsort(p)]) >= 0).all()


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
