"""Evaluating a generator against a target: one row of numbers a sample, and measures with intervals made of the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from gan_explain.data import Batch, Dataset
from gan_explain.evaluate.features import HELD_OUT, Extractor, Features, judge_features, realism, thumbnail
from gan_explain.evaluate.inputs import ask, is_positive, read_batches, seed_of
from gan_explain.evaluate.planted import answers_to_doses, dosed, rendered
from gan_explain.evaluate.result import Aggregator, EvaluationResult
from gan_explain.evaluate.samples import logits_along
from gan_explain.evaluate.setup import STRENGTHS, Setup, added, healed, read_part
from gan_explain.evaluate.sides import begin_rows, of_negatives, of_positives, of_some_negatives, write
from gan_explain.evaluate.synthetic import synthetic_patients
from gan_explain.evaluate.table import Row
from gan_explain.evaluate.totals import columns, relations
from gan_explain.metrics.aggregate import Measure, null
from gan_explain.metrics.nulls import shuffled_target
from gan_explain.metrics.proximity import Perceptual
from gan_explain.nets.synthesis import StructureGenerator
from gan_explain.targets import ModuleTarget, device_of
from gan_explain.types import DataError, Generator, Segmenter, Target

SOME = 32  # patients on whom dear measures are taken


@dataclass
class Gathered:
    """What is kept of the batches: rows of numbers, and features for realism."""

    rows: list[Row] = field(default_factory=list)
    features: Features = field(default_factory=Features)


def evaluate(
    generator: Generator,
    target: Target,
    dataset: Dataset,
    segmenter: Segmenter,
    *,
    judges: Mapping[str, Target] | None = None,
    synthesis: StructureGenerator | None = None,
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

    The lungs are read once from every input and held. An input that the target calls negative is made positive by a code of the
    prior (of `label`; default: the generator's first), drawn by patient; one that it calls positive is healed. `limit` takes so
    many images, drawn by seed; `codes` are laid on each of some patients for diversity; `synthetic` patients are drawn from
    `synthesis` and held against `train`, the images it learned from. Without an `extractor`, the first judge's features serve for
    realism. A measure that cannot be taken is {"value": None, "reason": ...}. DataError for a dataset without images.
    """
    dataset = limited(dataset, limit, seed)
    if not len(dataset):
        raise DataError(f"{dataset.root}: expected images to evaluate on, got none")
    label = label or first_label(generator)
    shuffled = shuffled_target(target, seed) if isinstance(target, ModuleTarget) else None
    setup = Setup(generator, target, segmenter, dict(judges or {}), tuple(strengths), seed, label, perceptual, shuffled)
    extractor = extractor or judge_features(setup.judges)
    share = SOME / len({record.patient_id for record in dataset.records})
    gathered = Gathered()
    for batch in read_batches(dataset, segmenter, device_of(generator), batch_size):
        _measure_batch(setup, batch, gathered, extractor, codes, share)
    total = Aggregator(gathered.rows, n_boot, seed)
    measures = {**columns(total), **relations(total), **_reasons(setup, extractor, gathered)}
    if synthesis is None:
        measures["synthetic"] = null("no generator of synthetic patients was given")
    else:
        measures.update(synthetic_patients(setup, synthesis, gathered.features, extractor, synthetic, n_boot, train))
    measures.update({f"diversity.placement.{name}": gathered.features.placement(name) for name in ("added", "removed")})
    if extractor is not None:
        measures.update(realism(gathered.features, extractor, seed))
    provenance = {
        "data": dataset.fingerprint(), "images": len(dataset), "seed": seed, "strengths": list(setup.strengths), "label": label,
        "positive": list(target.positive), "operating_point": target.operating_point, "judges": list(setup.judges),
        "confine": generator.confine, "resolution": generator.resolution, "bootstrap": n_boot,
    }  # fmt: skip
    return EvaluationResult(dict(sorted(measures.items())), gathered.rows, provenance)


def limited(dataset: Dataset, limit: int | None, seed: int) -> Dataset:
    if limit is None or limit >= len(dataset):
        return dataset
    order = sorted(range(len(dataset)), key=lambda i: seed_of(dataset.records[i].path, seed))
    kept = {dataset.records[i].path for i in order[:limit]}
    return dataset.where(lambda record: record.path in kept)


def first_label(generator: Generator) -> str:
    labels = getattr(getattr(generator, "config", None), "labels", ("covid",))
    return str(labels[0])


def _measure_batch(setup: Setup, batch: Batch, gathered: Gathered, extractor: Extractor | None, codes: int, share: float) -> None:
    part = read_part(setup, batch, ask(setup.target, batch.images, batch.lungs))
    called = part.p >= setup.target.operating_point
    truth = torch.tensor([is_positive(record, setup.target) for record in batch.records])
    rows = begin_rows(part, called)
    negatives, positives = part.where(~called), part.where(called)
    if len(negatives):
        change = added(setup, negatives)
        logits = logits_along(setup, negatives, negatives.images, change.tau)
        write(rows, negatives, of_negatives(setup, negatives, change, logits))
        gathered.features.add(extractor, "counterfactual negative", change.counterfactual, negatives.lungs)
        gathered.features.add_layer("added", change.tau, negatives.lungs)
        few = torch.tensor([seed_of(name, setup.seed) < share * 2**63 for name in negatives.patients])
        write(rows, negatives.where(few), of_some_negatives(setup, negatives.where(few), codes))
    if len(positives):
        change = healed(setup, positives)
        write(rows, positives, of_positives(setup, positives, change))
        gathered.features.add(extractor, "counterfactual healed", change.counterfactual, positives.lungs)
        gathered.features.add_layer("removed", positives.removal.tau, positives.lungs)
    for name, chosen in (("real negative", ~truth), ("real positive", truth)):
        some = part.where(chosen)
        gathered.features.add(extractor, name, some.images, some.lungs)
    real = part.where(~truth)
    gathered.features.add(thumbnail, HELD_OUT, real.images, real.lungs)
    clean = part.where(~called & ~truth)
    if len(clean):
        write(rows, clean, {**dosed(answers_to_doses(setup, clean)), **rendered(setup, clean)})
    gathered.rows += rows


def _reasons(setup: Setup, extractor: Extractor | None, gathered: Gathered) -> dict[str, Measure]:
    """Measures that could not be taken, each with its reason."""
    calls = {row["called"] for row in gathered.rows}
    missing = {}
    if setup.perceptual is None:
        missing["proximity.lpips"] = null("no local weights of an LPIPS backbone were given")
    if not setup.judges:
        missing["transfer"] = null("no judges were given")
    elif not setup.target.differentiable:
        missing["transfer.minus_pgd"] = null("the target has no gradient")
    if extractor is None:
        missing["realism"] = null("neither a feature extractor nor a judge was given")
    if "negative" not in calls:
        for name in ("flip.negative", *(f"transfer.{judge}" for judge in setup.judges)):
            missing[name] = null("the target calls no image negative")
    if "positive" not in calls:
        missing["flip.healed"] = null("the target calls no image positive")
    return missing
