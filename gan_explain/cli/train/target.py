"""`gan-explain train target`: a CNN to explain, or an independent judge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
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
    check_classifier,
    reported,
    supervised,
)


@command("target", out="runs/target", resume=True)
@DATA
@INCLUDE
@click.option(
    "--arch",
    default="small",
    help="small, small_vgg, small_inception, small_dense, resnet18, resnet50, vgg16, vgg16_bn, efficientnet_b0.",
)
@click.option("--weights", type=click.Path(path_type=Path), help="Local torchvision weights to start from (safetensors or .pth).")
@click.option("--sha256", metavar="HEX", help="SHA-256 that the --weights file must have.")
@click.option("--resolution", default=128, type=click.IntRange(32, 1024))
@POSITIVE
@LUNGS_ONLY
@SEGMENTER
@KEEP_LABELS
@PART
@click.option("--steps", default=1500, type=click.IntRange(1))
@click.option("--batch-size", default=32, type=click.IntRange(2))
@click.option("--learning-rate", default=2e-3, type=RATE)
@click.option("--freeze-steps", default=0, type=click.IntRange(0), help="First steps in which only the last layer learns.")
@balance_option("sampler")
@PATIENCE
@MONITOR
@CALIBRATE
@AMP
@INTERVAL
def target(
    run: Run,
    data: str,
    include: Sequence[str],
    arch: str,
    weights: Path | None,
    sha256: str | None,
    resolution: int,
    positive: str,
    lungs_only: bool,
    segmenter_name: str,
    keep_labels: bool,
    part: str,
    steps: int,
    batch_size: int,
    learning_rate: float,
    freeze_steps: int,
    balance: Literal["sampler", "weights", "none"],
    patience: int,
    monitor: Literal["balanced_accuracy", "loss"],
    calibrate: bool,
    amp: bool,
    save_every: int,
) -> dict[str, object]:
    """Train a CNN to explain, or an independent judge; prints its measures and opacity probe on the test split."""
    from gan_explain.nets.segmenter import load_segmenter
    from gan_explain.train.distributed import process_group
    from gan_explain.train.options import TargetOptions
    from gan_explain.train.target import train_target
    from gan_explain.types import DataError

    check_classifier(arch)
    if weights is not None and not weights.is_file():
        raise DataError(f"{weights}: no such weights file")
    if sha256 is not None and weights is None:
        raise click.UsageError("--sha256: expected --weights FILE with it")
    dataset = open_included(run, data, resolution, include)
    lungs = load_segmenter(segmenter_name)
    options = TargetOptions(
        arch=arch, size=resolution, keep_labels=keep_labels, positive=tuple(positive.split("+")), lungs_only=lungs_only,
        segmenter_name=segmenter_name, weights=weights, sha256=sha256, part=part, balance=balance, patience=patience,
        monitor=monitor, calibrate=calibrate,
    )  # fmt: skip
    if run.dry_run:
        return {"records": len(dataset)}
    config = supervised(
        run, steps=steps, batch_size=batch_size, learning_rate=learning_rate, amp=amp,
        save_every=save_every, freeze_steps=freeze_steps
    )  # fmt: skip
    with process_group(run.device):
        trained = train_target(dataset, lungs, run.folder, options, config, resume=run.resume)
    return reported(run, trained, dataset, lungs, part)
