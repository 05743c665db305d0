"""`gan-explain train generator`: the disentangling generator, which serves every target; train_gan.py calls it too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from gan_explain.cli.common import Run, command
from gan_explain.cli.datasets import INCLUDE, open_included
from gan_explain.cli.train.shared import AMP, DATA, INTERVAL, RATE, SEGMENTER, check_network, loss_weights

if TYPE_CHECKING:
    from gan_explain.nets.generator import Disentangler
    from gan_explain.train.masks import MaskedDataset

STAGES = ("reader", "layers")


@command("generator", out="runs/generator", resume=True)
@DATA
@INCLUDE
@SEGMENTER
@click.option(
    "--preset",
    type=click.Choice(["cpu", "gpu", "small"]),
    default="cpu",
    help="Network, steps and batches of the machine at hand; small: for phantoms, from scratch, without ImageNet weights.",
)
@click.option("--resolution", type=click.IntRange(32, 1024), help="Instead of the preset's: side at which radiographs are read.")
@click.option("--steps", type=click.IntRange(1), help="Instead of the preset's: of the reader.")
@click.option("--layer-steps", type=click.IntRange(1), help="Instead of the preset's: of the layer generator.")
@click.option("--batch-size", type=click.IntRange(2), help="Instead of the preset's: of the reader.")
@click.option("--learning-rate", type=RATE, help="Instead of the preset's: of the reader.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="STAGE.NAME=VALUE",
    help="A loss weight of train.reader.ReaderTraining or train.layers.LayersTraining, say reader.order=0.2.",
)
@AMP
@INTERVAL
def generator(
    run: Run,
    data: str,
    include: Sequence[str],
    segmenter_name: str,
    preset: str,
    resolution: int | None,
    steps: int | None,
    layer_steps: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    overrides: Sequence[str],
    amp: bool,
    save_every: int,
) -> dict[str, object]:
    """Train the disentangling generator, which no CNN takes part in: it serves every target. Writes the part `generator` of
    checkpoint --out.

    First the reader (radiograph to layer of pathology; OUT/reader), then the layer generator (layers of other patients;
    OUT/layers). With --resume a finished stage is not repeated. Runs in several processes under torchrun unchanged.
    """
    from gan_explain.nets.generator import Disentangler
    from gan_explain.nets.segmenter import load_segmenter
    from gan_explain.train.distributed import process_group
    from gan_explain.train.gan.layers import LayersTraining
    from gan_explain.train.generator import PRESETS, at_resolution, diseases, train_generator
    from gan_explain.train.masks import MaskedDataset
    from gan_explain.train.reader import ReaderTraining

    plan = PRESETS[preset]
    shape = at_resolution(plan.network, resolution) if resolution else plan.network
    check_network(lambda: Disentangler(shape))
    shared: dict[str, Any] = {"seed": run.seed, "device": str(run.device), "save_every": save_every}
    asked = {"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate}
    weights = _weights(overrides, {"reader": ReaderTraining, "layers": LayersTraining})
    reader = replace(plan.reader, **shared, amp=amp, **{k: v for k, v in asked.items() if v}, **weights["reader"])  # type: ignore[arg-type]
    layers = replace(plan.layers, **shared, **({"steps": layer_steps} if layer_steps else {}), **weights["layers"])  # type: ignore[arg-type]
    lungs = load_segmenter(segmenter_name)
    dataset = open_included(run, data, shape.resolution, include)
    train, test = (MaskedDataset(dataset.split(name), lungs) for name in ("train", "test"))
    diseases(train.records)
    if run.dry_run:
        return {"records": len(train), "steps": {"reader": reader.steps, "layers": layers.steps}}
    with process_group(run.device):
        network = train_generator(
            train, run.folder, replace(plan, network=shape, reader=reader, layers=layers), resume=run.resume
        )
    run.say(f"wrote part 'generator' to {run.folder}")
    found = _loads(network, test) if run.is_main and len(test) else {}
    for label, row in found.items():
        run.say(f"{label}: mean load read on the test split {row['load']:.3f} (N = {row['n']})")
    return {"checkpoint": run.folder, "part": "generator", "loads": found}


def _weights(overrides: Sequence[str], kinds: dict[str, type[Any]]) -> dict[str, dict[str, float]]:
    """STAGE.NAME=VALUE words -> loss weights by stage; UsageError for a stage or a name that there is not."""
    for each in overrides:
        if each.partition(".")[0] not in kinds:
            raise click.UsageError(f"--set {each}: expected STAGE.NAME=NUMBER with a stage of {', '.join(kinds)}")
    return {
        stage: loss_weights(
            kind, [each.partition(".")[2] for each in overrides if each.partition(".")[0] == stage], but=("learning_rate",)
        )
        for stage, kind in kinds.items()
    }


def _loads(network: Disentangler, dataset: MaskedDataset) -> dict[str, dict[str, float]]:
    """Mean load that is read on images of each label, and how many there are."""
    import torch

    from gan_explain.data import coarse
    from gan_explain.lungs import opacity_load

    found: dict[str, list[float]] = {}
    for start in range(0, len(dataset), 16):
        batch = dataset.batch(range(start, min(start + 16, len(dataset))))
        with torch.no_grad():
            tau = network.read(batch.images, batch.lungs)
        for label, load in zip(batch.labels, opacity_load(tau, batch.lungs).tolist(), strict=True):
            found.setdefault(coarse(label), []).append(load)
    return {label: {"load": sum(each) / len(each), "n": len(each)} for label, each in sorted(found.items())}
