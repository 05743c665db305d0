"""Parts of an evaluation: layers that stay with their patient, what is compared with what, masks that move along."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from gan_explain.counterfactual.disentangle import laid
from gan_explain.data import Dataset
from gan_explain.evaluate.donors import PatientLayers
from gan_explain.evaluate.engine import Examined, prepare, read_part
from gan_explain.evaluate.inputs import read_batch, read_batches
from gan_explain.evaluate.sets import counterfactuals
from gan_explain.lungs import opacity_load
from gan_explain.metrics.change import Change, Models, Part, Settings
from gan_explain.metrics.exact import exact_one, exact_zero
from gan_explain.metrics.inputs import seed_of
from gan_explain.metrics.nulls import ConstantTarget
from gan_explain.metrics.persistence import persistence, shift
from gan_explain.metrics.reader import LEAST_LOAD
from gan_explain.metrics.response import healing
from gan_explain.nets.generator import Disentangler, GeneratorConfig
from gan_explain.pixels import quantize16
from gan_explain.types import Target


class LungsOnly(ConstantTarget):
    """p is the brightness inside the mask it is given, and nothing else."""

    def probability(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        assert lungs is not None
        return (images * lungs).sum((1, 2, 3)) / lungs.sum((1, 2, 3))


TARGET = ConstantTarget(classes=("normal", "covid"), positive=("covid",))


@pytest.fixture(scope="module")
def dataset(known: SimpleNamespace) -> Dataset:
    return known.patients(12)


def examined_of(known: SimpleNamespace, dataset: Dataset, target: Target = TARGET, places: list[int] | None = None) -> Examined:
    """Some samples of a dataset, whose positives are the donors."""
    models = Models(known.generator, target, known.lungs)
    engine = prepare(models, dataset, Settings(label="covid"), [])
    chosen = places or list(range(len(dataset)))
    batch = read_batch(dataset, chosen, known.lungs, torch.device("cpu"))
    return Examined(engine, read_part(models, batch), chosen)


def change_of(models: Models, part: Part, side: str, made: Tensor) -> Change:
    return Change(models, Settings(), side, part, part.structure, part.layer, made)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def examined(known: SimpleNamespace, dataset: Dataset) -> Examined:
    return examined_of(known, dataset)


@pytest.fixture(scope="module")
def part(examined: Examined) -> Part:
    return examined.part


def test_a_seed_stays_with_its_patient_and_differs_from_any_other() -> None:
    seeds = {seed_of(patient, seed) for patient in ("a", "b", "c") for seed in (0, 1)}
    assert len(seeds) == 6
    assert seed_of("a", 0) == seed_of("a", 0)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_layers_depend_on_the_patient_and_not_on_the_batch(known: SimpleNamespace, dataset: Dataset, examined: Examined) -> None:
    together, alone = examined.negative, examined_of(known, dataset, places=[4]).negative
    torch.testing.assert_close(together.tau[4:5], alone.tau)
    assert not torch.allclose(together.tau[0], together.tau[4])


def test_a_set_writes_the_rows_of_its_own_samples(known: SimpleNamespace, dataset: Dataset) -> None:
    few = examined_of(known, dataset, places=[2, 7])
    counterfactuals(few)
    assert [sample.place for sample in few.found.samples if "rise" in sample.values] == [2, 7]


def test_a_donor_is_another_patient_with_the_disease_and_a_layer(known: SimpleNamespace, dataset: Dataset) -> None:
    donors = PatientLayers(known.generator, dataset, TARGET, known.lungs, 0)
    for record in dataset.records:
        given = dataset.records[donors._donor(record)]
        assert given.label == "covid"
        assert given.patient_id != record.patient_id
        assert donors._load(donors._donor(record)) >= LEAST_LOAD
    again = PatientLayers(known.generator, dataset, TARGET, known.lungs, 0)
    assert [again._donor(r) for r in reversed(dataset.records)] == [donors._donor(r) for r in reversed(dataset.records)]
    alone = dataset.where(lambda record: record.patient_id in ("patient 0", "patient 1"))
    few = PatientLayers(known.generator, alone, TARGET, known.lungs, 0)
    assert [few.has(record) for record in alone.records] == [True, False]


def test_a_donors_layer_arrives_as_it_was(examined: Examined, dataset: Dataset, part: Part) -> None:
    """All have the same lungs, so a moved layer is the donor's own."""
    tau = examined.negative.tau
    donors = [examined.engine.donors._donor(record) for record in dataset.records]
    torch.testing.assert_close(opacity_load(tau, part.lungs), opacity_load(part.layer[donors], part.lungs), rtol=0.05, atol=1e-3)


def test_a_negative_is_compared_with_itself(examined: Examined) -> None:
    change = examined.negative
    assert torch.equal(change.start, change.images)
    assert torch.equal(change.counterfactual, laid(change.images, change.tau))


def test_a_healed_positive_is_compared_with_itself(known: SimpleNamespace, dataset: Dataset) -> None:
    change = examined_of(known, dataset, ConstantTarget(0.9, classes=("normal", "covid"), positive=("covid",))).healed
    assert torch.equal(change.start, change.part.structure)
    assert torch.equal(change.counterfactual, quantize16(change.part.structure))
    assert float((change.counterfactual - known.ground).abs().max()) < 0.01


def test_both_ends_are_exact_for_any_weights(known: SimpleNamespace, dataset: Dataset) -> None:
    torch.manual_seed(0)
    config = GeneratorConfig(resolution=64, grid=32, backbone="small", width=8, layer_width=8, code_dim=8)
    generator = Disentangler(config).requires_grad_(False).eval()
    models = Models(generator, TARGET, known.lungs)
    part = read_part(models, next(read_batches(dataset, known.lungs, torch.device("cpu"), len(dataset))))
    assert float(part.layer.max()) > 0.01
    found = exact_one(change_of(models, part, "healed", part.images))
    assert found["exact.one"].tolist() == [0.0] * 12
    assert found["clamped"].tolist() == [0.0] * 12
    assert exact_zero(change_of(models, part, "negative", part.images)).tolist() == [0.0] * 12


def test_disease_taken_off_is_told_from_a_random_layer_taken_off(known: SimpleNamespace, part: Part) -> None:
    """p is the brightness in the lungs: both take the same load off, bounded by what there is."""
    ill = part.where(torch.arange(12) % 2 == 1)
    target = LungsOnly(operating_point=0.35, uses_lungs=True)
    ill = replace(ill, p=target.probability(ill.images, ill.lungs))
    found = healing(change_of(Models(known.generator, target, known.lungs), ill, "healed", quantize16(ill.structure)))
    assert found["heal.falls"].all()
    torch.testing.assert_close(found["heal.fall"] - found["null.random.fall"], found["heal.excess"])
    assert bool((found["null.random.fall"] > 0).all())


def test_a_shifted_image_is_read_through_a_shifted_mask(part: Part, known: SimpleNamespace) -> None:
    """Bright lungs on a dark ground, 2 px to the right: through the old mask p falls below p*, through the moved one it stays."""
    target = LungsOnly(operating_point=0.95, uses_lungs=True)
    bright = 0.99 * part.lungs
    dark = replace(part, p=torch.zeros(len(part)))
    found = persistence(change_of(Models(known.generator, target, known.lungs), dark, "negative", bright))
    assert float(target.probability(shift(bright), part.lungs)[0]) < 0.95
    assert found["persistence[shift]"].tolist() == [1.0] * len(part)
