"""`gan-explain train spectral`: a CNN with spectral importance as augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from gan_explain.cli.common import Run, command
from gan_explain.cli.datasets import INCLUDE, open_included
from gan_explain.cli.train.shared import AMP, DATA, INTERVAL, POSITIVE, RATE, check_classifier, measured, supervised

if TYPE_CHECKING:
    from gan_explain.train.spectral import Filter

GAIN = click.FloatRange(0)


@command("spectral", out="runs/spectral", resume=True)
@DATA
@INCLUDE
@click.option("--arch", default="resnet50", help="Of the classifier: a name that `train target` takes.")
@click.option("--spectrum-arch", help="Of the network that reads spectra. [default: --arch]")
@click.option("--resolution", default=64, type=click.IntRange(32, 1024))
@POSITIVE
@click.option(
    "--filter",
    "chosen",
    type=click.Choice(["importance", "gaussian", "none"]),
    default="importance",
    help="What every other training image goes through.",
)
@click.option("--low", default=0.5, type=GAIN, help="What frequencies of importance 0 are multiplied by.")
@click.option("--high", default=1.5, type=GAIN, help="What frequencies of importance 1 are multiplied by.")
@click.option("--layer", default="", show_default="the last block of 7 x 7 cells", metavar="NAME", help="Layer for FEM.")
@click.option("--sigma", default=1.0, type=GAIN, help="Of the Gaussian filter, in pixels.")
@click.option("--still", is_flag=True, help="No other augmentation: no geometry, gamma, contrast, blur or noise.")
@click.option("--steps", default=1000, type=click.IntRange(1))
@click.option("--spectrum-steps", default=500, type=click.IntRange(1), help="Steps of the network that reads spectra.")
@click.option("--batch-size", default=32, type=click.IntRange(2))
@click.option("--learning-rate", default=1e-3, type=RATE)
@AMP
@INTERVAL
def spectral(
    run: Run,
    data: str,
    include: Sequence[str],
    arch: str,
    spectrum_arch: str | None,
    resolution: int,
    positive: str,
    chosen: Filter,
    low: float,
    high: float,
    layer: str,
    sigma: float,
    still: bool,
    steps: int,
    spectrum_steps: int,
    batch_size: int,
    learning_rate: float,
    amp: bool,
    save_every: int,
) -> dict[str, object]:
    """Train a CNN with every other image filtered by the importance of its frequencies; prints its measures on the test split.

    First a network is trained on log-magnitude spectra (checkpoint OUT/spectrum, for --method spectral_fem); FEM on it says which
    frequencies are important in each training image.
    """
    from gan_explain.evaluate import classification
    from gan_explain.nets.segmenter import load_segmenter
    from gan_explain.train.distributed import process_group
    from gan_explain.train.loop import STATE
    from gan_explain.train.options import TargetOptions
    from gan_explain.train.spectral import SpectralOptions
    from gan_explain.train.target import train_target

    for name in (arch, spectrum_arch or arch):
        check_classifier(name)
    if high < low or high == 0:
        raise click.UsageError(f"--low {low} --high {high}: expected low <= high and high > 0")
    dataset = open_included(run, data, resolution, include)
    if run.dry_run:
        return {"records": len(dataset)}
    spectral = SpectralOptions(
        filter=chosen, low=low, high=high, layer=layer, sigma=sigma, spectrum_arch=spectrum_arch, spectrum_steps=spectrum_steps
    )
    options = TargetOptions(arch=arch, size=resolution, positive=tuple(positive.split("+")), spectral=spectral)
    config = supervised(
        run, steps=steps, batch_size=batch_size, learning_rate=learning_rate, amp=amp,
        save_every=save_every, augment=0 if still else 1
    )  # fmt: skip
    with process_group(run.device):
        resume = run.resume and (chosen == "importance" or (run.folder / STATE).is_file())
        trained = train_target(dataset, None, run.folder, options, config, resume=resume)
    test = dataset.split("test")
    if not run.is_main or not len(test):
        run.say("no test split: not measured")
        return {"measures": {}}
    return measured(run, classification(trained, test, load_segmenter("lungs128"), seed=run.seed).measures)
