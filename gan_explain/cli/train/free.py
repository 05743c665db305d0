"""`gan-explain train free`: the free map of a target, an audit's adversary."""

from __future__ import annotations

from collections.abc import Sequence

import click

from gan_explain.cli.common import Run, command
from gan_explain.cli.datasets import INCLUDE, open_included
from gan_explain.cli.models import TRUST_CODE, names, probed
from gan_explain.cli.train.shared import AMP, DATA, INTERVAL, RATE, SEGMENTER, check_network, loss_weights
from gan_explain.cli.words import FORMS


@command("free", out="runs/free", resume=True)
@DATA
@INCLUDE
@click.option("--target", "target_spec", required=True, metavar="SPEC", help=f"CNN: {FORMS}; it needs gradients.")
@click.option("--positive", metavar="A+B", help="Classes that count as positive. [default: the target's own]")
@click.option("--classes", metavar="A,B", help="Names of the target's outputs, where it has none.")
@SEGMENTER
@click.option("--resolution", default=128, type=click.IntRange(32, 512), help="Side of the images, in pixels: a multiple of 16.")
@click.option("--width", default=16, type=click.IntRange(8), help="Channels at half of the resolution: a multiple of 8.")
@click.option("--steps", default=600, type=click.IntRange(1))
@click.option("--batch-size", default=16, type=click.IntRange(4), help="Half negatives, half positives.")
@click.option("--learning-rate", default=1e-3, type=RATE)
@click.option(
    "--set", "overrides", multiple=True, metavar="NAME=VALUE", help="A loss weight of train.free.FreeTraining, say size=2."
)
@TRUST_CODE
@AMP
@INTERVAL
def free(
    run: Run,
    data: str,
    include: Sequence[str],
    target_spec: str,
    positive: str | None,
    classes: str | None,
    segmenter_name: str,
    resolution: int,
    width: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
    overrides: Sequence[str],
    trust_code: bool,
    amp: bool,
    save_every: int,
) -> dict[str, object]:
    """Train a signed map, anywhere on the image, that turns one target's answer; writes the part `free` of checkpoint --out.

    It is an adversary for audits: what it finds, disease or not, is what this CNN answers to. Runs in several processes under
    torchrun unchanged.
    """
    from gan_explain.nets.free import FreeConfig, FreeMap
    from gan_explain.nets.segmenter import load_segmenter
    from gan_explain.targets import weights_digest
    from gan_explain.train.distributed import process_group
    from gan_explain.train.gan.free import FreeTraining, check_gradients, train_free
    from gan_explain.train.masks import MaskedDataset

    network = FreeConfig(resolution=resolution, width=width)
    check_network(lambda: FreeMap(network))
    weights = loss_weights(FreeTraining, overrides, but=("learning_rate",))
    lungs = load_segmenter(segmenter_name)
    target = probed(target_spec, run.device, positive=names(positive), classes=names(classes), trust_code=trust_code)
    check_gradients(target)
    dataset = open_included(run, data, resolution, include).split("train")
    config = FreeTraining(
        steps=steps, batch_size=batch_size, learning_rate=learning_rate, amp=amp, save_every=save_every,
        seed=run.seed, device=str(run.device), **weights,
    )  # fmt: skip
    origin = {"target": target_spec, "target_sha256": weights_digest(target), "positive": list(target.positive)}
    run.record(origin=origin)
    if run.dry_run:
        return {"records": len(dataset), "steps": steps}
    with process_group(run.device):
        train_free(
            MaskedDataset(dataset, lungs), target, run.folder, network, config, resume=run.resume, origin=origin
        )  # fmt: skip
    run.say(f"wrote part 'free' to {run.folder}")
    return {"checkpoint": run.folder, "part": "free"}
