"""`gan-explain evaluate`: the measures of a generator against its target on one split, as a table and as JSON."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gan_explain.cli import common
from gan_explain.cli.datasets import DATA_HELP, INCLUDE, open_included
from gan_explain.cli.models import judge, load_models, model_options, named_judges
from gan_explain.cli.names import SALT_OPTION, Salt

if TYPE_CHECKING:
    from gan_explain.nets.synthesis import StructureGenerator

logger = logging.getLogger(__name__)


@common.command("evaluate", out="out/evaluate")
@click.option("--data", required=True, help=DATA_HELP)
@INCLUDE
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="test", help="Split to measure on.")
@click.option("--judges", multiple=True, metavar="SPEC", help="Independent CNN for transfer, as for --target; may be repeated.")
@click.option("--lpips", type=click.Path(path_type=Path), metavar="FILE", help="Local AlexNet weights, for the LPIPS distance.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Measure on N images drawn by --seed, for a quick look.")
@SALT_OPTION
@model_options
def evaluate(
    run: common.Run,
    data: str,
    include: Sequence[str],
    split: str,
    judges: Sequence[str],
    lpips: Path | None,
    limit: int | None,
    salt: Path | None,
    **models_named: Any,
) -> dict[str, Any]:
    """Measure how a generator's counterfactuals move its target: flip rates, monotonicity, proximity, realism, transfer and more.

    Every measure is taken per sample, then over all and per source, with a patient-bootstrap interval of 95 %. What cannot be
    measured is null, with the reason.
    """
    from gan_explain.evaluate import evaluate as measure
    from gan_explain.metrics.aggregate import format_table
    from gan_explain.metrics.proximity import perceptual
    from gan_explain.types import DataError

    secret = Salt(run, salt)
    models = load_models(run, **models_named)
    distance = perceptual(lpips) if lpips else None
    jury = {short: judge(spec, models, models_named["trust_code"]) for short, spec in named_judges(judges)}
    opened = open_included(run, data, models.generator.resolution, include)
    dataset = opened.split(split)
    if not len(dataset):
        raise DataError(f"{data}: no images in split {split!r}")
    count = min(len(dataset), limit or len(dataset))
    run.record(images=count)
    if run.dry_run:
        run.say(f"dry run: {count} images, {len(jury)} judges; nothing measured")
        return {"images": count, "judges": list(jury)}
    synthesis = _synthesis(models_named["checkpoint"])
    result = measure(
        models.generator,
        models.target,
        dataset,
        models.segmenter,
        judges=jury,
        synthesis=synthesis.to(run.device) if synthesis is not None else None,
        perceptual=distance,
        seed=run.seed,
        limit=limit,
        train=opened.split("train"),
    )
    result = replace(result, per_sample=secret.names(opened.records).rows(result.per_sample))
    with run.staging() as folder:
        result.save(folder)
        secret.keep(folder)
    run.say(format_table(result.measures))
    run.say(f"{count} images; written to {run.out}")
    return {"measures": result.measures}


def _synthesis(checkpoint: str) -> StructureGenerator | None:
    """The checkpoint's generator of synthetic patients, None where it has none."""
    from gan_explain.checkpoints import find_checkpoint, load_synthesis, read_config

    if "synthesis" not in read_config(find_checkpoint(checkpoint))["parts"]:
        logger.info("checkpoint %s has no synthetic patients: their measures are null", checkpoint)
        return None
    return load_synthesis(checkpoint)
