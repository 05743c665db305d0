"""`gan-explain train cyclegan`: negatives into positives and back, without a target and without pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from gan_explain.cli.common import Run, command
from gan_explain.cli.datasets import INCLUDE, open_included
from gan_explain.cli.train.shared import AMP, DATA, INTERVAL, RATE, check_network

if TYPE_CHECKING:
    from gan_explain.data import Dataset


@command("cyclegan", out="runs/cyclegan", resume=True)
@DATA
@INCLUDE
@click.option("--resolution", default=128, type=click.IntRange(32, 1024), help="Side of the images, in pixels: a multiple of 4.")
@click.option(
    "--preset",
    type=click.Choice(["cpu", "gpu"]),
    default="cpu",
    help="Steps, batch, widths, rate and weights of the machine at hand.",
)
@click.option("--steps", type=click.IntRange(1), help="Instead of the preset's.")
@click.option("--batch-size", type=click.IntRange(1), help="Instead of the preset's; so many of each side.")
@click.option("--width", type=click.IntRange(8), help="Instead of the preset's: channels of the residual blocks.")
@click.option("--blocks", type=click.IntRange(1), help="Instead of the preset's: residual blocks of each direction.")
@click.option("--learning-rate", type=RATE, help="Instead of the preset's: constant, then falling to 0 over the second half.")
@click.option("--cycle", type=click.FloatRange(0), help="Instead of the preset's: weight of coming back.")
@click.option(
    "--identity",
    type=click.FloatRange(0),
    help="Instead of the preset's: weight of leaving alone what is on the other side already.",
)
@click.option(
    "--anatomy",
    default=0.0,
    type=click.FloatRange(0),
    help="Weight of keeping the lungs of negatives where they are; 0: as published.",
)
@click.option("--segmenter", "segmenter_name", default="lungs128", help="Checkpoint that reads the lungs for --anatomy.")
@click.option("--pool", default=50, type=click.IntRange(0), help="Images of each side that the discriminators remember.")
@click.option("--crop", default=0.08, type=click.FloatRange(0, 0.5), help="Images are zoomed by up to this share.")
@AMP
@INTERVAL
def cyclegan(
    run: Run,
    data: str,
    include: Sequence[str],
    resolution: int,
    preset: str,
    steps: int | None,
    batch_size: int | None,
    width: int | None,
    blocks: int | None,
    learning_rate: float | None,
    cycle: float | None,
    identity: float | None,
    anatomy: float,
    segmenter_name: str,
    pool: int,
    crop: float,
    amp: bool,
    save_every: int,
) -> dict[str, object]:
    """Train a CycleGAN between the two classes of the data; writes the part `cyclegan` of checkpoint --out.

    One class must be normal, the other is the positive side: choose with --include. Runs in several processes under torchrun
    unchanged.
    """
    from gan_explain.nets.cyclegan import CycleGan, multiply_adds
    from gan_explain.nets.segmenter import load_segmenter
    from gan_explain.train.distributed import process_group
    from gan_explain.train.gan.cyclegan import PRESETS, train_cyclegan

    network, config = PRESETS[preset]
    given = {
        "steps": steps, "batch_size": batch_size, "learning_rate": learning_rate, "cycle": cycle, "identity": identity,
    }  # fmt: skip
    config = replace(
        config, anatomy=anatomy, pool=pool, crop=crop, seed=run.seed, device=str(run.device), amp=amp, save_every=save_every,
        **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]
    )  # fmt: skip
    sizes = {"resolution": resolution, "width": width, "blocks": blocks}
    network = network.model_copy(update={name: value for name, value in sizes.items() if value})
    check_network(lambda: CycleGan(network))
    negatives, positives, label = two_sides(open_included(run, data, resolution, include).split("train"), data)
    soft = load_segmenter(segmenter_name).to(run.device).soft if anatomy else None
    facts = {"negatives": len(negatives), "positives": len(positives), "label": label, "steps": config.steps}
    run.record(multiply_adds=multiply_adds(network), sides=facts)
    if run.dry_run:
        return facts
    with process_group(run.device):
        train_cyclegan(
            negatives, positives, run.folder, network, config, resume=run.resume, segmenter=soft
        )  # fmt: skip
    run.say(f"wrote part 'cyclegan' to {run.folder}; next: gan-explain interpolate IMAGE --generator cyclegan:{run.folder}")
    return {"checkpoint": run.folder, "part": "cyclegan", **facts}


def two_sides(dataset: Dataset, data: str) -> tuple[Dataset, Dataset, str]:
    """Negatives, positives and the positive class of training data with two classes, one of them normal (pneumonias of all kinds
    are one class). DataError names the classes that came, or a side of fewer than two images."""
    from gan_explain.data import coarse
    from gan_explain.types import DataError

    classes = sorted({coarse(record.label) for record in dataset.records})
    others = [name for name in classes if name != "normal"]
    if len(others) != 1 or len(classes) != 2:
        came = ", ".join(classes) or "none"
        raise DataError(f"{data}: expected two classes to train on, normal and one other (choose with --include), got {came}")
    sides = [dataset.where(lambda record, name=name: coarse(record.label) == name) for name in ("normal", others[0])]  # type: ignore[misc]
    for name, each in zip(("normal", others[0]), sides, strict=True):
        if len(each) < 2:
            raise DataError(f"{data}: expected at least two training images of {name}, got {len(each)}")
    return sides[0], sides[1], others[0]
