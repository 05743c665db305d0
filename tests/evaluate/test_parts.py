"""Parts of an evaluation: layers that stay with their patient, what is compared with what, masks that move along."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from gan_explain.counterfactual.disentangle import laid
from gan_explain.data import Dataset
from gan_explain.evaluate.donors import LEAST_LOAD, PatientLayers
from gan_explain.evaluate.inputs import read_batches, seed_of
from gan_explain.evaluate.samples import exact_one, exact_zero, healing, persistence
from gan_explain.evaluate.setup import Change, Part, Setup, from_patients, from_prior, healed, read_part
from gan_explain.lungs import opacity_load
from gan_explain.metrics.nulls import ConstantTarget
from gan_explain.metrics.persistence import shift
from gan_explain.nets.generator import Disentangler, GeneratorConfig
from gan_explain.pixels import quantize16


class LungsOnly(ConstantTarget):
    """p is the brightness inside the mask it is given, and nothing else."""

    def probability(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        assert lungs is not None
        return (images * lungs).sum((1, 2, 3)) / lungs.sum((1, 2, 3))


TARGET = ConstantTarget(classes=("normal", "covid"), positive=("covid",))


@pytest.fixture(scope="module")
def dataset(known: SimpleNamespace) -> Dataset:
    return known.patients(12)


@pytest.fixture(scope="module")
def setup(known: SimpleNamespace, dataset: Dataset) -> Setup:
    return Setup(known.generator, TARGET, known.lungs, PatientLayers(known.generator, dataset, TARGET, known.lungs, 0))


def part_of(known: SimpleNamespace, dataset: Dataset, generator: object = None) -> Part:
    batch = next(read_batches(dataset, known.lungs, torch.device("cpu"), len(dataset)))
    return read_part(generator or known.generator, batch, torch.zeros(len(dataset)))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def part(known: SimpleNamespace, dataset: Dataset) -> Part:
    return part_of(known, dataset)


def test_a_seed_stays_with_its_patient_and_differs_from_any_other() -> None:
    seeds = {seed_of(patient, seed) for patient in ("a", "b", "c") for seed in (0, 1)}
    assert len(seeds) == 6
    assert seed_of("a", 0) == seed_of("a", 0)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_layers_depend_on_the_patient_and_not_on_the_batch(setup: Setup, part: Part) -> None:
    for change in (from_patients, from_prior):
        together = change(setup, part).tau
        alone = change(setup, part.where(torch.arange(12) == 4)).tau
        torch.testing.assert_close(together[4:5], alone)
        assert not torch.allclose(together[0], together[4])


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


def test_a_donors_layer_arrives_as_it_was(known: SimpleNamespace, setup: Setup, dataset: Dataset, part: Part) -> None:
    """All have the same lungs, so a moved layer is the donor's own."""
    tau = from_patients(setup, part).tau
    donors = [setup.donors._donor(record) for record in dataset.records]
    torch.testing.assert_close(opacity_load(tau, part.lungs), opacity_load(part.layer[donors], part.lungs), rtol=0.05, atol=1e-3)


def test_a_negative_is_compared_with_itself(setup: Setup, part: Part) -> None:
    change = from_patients(setup, part)
    assert torch.equal(change.reference, part.images)
    assert torch.equal(change.counterfactual, laid(part.images, change.tau))


def test_a_healed_positive_is_compared_with_itself(part: Part, known: SimpleNamespace) -> None:
    change = healed(part)
    assert torch.equal(change.reference, part.images)
    assert torch.equal(change.counterfactual, quantize16(part.structure))
    assert float((change.counterfactual - known.ground).abs().max()) < 0.01


def test_both_ends_are_exact_for_any_weights(known: SimpleNamespace, dataset: Dataset) -> None:
    torch.manual_seed(0)
    config = GeneratorConfig(resolution=64, grid=32, backbone="small", width=8, layer_width=8, code_dim=8)
    generator = Disentangler(config).requires_grad_(False).eval()
    part = part_of(known, dataset, generator)
    assert float(part.layer.max()) > 0.01
    assert exact_one(part)["exact.one"].tolist() == [0.0] * 12
    assert exact_one(part)["clamped"].tolist() == [0.0] * 12
    assert exact_zero(part, Change(part.images, part.images, part.layer))["exact.zero"].tolist() == [0.0] * 12


def test_disease_taken_off_is_told_from_a_random_layer_taken_off(known: SimpleNamespace, setup: Setup, part: Part) -> None:
    """p is the brightness in the lungs: both take the same load off, bounded by what there is."""
    ill = part.where(torch.arange(12) % 2 == 1)
    target = LungsOnly(operating_point=0.35, uses_lungs=True)
    seeing = Setup(known.generator, target, known.lungs, setup.donors)
    p = target.probability(ill.images, ill.lungs)
    found = healing(seeing, Part(ill.batch, ill.rows, ill.images, ill.lungs, ill.layer, ill.structure, p), healed(ill))
    assert found["heal.falls"].all()
    torch.testing.assert_close(found["heal.fall"] - found["null.random.fall"], found["heal.excess"])
    assert bool((found["null.random.fall"] > 0).all())


def test_a_shifted_image_is_read_through_a_shifted_mask(part: Part, setup: Setup, known: SimpleNamespace) -> None:
    """Bright lungs on a dark ground, 2 px to the right: through the old mask p falls below p*, through the moved one it stays."""
    target = LungsOnly(operating_point=0.95, uses_lungs=True)
    bright = 0.99 * part.lungs
    seeing = Setup(known.generator, target, known.lungs, setup.donors)
    found = persistence(seeing, part, Change(part.images, bright, bright), "")
    assert float(target.probability(shift(bright), part.lungs)[0]) < 0.95
    assert found["persistence.shift"].tolist() == [1.0] * len(part)
