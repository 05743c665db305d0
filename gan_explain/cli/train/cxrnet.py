"""`gan-explain train cxrnet`: a classifier that draws a map of its evidence and reads the image through it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import click

from gan_explain.cli.common import Run, command
from gan_explain.cli.datasets import INCLUDE, open_included
from gan_explain.cli.train.shared import (
    AMP,
    CALIBRATE,
    DATA,
    INTERVAL,
    KEEP_LABELS,
    LUNGS_ONLY,
    MONITOR,
    PART,
    PATIENCE,
    POSITIVE,
    RATE,
    SEGMENTER,
    balance_option,
    loss_weights,
    reported,
    supervised,
)


@command("cxrnet", out="runs/cxrnet", resume=True)
@DATA
@INCLUDE
@click.option("--resolution", default=128, type=click.IntRange(32, 1024), help="Side at which the images are read, in pixels.")
@click.option("--size", type=click.IntRange(32, 1024), help="Side of the network's input. [default: the resolution]")
@click.option(
    "--crop",
    default=0.0,
    type=click.FloatRange(0, 4),
    help="Cut out the square round the lungs, so many times as wide; 0: no.",
)
@POSITIVE
@LUNGS_ONLY
@SEGMENTER
@KEEP_LABELS
@PART
@click.option("--steps", default=3000, type=click.IntRange(1))
@click.option("--batch-size", default=32, type=click.IntRange(2))
@click.option("--learning-rate", default=3e-3, type=RATE)
@click.option("--weight-decay", default=0.05, type=click.FloatRange(0))
@click.option("--ema", default=0.995, type=click.FloatRange(0, 1, max_open=True), help="Decay of the averaged weights.")
@click.option("--smoothing", default=0.1, type=click.FloatRange(0, 1, max_open=True), help="Label smoothing.")
@balance_option("none")
@PATIENCE
@MONITOR
@CALIBRATE
@click.option(
    "--set", "overrides", multiple=True, metavar="NAME=VALUE", help="A number of train.cxrnet.EvidenceTerms, say area=0.5."
)
@AMP
@INTERVAL
def cxrnet(
    run: Run,
    data: str,
    include: Sequence[str],
    resolution: int,
    size: int | None,
    crop: float,
    positive: str,
    lungs_only: bool,
    segmenter_name: str,
    keep_labels: bool,
    part: str,
    steps: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    ema: float,
    smoothing: float,
    balance: Literal["sampler", "weights", "none"],
    patience: int,
    monitor: Literal["balanced_accuracy", "loss"],
    calibrate: bool,
    overrides: Sequence[str],
    amp: bool,
    save_every: int,
) -> dict[str, object]:
    """Train CXR-Net, a target that draws its own map (--method cxrnet); prints its measures on the test split."""
    from gan_explain.nets.segmenter import load_segmenter
    from gan_explain.train.cxrnet import EvidenceTerms
    from gan_explain.train.distributed import process_group
    from gan_explain.train.options import TargetOptions, usual
    from gan_explain.train.target import train_target

    evidence = EvidenceTerms(**loss_weights(EvidenceTerms, overrides))
    dataset = open_included(run, data, resolution, include)
    lungs = load_segmenter(segmenter_name)
    options = TargetOptions(
        arch="cxrnet", size=size or resolution, keep_labels=keep_labels, positive=tuple(positive.split("+")),
        lungs_only=lungs_only, segmenter_name=segmenter_name, smoothing=smoothing, part=part, balance=balance, patience=patience,
        monitor=monitor, calibrate=calibrate, crop=crop, evidence=evidence,
    )  # fmt: skip
    if run.dry_run:
        return {"records": len(dataset)}
    config = supervised(
        run, steps=steps, batch_size=batch_size, learning_rate=learning_rate, amp=amp,
        save_every=save_every, weight_decay=weight_decay, ema=ema, ranges=usual("cxrnet")[1].ranges,
    )  # fmt: skip
    with process_group(run.device):
        trained = train_target(dataset, lungs, run.folder, options, config, resume=run.resume)
    return reported(run, trained, dataset, lungs, part)
