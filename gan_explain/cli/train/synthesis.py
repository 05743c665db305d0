"""`gan-explain train synthesis`: synthetic structure images, z1 to lungs."""

from __future__ import annotations

from collections.abc import Sequence

import click

from gan_explain.cli.common import Run, command
from gan_explain.cli.datasets import INCLUDE, open_included
from gan_explain.cli.train.shared import AMP, DATA, INTERVAL, SEGMENTER, check_network


@command("synthesis", out="runs/synthesis", resume=True)
@DATA
@INCLUDE
@click.option("--generator", metavar="NAME", help="Checkpoint whose generator heals positives, to train on those too.")
@SEGMENTER
@click.option("--resolution", default="128", type=click.Choice(["64", "128", "256", "512"]))
@click.option("--width", default=64, type=click.IntRange(16))
@click.option("--z-dim", default=64, type=click.IntRange(2))
@click.option("--steps", default=1800, type=click.IntRange(1))
@click.option(
    "--batch-size", default=8, type=click.IntRange(2), help="Of the detail stage; the anatomy stage takes three times as many."
)
@AMP
@INTERVAL
def synthesis(
    run: Run,
    data: str,
    include: Sequence[str],
    generator: str | None,
    segmenter_name: str,
    resolution: str,
    width: int,
    z_dim: int,
    steps: int,
    batch_size: int,
    amp: bool,
    save_every: int,
) -> dict[str, object]:
    """Train the generator of synthetic patients, z1 to lungs, on negatives (and healed positives)."""
    from gan_explain.nets.load import load_generator
    from gan_explain.nets.segmenter import load_segmenter
    from gan_explain.nets.synthesis import StructureGenerator, SynthesisConfig
    from gan_explain.train.distributed import process_group
    from gan_explain.train.gan.synthesis import SynthesisTraining, structures, train_synthesis

    network = SynthesisConfig(resolution=int(resolution), width=width, z_dim=z_dim)
    check_network(lambda: StructureGenerator(network))
    dataset = open_included(run, data, network.resolution, include).split("train")
    healer = load_generator(generator) if generator else None
    lungs = load_segmenter(segmenter_name) if healer else None
    if run.dry_run:
        return {"records": len(dataset)}
    real = structures(dataset, healer, lungs)
    config = SynthesisTraining(
        steps=steps,
        batch_size=batch_size,
        low_batch=3 * batch_size,
        save_every=save_every,
        seed=run.seed,
        device=str(run.device),
        amp=amp,
    )
    with process_group(run.device):
        train_synthesis(real, run.folder, network, config, resume=run.resume)
    run.say(f"wrote part 'synthesis' to {run.folder}")
    return {"checkpoint": run.folder, "structures": len(real)}
