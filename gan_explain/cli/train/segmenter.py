"""`gan-explain train segmenter`: the lungs, from human masks."""

from __future__ import annotations

from gan_explain.cli.common import Run, command
from gan_explain.cli.datasets import open_included
from gan_explain.cli.options import laid_on
from gan_explain.cli.train.shared import check_network, configured, measured, settings
from gan_explain.cli.words import TrainOptions


@command("segmenter", out="runs/lungs", resume=True, without=("salt",))
def segmenter(run: Run, options: TrainOptions) -> dict[str, object]:
    """Train the lung segmenter on the images that have a human lung mask; prints Dice on the test split."""
    from gan_explain.nets.segmenter import load_segmenter
    from gan_explain.nets.unet import UNet, UNetConfig
    from gan_explain.train.distributed import process_group
    from gan_explain.train.segmenter import USUAL, dice_report, train_segmenter

    network = laid_on(UNetConfig(resolution=128), {"resolution": options.resolution})
    network, training = settings(options, ("network", network), ("", configured(run, USUAL, options)))
    check_network(lambda: UNet(network))
    dataset = open_included(run, options.data, network.resolution, options.include)
    if run.dry_run:
        return {"records": len(dataset)}
    with process_group(run.device):
        train_segmenter(dataset, run.folder, network, training, resume=run.resume)
    if not run.is_main:
        return {}
    return measured(run, {"dice": dice_report(load_segmenter(run.folder), dataset.split("test"))})
