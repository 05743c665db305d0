"""Evaluating a generator against a target: one row of numbers a sample, and measures with intervals made of the rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from gan_explain.data import Batch, Dataset
from gan_explain.evaluate.features import HELD_OUT, Extractor, Features, realism, thumbnail
from gan_explain.evaluate.inputs import ask, device_of, is_positive, read_batches, seed_of
from gan_explain.evaluate.planted import dosed, read_off, rendered
from gan_explain.evaluate.result import Aggregator, EvaluationResult, Row, Statistic
from gan_explain.evaluate.samples import (
    Columns,
    anatomy,
    causes,
    nearness,
    nulls,
    pasted,
    persistence,
    rebuilt,
    response,
    taken_back,
    transfer,
    validity,
    variety,
)
from gan_explain.evaluate.setup import STRENGTHS, Change, Part, Setup, added, healed, read_part
from gan_explain.evaluate.synthetic import synthetic_patients
from gan_explain.metrics.aggregate import Measure, null
from gan_explain.metrics.nulls import shuffled_target
from gan_explain.metrics.proximity import Perceptual
from gan_explain.metrics.realism import Penultimate
from gan_explain.nets.synthesis import StructureGenerator
from gan_explain.targets import ModuleTarget
from gan_explain.types import DataError, Generator, Segmenter, Target

SOME = 32  # patients on whom dear measures are taken
STATISTICS: dict[str, Statistic] = {
    "monotonicity.rho": np.median,
    "crossing.lambda": np.median,
    "crossing.slope": np.median,
    "outside.change": np.max,
    "outside.change.healed": np.max,
}
RAW = {"p", "p_counterfactual", "severity", "strength", "veils.planted", "veils.recovered"}  # not measures by themselves
RAW |= {"load.removed", "load.added", "load.taken_back"}


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
    dataset = _limited(dataset, limit, seed)
    if not len(dataset):
        raise DataError(f"{dataset.root}: expected images to evaluate on, got none")
    label = label or _first_label(generator)
    shuffled = shuffled_target(target, seed) if isinstance(target, ModuleTarget) else None
    setup = Setup(generator, target, segmenter, dict(judges or {}), tuple(strengths), seed, label, perceptual, shuffled)
    extractor = extractor or _judge_features(setup.judges)
    share = SOME / len({record.patient_id for record in dataset.records})
    gathered = Gathered()
    for batch in read_batches(dataset, segmenter, device_of(generator), batch_size):
        _measure_batch(setup, batch, gathered, extractor, codes, share)
    total = Aggregator(gathered.rows, n_boot, seed)
    measures = {**_columns(total), **_relations(total), **_reasons(setup, extractor, gathered)}
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


def _limited(dataset: Dataset, limit: int | None, seed: int) -> Dataset:
    if limit is None or limit >= len(dataset):
        return dataset
    order = sorted(range(len(dataset)), key=lambda i: seed_of(dataset.records[i].path, seed))
    kept = {dataset.records[i].path for i in order[:limit]}
    return dataset.where(lambda record: record.path in kept)


def _first_label(generator: Generator) -> str:
    labels = getattr(getattr(generator, "config", None), "labels", ("covid",))
    return str(labels[0])


def _judge_features(judges: Mapping[str, Target]) -> Extractor | None:
    """Features of the first judge that is one of our adapters: a network of the field that is not the one under explanation."""
    for name, judge in judges.items():
        if isinstance(judge, ModuleTarget):
            return Penultimate(judge, name)
    return None


def _measure_batch(setup: Setup, batch: Batch, gathered: Gathered, extractor: Extractor | None, codes: int, share: float) -> None:
    part = read_part(setup, batch, ask(setup.target, batch.images, batch.lungs))
    called = part.p >= setup.target.operating_point
    truth = torch.tensor([is_positive(record, setup.target) for record in batch.records])
    rows: list[Row] = [
        {"path": r.path, "patient_id": r.patient_id, "source": r.source, "label": r.label, "called": ("negative", "positive")[c]}
        for r, c in zip(batch.records, called.tolist(), strict=True)
    ]
    _write(rows, part, {"p": part.p, **read_off(part)})
    negatives, positives = part.where(~called), part.where(called)
    if len(negatives):
        change = added(setup, negatives)
        _write(rows, negatives, _negative(setup, negatives, change))
        gathered.features.add(extractor, "counterfactual negative", change.counterfactual, negatives.lungs)
        gathered.features.add_layer("added", change.tau, negatives.lungs)
        few = torch.tensor([seed_of(name, setup.seed) < share * 2**63 for name in negatives.patients])
        _write(rows, negatives.where(few), _dear(setup, negatives.where(few), codes))
    if len(positives):
        change = healed(setup, positives)
        _write(rows, positives, _positive(setup, positives, change))
        gathered.features.add(extractor, "counterfactual healed", change.counterfactual, positives.lungs)
        gathered.features.add_layer("removed", positives.removal.tau, positives.lungs)
    for name, chosen in (("real negative", ~truth), ("real positive", truth)):
        some = part.where(chosen)
        gathered.features.add(extractor, name, some.images, some.lungs)
    real = part.where(~truth)
    gathered.features.add(thumbnail, HELD_OUT, real.images, real.lungs)
    clean = part.where(~called & ~truth)
    if len(clean):
        _write(rows, clean, {**dosed(setup, clean), **rendered(setup, clean)})
    gathered.rows += rows


def _negative(setup: Setup, part: Part, change: Change) -> Columns:
    """Everything measured of an input called negative."""
    return {
        **validity(setup, part, change, "negative"),
        **response(setup, part, change),
        **nearness(setup, part, change),
        **anatomy(setup, part, change),
        **persistence(setup, part, change, ""),
        **transfer(setup, part, change),
        **taken_back(setup, part, change),
        **causes(setup, part, change),
        **nulls(setup, part, change),
    }


def _dear(setup: Setup, part: Part, codes: int) -> Columns:
    """What takes many answers for each input, measured of some called negative."""
    return {**variety(setup, part, codes), **pasted(setup, part, added(setup, part))} if len(part) else {}


def _positive(setup: Setup, part: Part, change: Change) -> Columns:
    """Everything measured of an input called positive."""
    return {
        **validity(setup, part, change, "healed"),
        **rebuilt(setup, part, change),
        **causes(setup, part, change, ".healed"),
        **nearness(setup, part, change, ".healed"),
        **anatomy(setup, part, change, ".healed"),
        **persistence(setup, part, change, ".healed"),
    }


def _write(rows: list[Row], part: Part, columns: Columns) -> None:
    for name, values in columns.items():
        for row, value in zip(part.rows.tolist(), values.float().cpu().tolist(), strict=True):
            rows[row][name] = value


def _columns(total: Aggregator) -> dict[str, Measure]:
    """A measure of every column that is one."""
    names = dict.fromkeys(name for row in total.rows for name, value in row.items() if not isinstance(value, str))
    return {name: total.of(name, STATISTICS.get(name, np.mean)) for name in names if name not in RAW}


def _relations(total: Aggregator) -> dict[str, Measure]:
    """Rank correlations of what was found with what is known to be there."""
    measures = {"veils.load_spearman": total.correlation("veils.recovered", "veils.planted")}
    severity = total.column("severity")
    if not np.isfinite(severity).any():
        return {**measures, "severity": null("the dataset has no severity")}
    ill = Aggregator([row for row in total.rows if row.get("severity", math.nan) > 0], total.n_boot, total.seed)
    for name, column in (("load", "load.removed"), ("strength", "strength"), ("p", "p")):
        measures[f"severity.{name}"] = ill.correlation(column, "severity")
        measures[f"severity.{name}.with_healthy"] = total.correlation(column, "severity")
    return measures


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
