"""`gan-explain evaluate --measures classifier`: a CNN by itself, class by class."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from gan_explain.cli.exits import DATA, OK

Invoke = Callable[..., Result]
CLASSIFIER = ("evaluate", "--measures", "classifier")
COMMON = ("--segmenter", "everywhere", "--resolution", 64, "--out", "r")


def test_a_cnn_of_several_classes_is_measured_on_each(invoke: Invoke, world: Path) -> None:
    data = "phantom:n=60,covid=0.4,pneumonia=0.3"
    result = invoke(
        *CLASSIFIER, "--target", "brightness_target:Brightness", "--data", data, "--split", "train", *COMMON, "--json"
    )
    assert result.exit_code == OK, result.stderr
    found = json.loads(result.stdout)
    matrix, measures = found["confusion"], found["measures"]
    assert matrix["classes"] == ["normal", "pneumonia", "covid"]
    assert (matrix["rows"], matrix["columns"], matrix["left_out"]) == ("truth", "call", 0)
    total = sum(map(sum, matrix["all"]))
    assert measures["classes.accuracy"]["value"] == pytest.approx(sum(matrix["all"][k][k] for k in range(3)) / total)
    assert measures["classes.recall[covid]"]["n"] == sum(matrix["all"][2])
    assert matrix["by"]["phantom"] == matrix["all"]
    assert json.loads((world / "r" / "confusion.json").read_text()) == matrix
    assert {"measures.json", "confusion.json", "run.json"} <= {path.name for path in (world / "r").iterdir()}


def test_two_classes_are_called_at_the_operating_point(invoke: Invoke, world: Path) -> None:
    result = invoke(*CLASSIFIER, "--target", "checkpoint:tiny", "--data", "phantom:n=40", "--split", "train", *COMMON, "--json")
    found = json.loads(result.stdout)
    (tn, fp), (fn, tp) = found["confusion"]["all"]
    assert found["confusion"]["classes"] == ["negative", "covid"]
    assert found["measures"]["sensitivity"]["value"] == pytest.approx(tp / (tp + fn))
    assert found["measures"]["specificity"]["value"] == pytest.approx(tn / (tn + fp))
    assert not any(name.startswith("classes.") for name in found["measures"])


def test_labels_that_the_cnn_does_not_know_are_left_out_and_counted(invoke: Invoke, world: Path) -> None:
    source = (world / "brightness_target.py").read_text()
    (world / "odd.py").write_text(
        source.replace('"pneumonia", "covid"), positive=("covid", "pneumonia")', '"effusion", "covid"), positive=("covid",)')
    )
    spec = ("--target", "odd:Brightness")
    data = "phantom:n=60,covid=0.4,pneumonia=0.3"
    result = invoke(*CLASSIFIER, *spec, "--data", data, "--split", "train", *COMMON)
    assert result.exit_code == OK, result.stderr
    matrix = json.loads((world / "r" / "confusion.json").read_text())
    assert matrix["left_out"] > 0
    assert f"{matrix['left_out']} images left out" in result.stdout
    assert "truth / call" in result.stdout


def test_no_images_is_one_line(invoke: Invoke, world: Path) -> None:
    result = invoke(*CLASSIFIER, "--target", "checkpoint:tiny", "--data", "phantom:n=40", "--include", "flu", *COMMON)
    assert result.exit_code == DATA
    assert "no record fits" in result.stderr
    assert not (world / "r").exists()
