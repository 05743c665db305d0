"""Evaluating a generator, and a target under it: one row of numbers a sample, and measures with intervals made of the rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from gan_explain.counterfactual.synthetic import StructureNetwork
from gan_explain.data import Dataset
from gan_explain.evaluate.donors import PatientLayers
from gan_explain.evaluate.features import Extractor, Features, judge_features, realism
from gan_explain.evaluate.inputs import ask, is_positive, read_batches, seed_of
from gan_explain.evaluate.layers import LayerSets, training_layers
from gan_explain.evaluate.planted import answers_to_doses, dosed, is_healthy, rendered
from gan_explain.evaluate.result import Aggregator, EvaluationResult
from gan_explain.evaluate.samples import logits_along
from gan_explain.evaluate.setup import STRENGTHS, Part, Setup, from_patients, healed, read_part
from gan_explain.evaluate.sides import asked_rows, begin_rows, of_negatives, of_positives, of_some_negatives, write
from gan_explain.evaluate.synthetic import synthetic_patients
from gan_explain.evaluate.table import Row
from gan_explain.evaluate.totals import columns, relations
from gan_explain.metrics.measure import Measure
from gan_explain.metrics.nulls import shuffled_target
from gan_explain.metrics.proximity import Perceptual
from gan_explain.targets import ModuleTarget, device_of
from gan_explain.types import DataError, Generator, Segmenter, Target

SOME = 32  # patients on whom dear measures are taken


@dataclass
class Gathered:
    """What is kept of the batches: rows of numbers, features for realism, and layers of patients and of the prior."""

    rows: list[Row] = field(default_factory=list)
    features: Features = field(default_factory=Features)
    layers: LayerSets = field(default_factory=LayerSets)


def evaluate(
    generator: Generator,
    target: Target,
    dataset: Dataset,
    segmenter: Segmenter,
    *,
    judges: Mapping[str, Target] | None = None,
    synthesis: StructureNetwork | None = None,
    extractor: Extractor | None = None,
    perceptual: Perceptual | None = None,
    strengths: Sequence[float] = STRENGTHS,
    label: str = "",
    n_boot: int = 1000,
    seed: int = 0,
    limit: int | None = None,
    codes: int = 16,
    batch_size: int = 16,
    synthetic: int = 200,
    train: Dataset | None = None,
) -> EvaluationResult:
    """Take every measure of docs/method.md on a dataset (a split, opened at the generator's resolution).

    The lungs are read once from every input and held. An input that the target calls negative gets the layer of another patient
    of the dataset who is labelled positive, drawn by name, and beside it one of the prior (of `label`; default: the generator's
    first); one that it calls positive is healed. `limit` takes so many images, drawn by seed; `codes` are laid on each of some
    patients for diversity; `synthetic` patients are drawn from `synthesis`; they and the prior's layers are held against
    `train`, the images learned from. Without an `extractor`, the first judge's features serve for realism. A measure that cannot
    be taken is {"value": None, "reason": ...}. DataError for a dataset without images.
    """
    dataset = limited(dataset, limit, seed)
    label = label or generator.labels[0]
    shuffled = shuffled_target(target, seed) if isinstance(target, ModuleTarget) else None
    donors = PatientLayers(generator, dataset, target, segmenter, seed)
    setup = Setup(
        generator, target, segmenter, donors, dict(judges or {}), tuple(strengths), seed, label, perceptual, shuffled
    )  # fmt: skip
    extractor = extractor or judge_features(setup.judges)
    share = SOME / max(1, len({record.patient_id for record in dataset.records}))
    gathered = Gathered()
    for batch in read_batches(dataset, segmenter, device_of(generator), batch_size):
        part = read_part(generator, batch, ask(target, batch.images, batch.lungs))
        called = part.p >= target.operating_point
        rows = asked_rows(part, called)
        _measure_reader(generator, part, rows, gathered, seed)
        _measure_answers(setup, part, called, rows, gathered, extractor, codes, share)
        gathered.rows += rows
    total = Aggregator(gathered.rows, n_boot, seed)
    measures = _of_reader(generator, dataset, gathered, total, segmenter, train)
    measures |= _reasons(setup, extractor, gathered)
    if synthesis is None:
        measures["synthetic"] = Measure.missing("no generator of synthetic patients was given")
    else:
        measures |= synthetic_patients(setup, synthesis, gathered.features, extractor, synthetic, n_boot, train)
    measures |= {f"diversity.placement.{name}": gathered.features.placement(name) for name in ("added", "removed")}
    if extractor is not None:
        measures |= realism(gathered.features, extractor, seed)
    provenance = {
        "data": dataset.fingerprint(), "images": len(dataset), "seed": seed, "strengths": list(setup.strengths), "label": label,
        "positive": list(target.positive), "operating_point": target.operating_point, "judges": list(setup.judges),
        "resolution": generator.resolution, "bootstrap": n_boot,
    }  # fmt: skip
    return EvaluationResult(dict(sorted(measures.items())), gathered.rows, provenance)


def evaluate_reader(
    generator: Generator,
    dataset: Dataset,
    segmenter: Segmenter,
    *,
    n_boot: int = 1000,
    seed: int = 0,
    limit: int | None = None,
    batch_size: int = 16,
    train: Dataset | None = None,
) -> EvaluationResult:
    """The measures of `evaluate` for which no target is asked: what is read of rendered disease and within each source, and how
    the prior's layers compare with real ones. DataError for a dataset without images."""
    dataset = limited(dataset, limit, seed)
    gathered = Gathered()
    for batch in read_batches(dataset, segmenter, device_of(generator), batch_size):
        part = read_part(generator, batch, torch.full((len(batch),), math.nan))
        rows = begin_rows(part)
        _measure_reader(generator, part, rows, gathered, seed)
        gathered.rows += rows
    measures = _of_reader(generator, dataset, gathered, Aggregator(gathered.rows, n_boot, seed), segmenter, train)
    provenance = {
        "data": dataset.fingerprint(), "images": len(dataset), "seed": seed, "resolution": generator.resolution,
        "bootstrap": n_boot,
    }  # fmt: skip
    return EvaluationResult(dict(sorted(measures.items())), gathered.rows, provenance)


def limited(dataset: Dataset, limit: int | None, seed: int) -> Dataset:
    """At most `limit` images, drawn by name. DataError where there are none."""
    if not len(dataset):
        raise DataError(f"{dataset.root}: expected images to evaluate on, got none")
    if limit is None or limit >= len(dataset):
        return dataset
    order = sorted(range(len(dataset)), key=lambda i: seed_of(dataset.records[i].path, seed))
    kept = {dataset.records[i].path for i in order[:limit]}
    return dataset.where(lambda record: record.path in kept)


def _measure_reader(generator: Generator, part: Part, rows: list[Row], gathered: Gathered, seed: int) -> None:
    """What needs no target."""
    healthy = part.where(torch.tensor([is_healthy(record) for record in part.batch.records]))
    if len(healthy):
        write(rows, healthy, rendered(generator, healthy, seed))
    gathered.layers.add(generator, part, seed)


def _of_reader(
    generator: Generator, dataset: Dataset, gathered: Gathered, total: Aggregator, segmenter: Segmenter, train: Dataset | None
) -> dict[str, Measure]:
    known = training_layers(generator, train, segmenter, total.seed) if train is not None and len(train) else None
    return {**columns(total), **relations(total), **gathered.layers.measures(known, total.n_boot, total.seed)}


def _measure_answers(
    setup: Setup,
    part: Part,
    called: torch.Tensor,
    rows: list[Row],
    gathered: Gathered,
    extractor: Extractor | None,
    codes: int,
    share: float,
) -> None:
    """What the target makes of a batch, of which it calls some positive (N,) bool."""
    features = gathered.features
    truth = torch.tensor([is_positive(record, setup.target) for record in part.batch.records])
    negatives, positives = part.where(~called).with_donors(setup.donors), part.where(called)
    if len(negatives):
        change = from_patients(setup, negatives)
        logits = logits_along(setup, negatives, negatives.images, change.tau)
        write(rows, negatives, of_negatives(setup, negatives, change, logits))
        features.add(extractor, "counterfactual negative", change.counterfactual, negatives.lungs)
        features.add_layer("added", change.tau, negatives.lungs)
        few = negatives.where(torch.tensor([seed_of(name, setup.seed) < share * 2**63 for name in negatives.patients]))
        if len(few):
            write(rows, few, of_some_negatives(setup, few, from_patients(setup, few), codes))
    if len(positives):
        change = healed(positives)
        write(rows, positives, of_positives(setup, positives, change))
        features.add(extractor, "counterfactual healed", change.counterfactual, positives.lungs)
        features.add_layer("removed", positives.layer, positives.lungs)
    for name, chosen in (("real negative", ~truth), ("real positive", truth)):
        some = part.where(chosen)
        features.add(extractor, name, some.images, some.lungs)
    clean = part.where(~called & ~truth)
    if len(clean):
        write(rows, clean, dosed(answers_to_doses(setup, clean)))


def _reasons(setup: Setup, extractor: Extractor | None, gathered: Gathered) -> dict[str, Measure]:
    """Measures that could not be taken, each with its reason."""
    calls = {row["called"] for row in gathered.rows}
    missing: dict[str, Measure] = {}
    if setup.perceptual is None:
        missing["proximity.lpips"] = Measure.missing("no local weights of an LPIPS backbone were given")
    if not setup.judges:
        missing["transfer"] = Measure.missing("no judges were given")
    elif not setup.target.differentiable:
        missing["transfer.minus_pgd"] = Measure.missing("the target has no gradient")
    if extractor is None:
        missing["realism"] = Measure.missing("neither a feature extractor nor a judge was given")
    if not any("flip.negative" in row for row in gathered.rows):
        calls_none = "negative" not in calls
        reason = "the target calls no image negative" if calls_none else "no other patient is labelled positive"
        names = ("flip.negative", "rise", *(f"transfer.{judge}" for judge in setup.judges))
        missing |= {name: Measure.missing(reason) for name in names}
    if "positive" not in calls:
        missing |= {name: Measure.missing("the target calls no image positive") for name in ("flip.healed", "heal.fall")}
    return missing
