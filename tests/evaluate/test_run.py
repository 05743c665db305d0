"""Evaluation of a generator that is known in full, under targets that are."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from gan_explain.data import Dataset
from gan_explain.evaluate import EvaluationResult, Models, Options, Sample, classification, evaluate
from gan_explain.metrics import registry
from gan_explain.metrics.change import Change
from gan_explain.metrics.measure import Measure
from gan_explain.metrics.nulls import ConstantTarget
from gan_explain.pixels import resize
from gan_explain.targets import ModuleTarget, TargetConfig
from gan_explain.types import DataError


class LungBrightness(nn.Module):
    """One logit: mean brightness of a fixed window over the lungs, above a threshold."""

    def __init__(self, threshold: float, steep: float = 60.0) -> None:
        super().__init__()
        self.threshold, self.steep = threshold, nn.Parameter(torch.tensor(steep))  # a parameter, so that there is one to shuffle

    def forward(self, x: Tensor) -> Tensor:
        return self.steep * (x[..., 16:48, 8:56].mean((1, 2, 3)) - self.threshold)


def brightness(threshold: float) -> ModuleTarget:
    return ModuleTarget(LungBrightness(threshold), TargetConfig(positive=("covid",), size=64, channels=1))


class Structures:
    """Even lungs of a brightness between .15 and .25, and a faint ramp of their own."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.rand(n, 2, generator=generator)

    def __call__(self, z: Tensor) -> Tensor:
        ramp = torch.linspace(-0.02, 0.02, 64).view(1, 1, 1, -1)
        return (0.15 + 0.1 * z[:, :1, None, None] + (z[:, 1:, None, None] - 0.5) * ramp).expand(-1, 1, 64, 64)


@pytest.fixture(scope="module")
def dataset(known: SimpleNamespace) -> Dataset:
    return known.patients(48)


@pytest.fixture(scope="module")
def threshold(known: SimpleNamespace) -> float:
    """Just above the brightness of a healthy chest."""
    return float(known.ground) + 0.005


@pytest.fixture(scope="module")
def full(known: SimpleNamespace, dataset: Dataset, threshold: float) -> EvaluationResult:
    """Everything at once: a target that sees brightness, itself and a blind one for judges, synthetic patients."""
    torch.manual_seed(0)
    target = brightness(threshold)
    judges = {"itself": target, "blind": ConstantTarget(0.1, positive=("covid",), classes=("negative", "covid"))}
    models = Models(known.generator, target, known.lungs, judges, extractor=lambda x, _: resize(x, 16).flatten(1))
    options = Options(bootstrap=50, codes=3, batch_size=10, synthetic=20)
    return evaluate(models, dataset, options, structures=Structures(), train=dataset)


def value(result: EvaluationResult, name: str) -> float:
    found = result.measures[name].value
    assert isinstance(found, float), f"{name}: {result.measures[name]}"
    return found


def test_real_disease_moves_a_target_that_reads_brightness(full: EvaluationResult) -> None:
    assert value(full, "flip.negative") == value(full, "flip.negative.at_2") == value(full, "flip.negative.prior") == 1
    assert value(full, "rises") == value(full, "heal.falls") == value(full, "flip.healed") == 1
    assert 0 < value(full, "rise") < value(full, "rise.at_2")
    assert value(full, "heal.fall") > 0.2
    assert value(full, "monotonicity.rho") == pytest.approx(1, abs=0.01)
    assert value(full, "monotonicity.violation") < 0.01
    assert value(full, "monotonicity.never_crosses") == 0
    assert 0 < value(full, "crossing.lambda") < 1


def test_a_target_of_the_mean_answers_a_random_layer_of_equal_load_alike(full: EvaluationResult) -> None:
    assert abs(value(full, "rise.excess")) < 0.3 * value(full, "rise")
    assert value(full, "random.excess") == 0
    assert value(full, "null.random.rise") == pytest.approx(value(full, "rise") - value(full, "rise.excess"), abs=1e-6)
    assert value(full, "null.random.fall") == pytest.approx(value(full, "heal.fall") - value(full, "heal.excess"), abs=1e-6)


def test_both_ends_are_exact(full: EvaluationResult) -> None:
    for name in ("exact.zero", "exact.one", "clamped", "outside.change", "outside.change.healed"):
        assert value(full, name) == 0, name


def test_what_is_healed_has_nothing_left_on_it(full: EvaluationResult) -> None:
    assert value(full, "reread") == pytest.approx(0, abs=0.02)


def test_a_judge_equal_to_the_target_sees_every_flip_and_a_blind_one_none(full: EvaluationResult) -> None:
    assert value(full, "transfer[itself]") == value(full, "flip.negative")
    assert value(full, "transfer[blind]") == 0
    assert value(full, "transfer[itself].minus_pgd") == pytest.approx(
        value(full, "transfer[itself]") - value(full, "transfer[itself].pgd")
    )


def test_a_huge_change_persists(full: EvaluationResult) -> None:
    assert {value(full, f"persistence[{name}]") for name in ("png8", "jpeg90", "blur", "shift")} == {1.0}


def test_each_input_is_measured_in_its_own_direction(full: EvaluationResult, dataset: Dataset) -> None:
    assert [sample.record.path for sample in full.samples] == [record.path for record in dataset.records]
    for row in full.samples:
        assert ("flip.negative" in row.values) == (row.called == "negative") == ("flip.healed" not in row.values)
        assert math.isfinite(row["load"])
    called = [row.called for row in full.samples]
    assert full.measures["flip.negative"].n == called.count("negative")
    assert full.measures["heal.fall"].n == called.count("positive")


def test_every_group_of_measures_is_there(full: EvaluationResult) -> None:
    names = {
        "flip.negative", "flip.healed", "cv80.negative", "cv80.healed", "monotonicity.rho", "crossing.slope", "proximity.l1",
        "proximity.ssim", "proximity.lpips", "sparsity", "exact.zero", "exact.one", "reread", "clamped", "rise", "rise.prior",
        "structure.dice", "structure.area_drift.healed", "diversity.layers", "opacity_probe.rises", "opacity_probe.slope",
        "reader.rho[veils]", "reader.pointing[veils]", "reader.pixel[patterns]", "reader.slope[patterns]", "reader.auroc",
        "severity.load", "severity.p", "layers.auroc", "layers.load[drawn]", "layers.nearest[real]", "causal.outside_share",
        "null.random.flip", "null.random.flip.at_2", "null.shuffled.flip", "cout", "diversity.placement[added]",
        "diversity.placement[removed]", "synthetic.nearest", "synthetic.negative_at_0", "synthetic.positive_at_1.5", "pgd.flip",
        "transfer[itself].rises",
    }  # fmt: skip
    assert names <= set(full.measures)
    assert {name.partition("[")[0] for name in full.measures if "synthetic.negative" in name and "[" in name} == {
        "kid",
        "frechet",
        "density",
        "coverage",
    }
    for name, measure in full.measures.items():
        assert (measure.value is None) == bool(measure.reason), name
        assert (measure.value is None) == (measure.n is None), name


def test_images_that_were_learned_are_found_among_the_training_images(full: EvaluationResult) -> None:
    """Here the training images are those under evaluation: each is its own nearest neighbour, no synthetic patient is."""
    assert value(full, "synthetic.nearest.held_out") == pytest.approx(0, abs=1e-6)
    assert value(full, "synthetic.nearest.least") > 0.01


def test_a_layer_acts_inside_the_lungs(full: EvaluationResult) -> None:
    assert value(full, "causal.outside_share") == pytest.approx(0, abs=0.01)


def facts(sample: Sample) -> tuple[object, ...]:
    known = {name: value for name, value in sample.values.items() if value == value}
    return sample.record.path, sample.record.source, sample.record.label, sample.place, sample.called, known


def test_a_result_comes_back_from_disk(full: EvaluationResult, tmp_path: Path) -> None:
    full.save(tmp_path / "out")
    json.loads((tmp_path / "out" / "measures.json").read_text(), parse_constant=pytest.fail)
    back = EvaluationResult.load(tmp_path / "out")
    assert back.measures == full.measures
    assert back.provenance == full.provenance
    assert [facts(sample) for sample in back.samples] == [facts(sample) for sample in full.samples]
    (tmp_path / "out" / "measures.json").write_text('{"schema_version": 99}')
    with pytest.raises(DataError, match=r"measures\.json"):
        EvaluationResult.load(tmp_path / "out")


def test_the_result_depends_neither_on_the_batch_size_nor_on_the_run(
    known: SimpleNamespace, dataset: Dataset, threshold: float
) -> None:
    target = brightness(threshold)
    first, second = (
        evaluate(Models(known.generator, target, known.lungs), dataset, Options(bootstrap=10, codes=2, limit=8, batch_size=size))
        for size in (3, 8)
    )
    assert len(first.samples) == 8
    assert set(first.measures) == set(second.measures)
    for name, measure in first.measures.items():
        assert measure.value == pytest.approx(second.measures[name].value, abs=1e-4), name


def test_a_constant_target_never_flips_and_has_no_monotonicity(known: SimpleNamespace, dataset: Dataset) -> None:
    target = ConstantTarget(0.3, positive=("covid",), classes=("negative", "covid"))
    result = evaluate(
        Models(known.generator, target, known.lungs, {"itself": target}), dataset, Options(bootstrap=10, codes=2, limit=6)
    )
    assert value(result, "flip.negative") == 0
    assert value(result, "monotonicity.never_crosses") == 1
    for name in ("monotonicity.rho", "crossing.lambda", "heal.fall", "flip.healed", "persistence[blur]", "causal.outside_share"):
        assert result.measures[name].value is None, name
        assert result.measures[name].reason, name
    assert result.measures["transfer.minus_pgd"].reason == "the target has no gradient"
    assert result.measures["synthetic"].value is None


def test_a_direction_that_no_input_takes_is_null_with_its_reason(known: SimpleNamespace, dataset: Dataset) -> None:
    target = ConstantTarget(0.9, positive=("covid",), classes=("negative", "covid"))
    result = evaluate(
        Models(known.generator, target, known.lungs, {"other": target}), dataset, Options(bootstrap=10, codes=2, limit=4)
    )
    assert value(result, "flip.healed") == 0
    for name in ("flip.negative", "transfer[other]"):
        assert result.measures[name] == Measure.missing("the target calls no image negative")


def test_a_dataset_without_images_is_refused(known: SimpleNamespace, dataset: Dataset) -> None:
    nothing = dataset.where(lambda _: False)
    with pytest.raises(DataError, match="got none"):
        evaluate(Models(known.generator, brightness(0.5), known.lungs), nothing)
    with pytest.raises(DataError, match="got none"):
        classification(brightness(0.5), nothing, known.lungs)


def test_without_another_patient_with_the_disease_there_is_no_layer(
    known: SimpleNamespace, dataset: Dataset, threshold: float
) -> None:
    healthy = dataset.where(lambda record: record.label == "normal")
    result = evaluate(Models(known.generator, brightness(threshold), known.lungs), healthy, Options(bootstrap=10))
    assert result.measures["flip.negative"] == Measure.missing("no other patient is labelled positive")


def test_the_report_of_a_target_knows_labels_and_rendered_opacities(
    known: SimpleNamespace, dataset: Dataset, threshold: float
) -> None:
    measures = classification(brightness(threshold), dataset, known.lungs, n_boot=20, batch_size=7).measures
    truth = [record.label == "covid" for record in dataset.records]
    images = dataset.batch().images
    called = (brightness(threshold).probability(images) >= 0.5).tolist()
    assert measures["accuracy"].value == pytest.approx(sum(a == b for a, b in zip(truth, called, strict=True)) / len(truth))
    assert measures["opacity_probe.rises"].value == 1
    assert measures["opacity_probe.rises"].n == sum(not a and not b for a, b in zip(truth, called, strict=True))


def test_the_report_says_why_there_is_no_probe(known: SimpleNamespace, dataset: Dataset) -> None:
    measures = classification(brightness(-1.0), dataset, known.lungs, n_boot=20).measures
    assert measures["opacity_probe.rises"].value is None
    assert "no image negative that is labelled so" in measures["opacity_probe.slope"].reason


def test_sets_that_are_none_or_lack_their_model_are_refused(known: SimpleNamespace, dataset: Dataset) -> None:
    target = brightness(0.5)
    with pytest.raises(ValueError, match="expected measures of classifier, reader, counterfactual, got speed"):
        evaluate(Models(known.generator, target, known.lungs), dataset, measures=("speed",))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected a generator"):
        evaluate(Models(None, target, known.lungs), dataset)
    with pytest.raises(ValueError, match="expected a target"):
        evaluate(Models(known.generator, None, known.lungs), dataset, measures=("classifier",))
    with pytest.raises(ValueError, match="expected strengths that rise from 0"):
        Options(strengths=(0.0, 1.0, 0.5))


def test_all_sets_at_once_are_each_alone(known: SimpleNamespace, dataset: Dataset, threshold: float) -> None:
    """To the bit: what is shared is the same."""
    models, options = Models(known.generator, brightness(threshold), known.lungs), Options(bootstrap=10, codes=2, limit=12)
    together = evaluate(models, dataset, options, measures=("classifier", "reader", "counterfactual"))
    for name in ("classifier", "reader"):
        alone = evaluate(models, dataset, options, measures=(name,)).measures  # type: ignore[arg-type]
        asked = [key for key in alone if not key.startswith("severity.p")]  # of p, which the reader alone has not
        assert {key: together.measures[key] for key in asked} == {key: alone[key] for key in asked}
    assert together.confusion is not None


def test_a_measure_that_somebody_registers_is_computed(
    known: SimpleNamespace, dataset: Dataset, threshold: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert registry.entries()
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    monkeypatch.setattr(registry, "_computations", dict(registry._computations))

    @registry.computes(registry.Entry("largest", "largest change of a pixel", registry.AMOUNT, "max", better="lower"))
    def largest(change: Change) -> Tensor:
        return (change.counterfactual - change.images).abs().amax((1, 2, 3))

    models = Models(known.generator, brightness(threshold), known.lungs)
    found = evaluate(models, dataset, Options(bootstrap=10, codes=2, limit=8))
    for name in ("largest", "largest.healed"):
        values = [sample[name] for sample in found.samples if name in sample.values]
        assert found.measures[name].value == max(values) > 0
