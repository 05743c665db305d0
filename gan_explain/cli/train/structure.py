"""`gan-explain train structure`: healthy lungs as codes, and synthetic patients from a prior."""

from __future__ import annotations

from collections.abc import Sequence

import click

from gan_explain.cli.common import Run, command
from gan_explain.cli.datasets import INCLUDE, open_included
from gan_explain.cli.train.shared import DATA, INTERVAL, check_network, loss_weights


@command("structure", out="runs/structure", resume=True)
@DATA
@INCLUDE
@click.option(
    "--leave-out", multiple=True, default=("kermany",), metavar="SOURCE", help="A source to leave out: children's lungs."
)
@click.option("--others", is_flag=True, help="Reconstruct images that are not normal too; what is drawn is not like them.")
@click.option(
    "--preset",
    default="cpu",
    type=click.Choice(["cpu", "gpu"]),
    help="Sizes and pace: three hours on two cores, or minutes on a GPU.",
)
@click.option("--resolution", type=click.Choice(["64", "128", "256", "512"]), help="Default: the preset's.")
@click.option("--steps", type=click.IntRange(1), help="Default: the preset's.")
@click.option("--minutes", type=click.FloatRange(0), help="End, and pace, in time; 0: in steps alone. Default: the preset's.")
@click.option("--batch-size", type=click.IntRange(1), help="Images that a step reconstructs. Default: the preset's.")
@click.option("--set", "overrides", multiple=True, metavar="NAME=VALUE", help="A number of the objective, such as kl=0.001.")
@INTERVAL
def structure(
    run: Run,
    data: str,
    include: Sequence[str],
    leave_out: Sequence[str],
    others: bool,
    preset: str,
    resolution: str | None,
    steps: int | None,
    minutes: float | None,
    batch_size: int | None,
    overrides: Sequence[str],
    save_every: int,
) -> dict[str, object]:
    """Train encoder, decoder and prior of healthy lungs on the normals of the training split."""
    from dataclasses import replace

    from gan_explain.data import coarse
    from gan_explain.nets.efficientnet_lite import folded, imagenet_features
    from gan_explain.nets.structure import StructureGenerator
    from gan_explain.train.distributed import process_group
    from gan_explain.train.gan.reconstruction import StructureTraining
    from gan_explain.train.gan.structure import PRESETS, stored, train_structure
    from gan_explain.types import DataError

    network, config = PRESETS[preset]
    network = network.model_copy(update={"resolution": int(resolution)} if resolution else {})
    given = {"steps": steps, "minutes": minutes, "batch_size": batch_size, "save_every": save_every}
    config = replace(
        config,
        seed=run.seed,
        device=str(run.device),
        amp=config.amp and run.device.type == "cuda",
        **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]
        **loss_weights(StructureTraining, overrides, but=("minutes",)),
    )
    check_network(lambda: StructureGenerator(network))
    dataset = (
        open_included(run, data, network.resolution, include).split("train").where(lambda record: record.source not in leave_out)
    )
    normal = dataset.where(lambda record: coarse(record.label) == "normal")
    ill = dataset.where(lambda record: others and coarse(record.label) != "normal")
    counts: dict[str, object] = {"negatives": len(normal), "others": len(ill)}
    if not len(normal):
        raise DataError(f"{data}: expected normals in the training split, found none")
    if run.dry_run:
        return counts
    features = folded(imagenet_features()).to(run.device)
    with process_group(run.device):
        train_structure(
            stored(normal),
            features,
            run.folder,
            network,
            config,
            others=stored(ill) if len(ill) else None,
            resume=run.resume,
        )
    run.say(f"wrote part 'structure' to {run.folder}")
    return {"checkpoint": run.folder, **counts}
