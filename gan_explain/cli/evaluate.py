"""`gan-explain evaluate`: the measures of a generator under a target, or of the generator alone, as a table and as JSON."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import click
from pydantic import Field

from gan_explain.cli import common
from gan_explain.cli.datasets import open_included
from gan_explain.cli.models import generator_facts, judge, load_models, named_judges
from gan_explain.cli.names import Salt
from gan_explain.cli.words import DataOptions, Judges, Lpips, ModelOptions

if TYPE_CHECKING:
    from gan_explain.data import Dataset
    from gan_explain.evaluate import EvaluationResult
    from gan_explain.nets.structure import StructureGenerator

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ready:
    """Everything loaded: the side at which images are read, names of the judges, and what measures (images, training images)."""

    resolution: int
    judges: list[str]
    measure: Callable[[Dataset, Dataset], EvaluationResult]


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """What is measured."""

    TITLE: ClassVar = "Measures"
    judges: Judges = ()
    lpips: Lpips = None
    reader_only: Annotated[
        bool, Field(description="Measure the generator alone: what it reads and draws; no target is asked.")
    ] = False


@common.command("evaluate", out="out/evaluate")
def evaluate(run: common.Run, data: DataOptions, models: ModelOptions, options: EvaluateOptions) -> dict[str, Any]:
    """Measure what a generator reads and draws, and what a target makes of it: rises and falls of p beside those under random
    layers of equal load, flip rates, monotonicity, proximity, realism, transfer and more.

    Every measure is taken per sample, then over all and per source, with a patient-bootstrap interval of 95 %. What cannot be
    measured is null, with the reason.
    """
    from gan_explain.metrics.measure import format_table

    if options.reader_only and (options.judges or options.lpips or models.target or models.positive or models.classes):
        raise click.UsageError(
            "--reader-only: no target is asked; expected no --target, --positive, --classes, --judges, --lpips"
        )
    secret = Salt(run)
    ready = _alone(run, data.limit, models) if options.reader_only else _under_target(run, data.limit, models, options)
    opened = open_included(run, data.data, ready.resolution, data.include)
    dataset = opened.split(data.split)
    if not len(dataset):
        from gan_explain.types import DataError

        raise DataError(f"{data.data}: no images in split {data.split!r}")
    count = min(len(dataset), data.limit or len(dataset))
    run.record(images=count)
    if run.dry_run:
        run.say(f"{count} images, {len(ready.judges)} judges")
        return {"images": count, "judges": ready.judges}
    result = ready.measure(dataset, opened.split("train"))
    result = replace(result, per_sample=secret.names(opened.records).rows(result.per_sample))
    with run.staging() as folder:
        result.save(folder)
        secret.keep(folder)
    run.say(format_table(result.measures))
    run.say(f"{count} images; written to {run.out}")
    return {"measures": result.measures}


def _alone(run: common.Run, limit: int | None, models: ModelOptions) -> Ready:
    """A generator alone."""
    from gan_explain.evaluate import evaluate_reader
    from gan_explain.nets.load import load_generator
    from gan_explain.nets.segmenter import load_segmenter

    network = load_generator(models.generator).to(run.device)
    lungs = load_segmenter(models.segmenter).to(run.device)
    run.record(generator=generator_facts(models.generator))
    return Ready(
        network.resolution,
        [],
        lambda dataset, train: evaluate_reader(network, dataset, lungs, seed=run.seed, limit=limit, train=train),
    )


def _under_target(run: common.Run, limit: int | None, named: ModelOptions, options: EvaluateOptions) -> Ready:
    """A generator under a target, beside judges."""
    from gan_explain.evaluate import evaluate as measure
    from gan_explain.evaluate.features import usual_features
    from gan_explain.metrics.proximity import perceptual

    models = load_models(run, named)
    distance = perceptual(options.lpips) if options.lpips else None
    jury = {short: judge(spec, models, named.trust_code) for short, spec in named_judges(options.judges)}
    structures = _structures(run, named.generator)
    features = usual_features(jury)

    def measured(dataset: Dataset, train: Dataset) -> EvaluationResult:
        return measure(
            models.generator, models.target, dataset, models.segmenter, judges=jury, synthesis=structures, extractor=features,
            perceptual=distance,
            seed=run.seed, limit=limit, train=train,
        )  # fmt: skip

    return Ready(models.generator.resolution, list(jury), measured)


def _structures(run: common.Run, checkpoint: str) -> StructureGenerator | None:
    """The checkpoint's generator of synthetic patients, None where it has none."""
    from gan_explain.files.checkpoints import find_checkpoint, read_config
    from gan_explain.nets.load import load_structure

    if "structure" not in read_config(find_checkpoint(checkpoint))["parts"]:
        logger.info("checkpoint %s has no synthetic patients: their measures are null", checkpoint)
        return None
    return load_structure(checkpoint).to(run.device)
