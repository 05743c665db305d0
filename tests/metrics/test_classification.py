"""The classification report: what its numbers mean, where they are null, how they look."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gan_explain.metrics.classification import classification_report, format_table
from gan_explain.metrics.measure import Measure

POSITIVE = np.array([False, False, True, True, True, False])
PATIENTS = ["a", "b", "c", "d", "e", "f"]
SOURCES = ["x", "x", "x", "x", "x", "y"]
NAMES = {"accuracy", "balanced_accuracy", "sensitivity", "specificity", "auroc", "ece"}


def test_a_known_small_case() -> None:
    report = classification_report([0.1, 0.6, 0.9, 0.7, 0.3, 0.2], POSITIVE, PATIENTS, SOURCES, 0.5, n_boot=50)
    assert set(report) == NAMES
    values = {name: report[name].value for name in ("accuracy", "sensitivity", "specificity", "auroc")}
    assert values == pytest.approx({"accuracy": 4 / 6, "sensitivity": 2 / 3, "specificity": 2 / 3, "auroc": 8 / 9})
    assert report["balanced_accuracy"].value == pytest.approx(2 / 3)
    assert report["sensitivity"].n == 3
    assert report["accuracy"].by["x"].value == pytest.approx(3 / 5)


def test_a_constant_classifier_knows_nothing() -> None:
    report = classification_report(np.full(6, 0.7), POSITIVE, PATIENTS, SOURCES, 0.5, n_boot=50)
    assert report["sensitivity"].value == 1
    assert report["specificity"].value == 0
    assert report["balanced_accuracy"].value == report["auroc"].value == 0.5
    assert report["ece"].value == pytest.approx(0.2)


def test_the_threshold_itself_is_positive() -> None:
    report = classification_report([0.5, 0.4], [True, False], ["a", "b"], ["", ""], 0.5, n_boot=10)
    assert report["accuracy"].value == 1


def test_what_a_source_lacks_is_null_with_its_reason_and_json_takes_it() -> None:
    report = classification_report(np.linspace(0, 1, 6), POSITIVE, PATIENTS, SOURCES, 0.5, n_boot=20)
    lone = {name: report[name].by["y"] for name in NAMES}
    assert lone["sensitivity"] == Measure.missing("no positives")
    assert lone["auroc"] == lone["balanced_accuracy"] == Measure.missing("needs positives and negatives")
    assert lone["specificity"].value is not None
    json.dumps({name: found.as_json() for name, found in report.items()}, allow_nan=False)


def test_other_lengths_and_nan_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        classification_report([0.1], POSITIVE, PATIENTS, SOURCES, 0.5)
    with pytest.raises(ValueError, match="finite"):
        classification_report([np.nan] * 6, POSITIVE, PATIENTS, SOURCES, 0.5)


def test_the_table_has_a_row_for_each_measure_and_source() -> None:
    lines = format_table(classification_report(np.linspace(0, 1, 6), POSITIVE, PATIENTS, SOURCES, 0.5, n_boot=20)).splitlines()
    assert len(lines) == 1 + 6 * 3
    assert lines[0].split() == ["measure", "value", "95%", "interval", "n"]
    assert any(line.startswith("  y") and line.endswith("- (no positives)") for line in lines)
    assert lines[1].startswith("accuracy")
    assert lines[1].endswith("6")
    assert format_table({"kid": Measure.missing("no weights")}).splitlines()[1] == "kid      - (no weights)"
