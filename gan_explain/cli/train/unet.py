"""`gan-explain train unet`: a U-Net that segments the lungs and classifies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from gan_explain.cli.common import Run, command
from gan_explain.cli.datasets import INCLUDE, open_included
from gan_explain.cli.train.shared import (
    AMP,
    DATA,
    INTERVAL,
    KEEP_LABELS,
    POSITIVE,
    RATE,
    check_network,
    measured,
    supervised,
)


@command("unet", out="runs/unet", resume=True)
@DATA
@INCLUDE
@click.option(
    "--classify",
    multiple=True,
    metavar="[SOURCE:]LABEL",
    help="Classify these records only, the others teach the lungs alone; may be repeated. [default: all]",
)
@click.option("--resolution", default=160, type=click.IntRange(32, 1024), help="Side of the images, in pixels: a multiple of 16.")
@POSITIVE
@KEEP_LABELS
@click.option("--steps", default=3000, type=click.IntRange(1))
@click.option("--batch-size", default=24, type=click.IntRange(2))
@click.option("--learning-rate", default=2e-3, type=RATE)
@click.option(
    "--augment",
    default=1.0,
    type=click.FloatRange(0),
    help="Strength of the random transforms: a share of the usual ranges. A run may go on (--resume) with less of it.",
)
@AMP
@INTERVAL
def unet(
    run: Run,
    data: str,
    include: Sequence[str],
    classify: Sequence[str],
    resolution: int,
    positive: str,
    keep_labels: bool,
    steps: int,
    batch_size: int,
    learning_rate: float,
    augment: float,
    amp: bool,
    save_every: int,
) -> dict[str, object]:
    """Train a U-Net that segments the lungs and classifies; prints Dice, its measures and opacity probe on the test split.

    Writes the parts `target` and `segmenter` of checkpoint --out: the same U-Net with and without its classification head.
    """
    from gan_explain.data.dataset import fitting
    from gan_explain.evaluate import classification
    from gan_explain.nets.multi_unet import WIDTHS
    from gan_explain.nets.segmenter import load_segmenter
    from gan_explain.nets.unet import UNet, UNetConfig
    from gan_explain.train.distributed import process_group
    from gan_explain.train.options import TargetOptions
    from gan_explain.train.segmenter import dice_report
    from gan_explain.train.target import train_target
    from gan_explain.types import DataError, Record

    check_network(lambda: UNet(UNetConfig(resolution=resolution, widths=WIDTHS)))
    dataset = open_included(run, data, resolution, include)
    fits = fitting(classify)

    def classified(record: Record) -> bool:
        return not classify or fits(record)

    chosen = dataset.where(classified)
    if not len(chosen):
        raise DataError(f"{data}: no record fits --classify {' '.join(classify)}")
    counts: dict[str, object] = {"records": len(dataset), "classified": len(chosen)}
    run.record(**counts)
    if run.dry_run:
        return counts
    options = TargetOptions(arch="multi_unet", size=resolution, keep_labels=keep_labels, positive=tuple(positive.split("+")))
    config = supervised(
        run, steps=steps, batch_size=batch_size, learning_rate=learning_rate, amp=amp, save_every=save_every, augment=augment
    )  # fmt: skip
    with process_group(run.device):
        trained = train_target(dataset, None, run.folder, options, config, classified=classified, resume=run.resume)
    if not run.is_main:
        return {}
    lungs = load_segmenter(run.folder)
    measures: dict[str, Any] = {"dice": dice_report(lungs, dataset.split("test"))}
    test = chosen.split("test")
    if len(test):
        measures |= classification(trained, test, lungs, seed=run.seed).measures
    else:
        run.say("no test split: not measured")
    return counts | measured(run, measures)
