"""What is measured of a generator alone, on patients of whom everything is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gan_explain.data import Dataset
from gan_explain.evaluate import EvaluationResult, evaluate_reader
from gan_explain.evaluate.result import Aggregator
from gan_explain.evaluate.totals import separation, slope
from gan_explain.metrics.measure import Measure
from gan_explain.types import DataError


@pytest.fixture(scope="module")
def dataset(known: SimpleNamespace) -> Dataset:
    return known.patients(24)


@pytest.fixture(scope="module")
def result(known: SimpleNamespace, dataset: Dataset) -> EvaluationResult:
    return evaluate_reader(known.generator, dataset, known.lungs, n_boot=20, train=dataset, batch_size=5)


def value(result: EvaluationResult, name: str) -> float:
    found = result.measures[name].value
    assert isinstance(found, float), f"{name}: {result.measures[name]}"
    return found


@pytest.mark.parametrize("renderer", ["veils", "patterns"])
def test_a_reader_that_knows_the_structure_finds_what_was_rendered(result: EvaluationResult, renderer: str) -> None:
    assert value(result, f"reader.{renderer}.rho") > 0.95
    assert value(result, f"reader.{renderer}.slope") == pytest.approx(1, abs=0.15)  # the headroom takes a little off sharp edges
    assert value(result, f"reader.{renderer}.pixel") > 0.9
    assert value(result, f"reader.{renderer}.pointing") == 1
    assert result.measures[f"reader.{renderer}.pixel"].n == 12  # the normal images


def test_the_load_tells_labels_apart_within_each_source(result: EvaluationResult) -> None:
    assert value(result, "reader.auroc") == 1
    assert {source: each.value for source, each in result.measures["reader.auroc"].by.items()} == {"a": 1, "b": 1}


def test_a_load_that_tells_the_source_alone_is_worth_nothing() -> None:
    rows = [
        {"patient_id": str(i), "source": source, "label": label, "load": float(source == "b")}
        for i, (source, label) in enumerate(
            [("a", "normal"), ("a", "covid"), ("b", "covid"), ("b", "covid"), ("b", "normal")] * 3
        )
    ]
    assert separation(Aggregator(rows, 10)).value == 0.5
    assert separation(Aggregator(rows[:1], 10)).value is None
    assert separation(Aggregator([], 10)).value is None


def test_severity_is_followed(result: EvaluationResult) -> None:
    assert value(result, "severity.load") > 0.9


def test_layers_of_the_same_prior_are_not_told_apart(result: EvaluationResult) -> None:
    assert result.measures["layers.auroc"].n == 12
    for name in ("load", "extent", "down", "across", "left", "sharpness"):
        real, drawn = value(result, f"layers.real.{name}"), value(result, f"layers.drawn.{name}")
        assert drawn == pytest.approx(real, rel=0.5), name
    assert value(result, "layers.real.left") == pytest.approx(0.5, abs=0.02)  # both lungs alike
    assert value(result, "layers.real.nearest") == pytest.approx(0, abs=1e-3)  # each is among the training images here
    assert value(result, "layers.drawn.nearest") > 0.01


def test_without_training_images_nothing_is_said_of_copies(known: SimpleNamespace, dataset: Dataset) -> None:
    found = evaluate_reader(known.generator, dataset, known.lungs, n_boot=10, limit=6).measures
    assert found["layers.nearest"] == Measure.missing("no training images were given")


def test_without_disease_there_are_no_layers(known: SimpleNamespace, dataset: Dataset) -> None:
    healthy = dataset.where(lambda record: record.label == "normal")
    found = evaluate_reader(known.generator, healthy, known.lungs, n_boot=10)
    assert found.measures["layers"].value is None
    assert found.measures["reader.auroc"].reason == "no source has normal images and diseased ones"
    with pytest.raises(DataError, match="got none"):
        evaluate_reader(known.generator, dataset.where(lambda _: False), known.lungs)


def test_the_result_does_not_depend_on_the_batch(known: SimpleNamespace, dataset: Dataset, result: EvaluationResult) -> None:
    other = evaluate_reader(known.generator, dataset, known.lungs, n_boot=20, train=dataset, batch_size=24)
    for name, measure in result.measures.items():
        assert other.measures[name].value == pytest.approx(measure.value, abs=1e-5), name


def test_slope() -> None:
    planted = np.array([0.0, 1.0, 2.0])
    assert slope(0.5 * planted + 3, planted) == pytest.approx(0.5)
    assert np.isnan(slope(planted, np.ones(3)))


def test_a_reader_that_sees_nothing_has_no_correlation(known: SimpleNamespace, dataset: Dataset) -> None:
    class Blind(type(known.generator)):  # type: ignore[misc]
        def read(self, images: torch.Tensor, lungs: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(images)

    found = evaluate_reader(Blind(), dataset, known.lungs, n_boot=10, limit=8).measures
    assert found["reader.veils.rho"].value is None
    assert found["reader.veils.slope"].value == 0
    assert found["reader.auroc"].value == 0.5
