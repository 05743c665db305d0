"""`gan-explain evaluate`: measures of a generator, of a target, and of the target under the generator, as a table and as JSON."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import click
from pydantic import Field

from gan_explain.cli import common
from gan_explain.cli.datasets import open_included
from gan_explain.cli.models import default_target, generator_facts, judge, load_models, load_target, named_judges, target_facts
from gan_explain.cli.names import Salt
from gan_explain.cli.words import DataOptions, Judges, Lpips, ModelOptions, Resolution

if TYPE_CHECKING:
    from gan_explain.evaluate import EvaluationResult
    from gan_explain.metrics.change import Models
    from gan_explain.nets.structure import StructureGenerator

logger = logging.getLogger(__name__)
RESOLUTION = 128  # pixels, where no generator says it


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """What is measured."""

    TITLE: ClassVar = "Measures"
    measures: Annotated[
        tuple[Literal["classifier", "reader", "counterfactual"], ...],
        Field(
            description="classifier: the target by itself; reader: the generator by itself; counterfactual: the target under the "
            "generator. May be repeated. [default: reader and counterfactual]",
        ),
    ] = ()
    judges: Judges = ()
    lpips: Lpips = None
    resolution: Resolution = None

    @property
    def sets(self) -> tuple[Literal["classifier", "reader", "counterfactual"], ...]:
        return self.measures or ("reader", "counterfactual")


@common.command("evaluate", out="out/evaluate")
def evaluate(run: common.Run, data: DataOptions, models: ModelOptions, options: EvaluateOptions) -> dict[str, Any]:
    """Measure a classifier, what a generator reads and draws, and what the one makes of the other: accuracy per source, rises and
    falls of p beside those under random layers of equal load, flip rates, monotonicity, proximity, realism, transfer and more.

    Every measure is taken per sample, then over all and per source, with a patient-bootstrap interval of 95 %. What cannot be
    measured is null, with the reason. Of a classifier the confusion matrix is written too.
    """
    from gan_explain.evaluate import Options
    from gan_explain.evaluate import evaluate as measure
    from gan_explain.types import DataError

    _check(models, options)
    secret = Salt(run)
    loaded = _load(run, models, options)
    opened = open_included(run, data.data, _side(loaded, options), data.include)
    dataset = opened.split(data.split)
    if not len(dataset):
        raise DataError(f"{data.data}: no images in split {data.split!r}")
    count = min(len(dataset), data.limit or len(dataset))
    run.record(images=count)
    if run.dry_run:
        run.say(f"{count} images, {len(loaded.judges)} judges")
        return {"images": count, "judges": list(loaded.judges)}
    structures = _structures(run, models.generator) if "counterfactual" in options.sets else None
    settings = Options(seed=run.seed, limit=data.limit)
    found = measure(loaded, dataset, settings, measures=options.sets, structures=structures, train=opened.split("train"))
    result = found.named(secret.names(opened.records))
    with run.staging() as folder:
        result.save(folder)
        secret.keep(folder)
    _say(run, result)
    run.say(f"{count} images; written to {run.out}")
    more = {} if result.confusion is None else {"confusion": result.confusion.as_json() | {"left_out": result.left_out}}
    return {"measures": result.measures, **more}


def _check(models: ModelOptions, options: EvaluateOptions) -> None:
    """UsageError for options of what takes no part."""
    named = models.target or models.positive or models.classes or options.judges or options.lpips
    if set(options.sets) == {"reader"} and named:
        raise click.UsageError(
            "--measures reader: no target is asked; expected no --target, --positive, --classes, --judges, --lpips"
        )
    if set(options.sets) == {"classifier"} and (options.judges or options.lpips):
        raise click.UsageError("--measures classifier: nothing is generated; expected no --judges, --lpips")
    if set(options.sets) != {"classifier"} and options.resolution:
        raise click.UsageError("--resolution: images are read at the generator's; expected --measures classifier alone")


def _load(run: common.Run, named: ModelOptions, options: EvaluateOptions) -> Models:
    """What takes part, loaded and noted in run.json."""
    from gan_explain.evaluate.features import usual_features
    from gan_explain.metrics.change import Models
    from gan_explain.metrics.proximity import perceptual
    from gan_explain.nets.load import load_generator
    from gan_explain.nets.segmenter import load_segmenter

    sets: Sequence[str] = options.sets
    if set(sets) == {"reader"}:
        run.record(generator=generator_facts(named.generator))
        return Models(load_generator(named.generator).to(run.device), None, load_segmenter(named.segmenter).to(run.device))
    if set(sets) == {"classifier"}:
        spec, lungs = named.target or default_target(named.generator), load_segmenter(named.segmenter).to(run.device)
        target = load_target(run, spec, named, lungs)
        run.record(target=target_facts(spec, target))
        return Models(None, target, lungs)
    loaded = load_models(run, named)
    judges = {short: judge(spec, loaded, named.trust_code) for short, spec in named_judges(options.judges)}
    distance = perceptual(options.lpips) if options.lpips else None
    features = usual_features(judges)
    return Models(loaded.generator, loaded.target, loaded.segmenter, judges, perceptual=distance, extractor=features)


def _side(models: Models, options: EvaluateOptions) -> int:
    return options.resolution or (RESOLUTION if models.generator is None else models.generator.resolution)


def _say(run: common.Run, result: EvaluationResult) -> None:
    from gan_explain.metrics.confusion import format_confusion
    from gan_explain.metrics.measure import format_table

    run.say(format_table(result.measures))
    if result.confusion is not None:
        run.say(f"\n{format_confusion(result.confusion)}")
    if result.left_out:
        run.say(f"{result.left_out} images left out of the classes: their label is none of the target's")


def _structures(run: common.Run, checkpoint: str) -> StructureGenerator | None:
    """The checkpoint's generator of synthetic patients, None where it has none."""
    from gan_explain.files.checkpoints import config_of
    from gan_explain.nets.load import load_structure

    if "structure" not in config_of(checkpoint)["parts"]:
        logger.info("checkpoint %s has no synthetic patients: their measures are null", checkpoint)
        return None
    return load_structure(checkpoint).to(run.device)
