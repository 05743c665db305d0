"""Groups of patients and the test between their curves."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats as reference

from gan_explain.audit.document import Comparison, as_json
from gan_explain.audit.subgroups import Resampling, compare, correct, grouped
from gan_explain.stats import curve_band

X = [0.0, 0.5, 1.0]


def test_texts_and_few_numbers_stay_and_nothing_is_unknown() -> None:
    assert grouped(["F", "", " M "], "sex") == ["F", "unknown", "M"]
    assert grouped(["0", "1", "2", "1"], "grade") == ["0", "1", "2", "1"]
    assert grouped(["1", "2", "3", "4", "5", "6", "7", "left"], "mixed")[-1] == "left"
    assert grouped([]) == []


def test_ages_become_bands() -> None:
    ages = ["0", "17", "17.9", "18", "39", "40", "59.5", "60", "94", "", "-3", "411", "nan"]
    expected = ["0-17"] * 3 + ["18-39"] * 2 + ["40-59"] * 2 + ["60+"] * 2 + ["unknown"] * 3
    assert grouped(ages[:-1], "age") == expected


def test_one_bad_cell_does_not_make_groups_of_ages() -> None:
    values = [*map(str, range(20, 60)), "nan", "N/A", ">89", "058Y", "011M", "?"]
    assert grouped(values, "age")[-6:] == ["unknown", "unknown", "60+", "40-59", "0-17", "unknown"]
    assert set(grouped(values, "age")) == {"18-39", "40-59", "60+", "0-17", "unknown"}


def test_other_numbers_become_terciles_named_by_their_limits() -> None:
    found = grouped([str(i) for i in range(1, 10)] + [""], "dose")
    assert found == ["up to 3.66667"] * 3 + ["3.66667 to 6.33333"] * 3 + ["above 6.33333"] * 3 + ["unknown"]


def patients_of(groups: list[str]) -> list[str]:
    return [f"p{i}" for i in range(len(groups))]


def test_groups_get_their_curves_with_bands_and_a_difference_is_seen() -> None:
    groups = ["F"] * 12 + ["M"] * 12
    curves = np.random.default_rng(0).random((24, 3)) * 0.2 + 0.5 * (np.array(groups) == "F")[:, None]
    found = compare(curves, patients_of(groups), groups, X, column="sex", resampling=Resampling(500))
    mean, low, high = curve_band(curves[:12], patients_of(groups)[:12])
    assert (found.groups["F"].mean, found.groups["F"].low) == (pytest.approx(mean), pytest.approx(low))
    assert found.groups["F"].high == pytest.approx(high)
    assert (found.groups["M"].n, found.groups["M"].patients, found.groups["M"].x) == (12, 12, tuple(X))
    assert found.p == pytest.approx(1 / 501)
    assert (found.p_corrected, found.reason, found.column) == (None, None, "sex")
    json.dumps(as_json(found), allow_nan=False)


def test_p_is_uniform_where_groups_are_alike() -> None:
    def p(seed: int) -> float:
        rng = np.random.default_rng(seed)
        patients = [f"p{i}" for i in np.repeat(np.arange(30), 2)]
        groups = list(np.repeat(rng.permutation(["a"] * 10 + ["b"] * 20), 2))
        curves = (rng.normal(size=30)[np.repeat(np.arange(30), 2)])[:, None] + 0.1 * rng.normal(size=(60, 3))
        p = compare(curves, patients, groups, X, column="c", resampling=Resampling(99, 2, seed)).p
        assert p is not None
        return p

    assert reference.kstest([p(seed) for seed in range(200)], "uniform").pvalue > 0.01  # not so with images as units


def test_a_patient_counts_once_in_the_group_of_its_first_image() -> None:
    groups = ["F"] * 5 + ["M"] * 5 + ["M"]
    patients = [*patients_of(groups[:10]), "p0"]
    found = compare(np.arange(33.0).reshape(11, 3), patients, groups, X, column="sex", resampling=Resampling(20))
    assert (found.groups["F"].n, found.groups["F"].patients) == (6, 5)
    assert found.groups["M"].n == 5
    # at x: first group's patient means 15, 3, 6, 9, 12 (p0: (0 + 30) / 2); second's 15 ... 27
    assert found.statistic == pytest.approx(5 * 5 / 10 * (21 - 9) ** 2)


def test_small_groups_are_left_out_and_the_unknown_is_not_tested() -> None:
    groups = ["F"] * 6 + ["M"] * 6 + ["unknown"] * 8 + ["X"] * 4
    curves = np.zeros((24, 3))
    curves[12:20] = 9.0  # the unknown differ: no difference between the sexes
    found = compare(curves, patients_of(groups), groups, X, column="sex", resampling=Resampling(50))
    assert sorted(found.groups) == ["F", "M", "unknown"]
    assert (found.p, found.statistic) == (1.0, 0.0)
    assert found.reason == "X left out: 4 patients; unknown is shown, not tested"


def test_one_group_is_not_tested() -> None:
    found = compare(np.zeros((6, 3)), patients_of(["F"] * 6), ["F"] * 6, X, column="sex")
    assert (found.p, found.statistic) == (None, None)
    assert found.reason == "no test: needs two groups of at least 5 patients"
    nothing = compare(np.zeros((0, 3)), [], [], X, column="sex")
    assert (nothing.groups, nothing.p) == ({}, None)


def test_what_only_the_source_explains_is_not_a_difference_between_groups() -> None:
    source = ["a"] * 20 + ["b"] * 20
    groups = ["child"] * 20 + ["adult"] * 20
    curves = np.random.default_rng(0).random((40, 3)) + 5.0 * (np.array(source) == "a")[:, None]
    found = compare(curves, patients_of(groups), groups, X, column="age", strata=source, resampling=Resampling(50))
    assert (found.p, found.reason) == (None, "no test: no source holds patients of two groups")
    assert compare(curves, patients_of(groups), groups, X, column="age", resampling=Resampling(50)).p == pytest.approx(1 / 51)
    sexes = ["F", "M"] * 20
    assert compare(curves, patients_of(sexes), sexes, X, column="sex", strata=source, resampling=Resampling(200)).p > 0.05


def test_curves_that_are_not_finite_are_left_out() -> None:
    groups = ["F"] * 6 + ["M"] * 5
    curves = np.zeros((11, 3))
    curves[0, 1] = np.nan
    found = compare(curves, patients_of(groups), groups, X, column="sex", resampling=Resampling(20))
    assert (found.groups["F"].n, found.p) == (5, 1.0)


def test_the_columns_are_corrected_together() -> None:
    found = correct([Comparison(name, {}, p=p) for name, p in (("a", 0.01), ("b", None), ("c", 0.04))])
    assert [each.p_corrected for each in found] == [0.02, None, 0.04]
    assert [each.p for each in found] == [0.01, None, 0.04]


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="a patient, a group and a stratum for each curve"):
        compare(np.zeros((2, 3)), ["a", "b"], ["F"], X, column="sex")
