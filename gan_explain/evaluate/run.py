"""Evaluating a generator, a target, and the target under the generator: numbers of samples, and measures made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan_explain.counterfactual.synthetic import StructureNetwork
from gan_explain.data import Dataset, belongs
from gan_explain.evaluate.engine import Engine, prepare
from gan_explain.evaluate.features import extractor_name
from gan_explain.evaluate.gathered import Gathered
from gan_explain.evaluate.inputs import batched, limited
from gan_explain.evaluate.layers import training_layers
from gan_explain.evaluate.reasons import facts, missing
from gan_explain.evaluate.result import EvaluationResult
from gan_explain.evaluate.samples import Table
from gan_explain.evaluate.sets import PROBE, Name, chosen
from gan_explain.evaluate.synthetic import synthetic_patients
from gan_explain.evaluate.totals import calls, of_sets, relations
from gan_explain.labels import canonical, coarse
from gan_explain.metrics import opacity_probe
from gan_explain.metrics.change import Models, Settings
from gan_explain.metrics.confusion import Confusion, confusion, multiclass_report
from gan_explain.metrics.measure import Measure
from gan_explain.metrics.registry import ordered
from gan_explain.types import Record, Segmenter, Target


@dataclass(frozen=True, kw_only=True)
class Options(Settings):
    """How to evaluate. limit: so many images, drawn by seed; synthetic: patients that are drawn from a network of structures."""

    limit: int | None = None
    batch_size: int = 16
    synthetic: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.batch_size, self.synthetic, 1 if self.limit is None else self.limit) < 1:
            raise ValueError(f"expected limit, batch_size and synthetic >= 1, got {self}")


def evaluate(
    models: Models,
    dataset: Dataset,
    options: Options | None = None,
    *,
    measures: Sequence[Name] = ("reader", "counterfactual"),
    structures: StructureNetwork | None = None,
    train: Dataset | None = None,
) -> EvaluationResult:
    """Take the measures of docs/method/measures.md on a dataset (a split, opened at the generator's resolution).

    measures: sets of them. classifier: how well the target tells the classes, and whether it sees rendered opacities; asks no
    generator. reader: what the generator reads of rendered disease and within a source, and how the prior's layers compare with
    real ones; asks no target. counterfactual: what the target makes of what the generator lays on and takes off.

    The lungs are read once from every input and held. An input that the target calls negative gets the layer of another patient
    of the dataset who is labelled positive, drawn by name; one that it calls positive is healed. Synthetic patients are drawn
    from `structures`; they and the prior's layers are held against `train`, the images learned from. A measure that cannot be
    taken has no value, and a reason. DataError for a dataset without images, ValueError for a set that is none, or that needs a
    model that was not given.
    """
    options = options or Options()
    sets = chosen(measures)
    if (models.target is None and set(measures) != {"reader"}) or (models.generator is None and set(measures) != {"classifier"}):
        raise ValueError(f"expected a {'target' if models.target is None else 'generator'} for measures of {', '.join(measures)}")
    dataset = limited(dataset, options.limit, options.seed)
    engine = prepare(models, dataset, options, sets)
    gathered = engine.stream(dataset, batched(len(dataset), options.batch_size), Gathered())
    table = Table(gathered.samples, options.bootstrap, options.seed)
    found, matrix, left_out = table.measures(), None, 0
    if "reader" in measures:
        found |= _read(engine, gathered, table, train)
    if "counterfactual" in measures:
        found |= _answered(engine, gathered, table, structures, options.synthetic, train)
    if "classifier" in measures:
        more, matrix, left_out = _classified(models.asked, gathered, table)
        found |= more
    if set(measures) != {"reader"}:
        called = {sample.called for sample in gathered.samples}
        reasons = missing(facts(engine.models), _name(engine), False, called, found)
        probes = {name: each for name, each in reasons.items() if name in opacity_probe.NAMES}
        found |= reasons if "counterfactual" in measures else probes
    return EvaluationResult(ordered(found), gathered.samples, _provenance(engine, dataset), matrix, left_out)


def classification(
    target: Target, dataset: Dataset, segmenter: Segmenter, *, n_boot: int = 1000, seed: int = 0, batch_size: int = 32
) -> EvaluationResult:
    """How well a target tells the classes of a dataset (or a split of one), with its confusion matrix, and the opacity probe on
    the negatives that it calls negative. No generator takes part.

    A label counts as positive when it, or its three-class view, is in the target's positive set. A target of three classes or
    more is measured on each of them too: its call is the class of the largest logit, and a label belongs to the class of its own
    name or of its three-class view. With two classes, the call is made at the operating point. A target with a temperature has
    the calibration error of its p without one beside (`ece.uncalibrated`). DataError for a dataset without images.
    """
    options = Options(bootstrap=n_boot, seed=seed, batch_size=batch_size)
    return evaluate(Models(None, target, segmenter), dataset, options, measures=("classifier",))


def _read(engine: Engine, gathered: Gathered, table: Table, train: Dataset | None) -> dict[str, Measure]:
    """Of the generator alone."""
    known = None
    if train is not None and len(train):
        known = training_layers(engine.models.drawing, train, engine.models.segmenter, table.seed)
    return relations(table) | gathered.layers.measures(known, table.n_boot, table.seed)


def _answered(
    engine: Engine, gathered: Gathered, table: Table, structures: StructureNetwork | None, count: int, train: Dataset | None
) -> dict[str, Measure]:
    """Of sets of what was generated."""
    features, found = gathered.pooled(), {"synthetic": Measure.missing("no generator of synthetic patients was given")}
    if structures is not None:
        found = synthetic_patients(engine.models, engine.settings, structures, features, count, train)
    return found | of_sets(features, _name(engine), table.seed)


def _classified(target: Target, gathered: Gathered, table: Table) -> tuple[dict[str, Measure], Confusion, int]:
    """Of the target alone; the confusion matrix, and how many images are of no class of it."""
    point, samples = target.operating_point, gathered.samples
    records, patients, sources = [sample.record for sample in samples], table.patients, table.sources
    found = calls(table, target.positive, point)
    if any("p.uncalibrated" in sample.values for sample in samples) and getattr(target, "temperature", 1.0) != 1:
        found["ece.uncalibrated"] = calls(table, target.positive, point, "p.uncalibrated")["ece"]
    classes, called = target.classes, table.column("class.called")
    truth = true_classes(records, classes)
    if len(classes) == 2:
        truth = np.array([belongs(record.label, target.positive) for record in records]).astype(np.int64)
        classes, called = ("negative", "+".join(target.positive)), (table.column("p") >= point).astype(np.float64)
    known = np.flatnonzero(truth >= 0)
    right, calls_, where = truth[known], called[known].astype(np.int64), [sources[i] for i in known]
    if len(target.classes) > 2:
        who = [patients[i] for i in known]
        found |= multiclass_report(right, calls_, classes, who, where, n_boot=table.n_boot, seed=table.seed)
    if gathered.curves.get(PROBE):
        rows = gathered.curves[PROBE]
        who, where_ = ([each[i] for i, sample in enumerate(samples) if sample.place in rows] for each in (patients, sources))
        found |= opacity_probe.summarise(
            np.array(list(rows.values())), opacity_probe.DOSES, who, where_, n_boot=table.n_boot, seed=table.seed
        )
    return found, confusion(right, calls_, classes, where), len(truth) - len(known)


def true_classes(records: Sequence[Record], classes: Sequence[str]) -> NDArray[np.int64]:
    """The class of each record's label (N,), by its own name or else its three-class view; -1 where the target has neither."""
    known = {canonical(name): k for k, name in enumerate(classes)}
    return np.array([known.get(canonical(r.label), known.get(coarse(r.label), -1)) for r in records], dtype=np.int64)


def _name(engine: Engine) -> str | None:
    return None if engine.models.extractor is None else extractor_name(engine.models.extractor)


def _provenance(engine: Engine, dataset: Dataset) -> Mapping[str, Any]:
    models, settings = engine.models, engine.settings
    found = {"data": dataset.fingerprint(), "images": len(dataset), "seed": settings.seed, "bootstrap": settings.bootstrap}
    if models.generator is not None:
        found["resolution"] = models.generator.resolution
    if models.target is not None:
        found |= {"positive": list(models.target.positive), "operating_point": models.target.operating_point}
    if models.target is not None and models.generator is not None:
        found |= {"strengths": list(settings.strengths), "label": settings.label, "judges": list(models.judges)}
    return found
