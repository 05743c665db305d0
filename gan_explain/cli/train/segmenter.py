"""`gan-explain train segmenter`: the lungs, from human masks."""

from __future__ import annotations

from collections.abc import Sequence

import click

from gan_explain.cli.common import Run, command
from gan_explain.cli.datasets import INCLUDE, open_included
from gan_explain.cli.train.shared import AMP, DATA, INTERVAL, RATE, check_network, measured, supervised


@command("segmenter", out="runs/lungs", resume=True)
@DATA
@INCLUDE
@click.option("--resolution", default=128, type=click.IntRange(32, 1024), help="Side of the images, in pixels.")
@click.option("--steps", default=900, type=click.IntRange(1))
@click.option("--batch-size", default=24, type=click.IntRange(1))
@click.option("--learning-rate", default=3e-3, type=RATE)
@AMP
@INTERVAL
def segmenter(
    run: Run,
    data: str,
    include: Sequence[str],
    resolution: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
    amp: bool,
    save_every: int,
) -> dict[str, object]:
    """Train the lung segmenter on the images that have a human lung mask; prints Dice on the test split."""
    from gan_explain.nets.segmenter import load_segmenter
    from gan_explain.nets.unet import UNet, UNetConfig
    from gan_explain.train.distributed import process_group
    from gan_explain.train.segmenter import USUAL, dice_report, train_segmenter

    network = UNetConfig(resolution=resolution)
    check_network(lambda: UNet(network))
    dataset = open_included(run, data, resolution, include)
    if run.dry_run:
        return {"records": len(dataset)}
    config = supervised(
        run, steps=steps, batch_size=batch_size, learning_rate=learning_rate, amp=amp, save_every=save_every,
        ranges=USUAL.ranges,
    )  # fmt: skip
    with process_group(run.device):
        train_segmenter(dataset, run.folder, network, config, resume=run.resume)
    if not run.is_main:
        return {}
    return measured(run, {"dice": dice_report(load_segmenter(run.folder), dataset.split("test"))})
