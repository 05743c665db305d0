"""`gan-explain train cyclegan`: negatives into positives and back, without a target and without pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from gan_explain.cli.common import Run, command
from gan_explain.cli.datasets import INCLUDE, open_included
from gan_explain.cli.train.shared import AMP, DATA, INTERVAL, RATE, check_network, loop_config

if TYPE_CHECKING:
    from gan_explain.data import Dataset

PRESETS: dict[str, dict[str, Any]] = {  # a CPU's takes bolder steps and is held less: it has few
    "cpu": {
        "steps": 3000, "batch_size": 2, "width": 32, "blocks": 6, "judge_width": 24, "learning_rate": 6e-4, "cycle": 5.0,
        "identity": 1.0,
    },
    "gpu": {
        "steps": 60000, "batch_size": 8, "width": 128, "blocks": 9, "judge_width": 64, "learning_rate": 2e-4, "cycle": 10.0,
        "identity": 5.0,
    },
}  # fmt: skip


@command("cyclegan", out="runs/cyclegan", resume=True)
@DATA
@INCLUDE
@click.option("--resolution", default=128, type=click.IntRange(32, 1024), help="Side of the images, in pixels: a multiple of 4.")
@click.option(
    "--preset",
    type=click.Choice(sorted(PRESETS)),
    default="cpu",
    help="Steps, batch, widths, rate and weights of the machine at hand.",
)
@click.option("--steps", type=click.IntRange(1), help="Instead of the preset's.")
@click.option("--batch-size", type=click.IntRange(1), help="Instead of the preset's; so many of each side.")
@click.option("--width", type=click.IntRange(8), help="Instead of the preset's: channels of the residual blocks.")
@click.option("--blocks", type=click.IntRange(1), help="Instead of the preset's: residual blocks of each direction.")
@click.option("--learning-rate", default=2e-4, type=RATE, help="Constant, then falling to 0 over the second half.")
@click.option("--cycle", default=10.0, type=click.FloatRange(0), help="Weight of coming back.")
@click.option(
    "--identity", default=5.0, type=click.FloatRange(0), help="Weight of leaving alone what is on the other side already."
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
    from gan_explain.nets.cyclegan import CycleGan, CycleGanConfig, multiply_adds
    from gan_explain.nets.segmenter import load_segmenter
    from gan_explain.train.gan.cyclegan import CycleGanTraining, train_cyclegan
    from gan_explain.train.distributed import process_group

    chosen = PRESETS[preset]
    network = CycleGanConfig(
        resolution=resolution,
        width=width or chosen["width"],
        blocks=blocks or chosen["blocks"],
        judge_width=chosen["judge_width"],
    )
    check_network(lambda: CycleGan(network))
    negatives, positives, label = two_sides(open_included(run, data, resolution, include).split("train"), data)
    config = CycleGanTraining(
        steps=steps or chosen["steps"], batch_size=batch_size or chosen["batch_size"],
        learning_rate=learning_rate or chosen["learning_rate"], cycle=chosen["cycle"] if cycle is None else cycle,
        identity=chosen["identity"] if identity is None else identity, anatomy=anatomy, pool=pool, crop=crop, seed=run.seed,
        device=str(run.device), amp=amp,
    )  # fmt: skip
    soft = load_segmenter(segmenter_name).to(run.device).soft if anatomy else None
    facts = {"negatives": len(negatives), "positives": len(positives), "label": label, "steps": config.steps}
    run.record(multiply_adds=multiply_adds(network), sides=facts)
    if run.dry_run:
        return facts
    with process_group(run.device):
        train_cyclegan(
            negatives, positives, run.folder, network, config, loop_config(config.steps, save_every), resume=run.resume,
            segmenter=soft
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
