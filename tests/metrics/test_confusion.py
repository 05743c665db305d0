"""Confusion matrices and what follows from them: by hand, and against the patient bootstrap."""

from __future__ import annotations

import numpy as np
import pytest

from gan_explain.metrics.confusion import confusion, format_confusion, multiclass_report
from gan_explain.stats import patient_bootstrap

CLASSES = ("normal", "bacterial", "viral")
TRUTH = [0, 0, 0, 1, 1, 2]
CALLS = [0, 0, 1, 1, 2, 1]
PATIENTS = ["a", "a", "b", "c", "d", "e"]
SOURCES = ["x", "x", "y", "y", "y", "y"]


def test_rows_are_the_truth_and_columns_the_calls() -> None:
    found = confusion(TRUTH, CALLS, CLASSES, SOURCES)
    assert found.matrix.tolist() == [[2, 1, 0], [0, 1, 1], [0, 1, 0]]
    assert found.by["x"].tolist() == [[2, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert (found.by["x"] + found.by["y"] == found.matrix).all()
    assert found.as_json()["all"] == found.matrix.tolist()


def test_measures_by_hand() -> None:
    report = multiclass_report(TRUTH, CALLS, CLASSES, PATIENTS, SOURCES, n_boot=50)
    value = {name.removeprefix("classes."): measure.value for name, measure in report.items()}
    assert value["accuracy"] == pytest.approx(3 / 6)
    assert value["recall[normal]"] == pytest.approx(2 / 3)
    assert value["precision[normal]"] == 1
    assert value["f1[normal]"] == pytest.approx(4 / 5)
    assert (value["recall[bacterial]"], value["precision[bacterial]"]) == (pytest.approx(1 / 2), pytest.approx(1 / 3))
    assert value["f1[bacterial]"] == pytest.approx(2 / 5)
    assert (value["recall[viral]"], value["f1[viral]"]) == (0, 0)
    assert value["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert value["macro_f1"] == pytest.approx((4 / 5 + 2 / 5 + 0) / 3)
    n = {name.removeprefix("classes."): measure.n for name, measure in report.items()}
    assert (n["accuracy"], n["recall[bacterial]"], n["precision[bacterial]"], n["f1[bacterial]"]) == (6, 2, 3, 2)


def test_what_a_source_lacks_is_null_there_and_its_means_are_of_the_classes_it_has() -> None:
    report = multiclass_report(TRUTH, CALLS, CLASSES, PATIENTS, SOURCES, n_boot=50)
    assert report["classes.recall[viral]"].by["x"].reason == "no image of the class"
    assert report["classes.precision[viral]"].by["x"].reason == "never called"
    assert report["classes.macro_f1"].by["x"].value == 1
    assert report["classes.precision[viral]"].value == 0


def test_the_interval_of_accuracy_is_that_of_the_patient_bootstrap() -> None:
    random = np.random.default_rng(3)
    truth, calls = random.integers(3, size=80), random.integers(3, size=80)
    patients = [f"p{i}" for i in random.integers(25, size=80)]
    found = multiclass_report(truth, calls, CLASSES, patients, [""] * 80, seed=5)["classes.accuracy"]
    expected = patient_bootstrap(truth == calls, patients, seed=5)
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert expected.low < expected.value < expected.high


def test_one_patient_with_many_images_counts_once() -> None:
    """Twenty right images of one patient and one wrong of another: resamples that miss either are 0 or 1."""
    truth, calls = [0] * 21, [0] * 20 + [1]
    found = multiclass_report(truth, calls, CLASSES, ["a"] * 20 + ["b"], [""] * 21)["classes.accuracy"]
    assert (found.low, found.high) == (0, 1)


def test_a_constant_call_has_the_macro_f1_of_one_class() -> None:
    report = multiclass_report([0, 1, 2], [1, 1, 1], CLASSES, list("abc"), [""] * 3, n_boot=20)
    assert report["classes.balanced_accuracy"].value == pytest.approx(1 / 3)
    assert report["classes.macro_f1"].value == pytest.approx(0.5 / 3)


def test_nothing_is_null() -> None:
    report = multiclass_report([], [], CLASSES, [], [], n_boot=20)
    assert report["classes.accuracy"].value is None
    assert confusion([], [], CLASSES, []).matrix.sum() == 0


@pytest.mark.parametrize(("truth", "calls"), [([0, 3], [0, 0]), ([0, 0], [0, -1]), ([0], [0, 1])])
def test_what_does_not_fit_is_refused(truth: list[int], calls: list[int]) -> None:
    with pytest.raises(ValueError, match="expected"):
        multiclass_report(truth, calls, CLASSES, ["a", "b"], ["", ""])
    with pytest.raises(ValueError, match="expected"):
        confusion(truth, calls, CLASSES, ["", ""])


def test_a_table_for_readers() -> None:
    text = format_confusion(confusion(TRUTH, CALLS, CLASSES, SOURCES))
    first, second, third = text.split("\n\n")
    assert first.splitlines()[0] == "confusion, all (6 images)"
    assert first.splitlines()[2].split() == ["normal", "2", "1", "0", "0.667"]
    assert third.splitlines()[0] == "confusion, y (4 images)"
    assert second.splitlines()[3].split()[-1] == "-"
    assert "\n\n" not in format_confusion(confusion(TRUTH, CALLS, CLASSES, ["x"] * 6))
