"""What is measured of a generator alone, on patients of whom everything is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from gan_explain.data import Dataset
from gan_explain.evaluate import EvaluationResult, Models, Options, evaluate
from gan_explain.evaluate.samples import Sample, Table
from gan_explain.evaluate.totals import separation, slope
from gan_explain.metrics.measure import Measure
from gan_explain.types import DataError, Record


@pytest.fixture(scope="module")
def dataset(known: SimpleNamespace) -> Dataset:
    return known.patients(24)


def read(known: SimpleNamespace, dataset: Dataset, train: Dataset | None = None, **options: Any) -> EvaluationResult:
    models = Models(known.generator, None, known.lungs)
    return evaluate(models, dataset, Options(**options), measures=("reader",), train=train)


@pytest.fixture(scope="module")
def result(known: SimpleNamespace, dataset: Dataset) -> EvaluationResult:
    return read(known, dataset, dataset, bootstrap=20, batch_size=5)


def value(result: EvaluationResult, name: str) -> float:
    found = result.measures[name].value
    assert isinstance(found, float), f"{name}: {result.measures[name]}"
    return found


@pytest.mark.parametrize("renderer", ["veils", "patterns"])
def test_a_reader_that_knows_the_structure_finds_what_was_rendered(result: EvaluationResult, renderer: str) -> None:
    assert value(result, f"reader.rho[{renderer}]") > 0.95
    assert value(result, f"reader.slope[{renderer}]") == pytest.approx(1, abs=0.15)  # the headroom takes a little off sharp edges
    assert value(result, f"reader.pixel[{renderer}]") > 0.9
    assert value(result, f"reader.pointing[{renderer}]") == 1
    assert result.measures[f"reader.pixel[{renderer}]"].n == 12  # the normal images


def test_the_load_tells_labels_apart_within_each_source(result: EvaluationResult) -> None:
    assert value(result, "reader.auroc") == 1
    assert {source: each.value for source, each in result.measures["reader.auroc"].by.items()} == {"a": 1, "b": 1}


def test_a_load_that_tells_the_source_alone_is_worth_nothing() -> None:
    rows = [
        Sample(Record(f"{i}.png", label, str(i), "", source), i, i, values={"load": float(source == "b")})
        for i, (source, label) in enumerate(
            [("a", "normal"), ("a", "covid"), ("b", "covid"), ("b", "covid"), ("b", "normal")] * 3
        )
    ]
    assert separation(Table(rows, 10)).value == 0.5
    assert separation(Table(rows[:1], 10)).value is None
    assert separation(Table([], 10)).value is None


def test_severity_is_followed(result: EvaluationResult) -> None:
    assert value(result, "severity.load") > 0.9


def test_layers_of_the_same_prior_are_not_told_apart(result: EvaluationResult) -> None:
    assert result.measures["layers.auroc"].n == 12
    for name in ("load", "extent", "down", "across", "left", "sharpness"):
        real, drawn = value(result, f"layers.{name}[real]"), value(result, f"layers.{name}[drawn]")
        assert drawn == pytest.approx(real, rel=0.5), name
    assert value(result, "layers.left[real]") == pytest.approx(0.5, abs=0.02)  # both lungs alike
    assert value(result, "layers.nearest[real]") == pytest.approx(0, abs=1e-3)  # each is among the training images here
    assert value(result, "layers.nearest[drawn]") > 0.01


def test_without_training_images_nothing_is_said_of_copies(known: SimpleNamespace, dataset: Dataset) -> None:
    found = read(known, dataset, bootstrap=10, limit=6).measures
    assert found["layers.nearest"] == Measure.missing("no training images were given")


def test_without_disease_there_are_no_layers(known: SimpleNamespace, dataset: Dataset) -> None:
    healthy = dataset.where(lambda record: record.label == "normal")
    found = read(known, healthy, bootstrap=10)
    assert found.measures["layers"].value is None
    assert found.measures["reader.auroc"].reason == "no source has normal images and diseased ones"
    with pytest.raises(DataError, match="got none"):
        read(known, dataset.where(lambda _: False))


def test_the_result_does_not_depend_on_the_batch(known: SimpleNamespace, dataset: Dataset, result: EvaluationResult) -> None:
    other = read(known, dataset, dataset, bootstrap=20, batch_size=24)
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

    found = read(SimpleNamespace(generator=Blind(), lungs=known.lungs), dataset, bootstrap=10, limit=8).measures
    assert found["reader.rho[veils]"].value is None
    assert found["reader.slope[veils]"].value == 0
    assert found["reader.auroc"].value == 0.5
