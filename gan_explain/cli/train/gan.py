"""`gan-explain train gan`: the disentangling GAN for a target; train_gan.py calls it too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import click

from gan_explain.cli.common import Run, command
from gan_explain.cli.datasets import INCLUDE, open_included
from gan_explain.cli.models import FORMS, TRUST_CODE, names, probed
from gan_explain.cli.train.shared import AMP, DATA, INTERVAL, RATE, SEGMENTER, check_network, loop_config, loss_weights

if TYPE_CHECKING:
    from gan_explain.nets.generator import Disentangler, GeneratorConfig
    from gan_explain.types import Record, Target

PRESETS = {
    "cpu": {"steps": 6500, "batch_size": 16, "width": 32},
    "gpu": {"steps": 20000, "batch_size": 64, "width": 64},
}
FINETUNE = {"cpu": 1500, "gpu": 5000}  # steps from a generator that can already add and take off
RESOLUTION, CODE_DIM, LEARNING_RATE, GENTLE_RATE = 128, 16, 1e-3, 3e-4


@command("gan", out="runs/gan", resume=True)
@DATA
@INCLUDE
@click.option("--target", "target_spec", required=True, metavar="SPEC", help=f"CNN: {FORMS}; it needs gradients.")
@click.option("--positive", metavar="A+B", help="Classes that count as positive. [default: the target's own]")
@click.option("--classes", metavar="A,B", help="Names of the target's outputs, where it has none.")
@click.option(
    "--finetune",
    metavar="NAME",
    help="Start from the --confine generator of this checkpoint, which gives resolution, width and code; fewer steps.",
)
@click.option(
    "--resolution",
    type=click.IntRange(64, 512),
    show_default=str(RESOLUTION),
    help="Side of the images: 64 to 512, a multiple of 32.",
)
@click.option("--confine", type=click.Choice(["lungs", "free"]), default="lungs", help="Where the layer may be.")
@SEGMENTER
@click.option(
    "--preset", type=click.Choice(sorted(PRESETS)), default="cpu", help="Steps, batch and width of the machine at hand."
)
@click.option("--steps", type=click.IntRange(1), help="Instead of the preset's.")
@click.option("--batch-size", type=click.IntRange(4), help="Instead of the preset's; half negatives, half positives.")
@click.option("--width", type=click.IntRange(8), help="Instead of the preset's: channels at a quarter of the resolution.")
@click.option(
    "--learning-rate", type=RATE, show_default=f"{LEARNING_RATE:g}; {GENTLE_RATE:g} with --finetune", help="Of both networks."
)
@click.option("--code-dim", type=click.IntRange(1), show_default=str(CODE_DIM), help="Numbers in a pathology code.")
@click.option(
    "--set", "overrides", multiple=True, metavar="NAME=VALUE", help="A loss weight of train.gan.GanTraining, say adversarial=0.4."
)
@TRUST_CODE
@AMP
@INTERVAL
def train_gan(
    run: Run,
    data: str,
    include: Sequence[str],
    target_spec: str,
    positive: str | None,
    classes: str | None,
    finetune: str | None,
    resolution: int | None,
    confine: Literal["lungs", "free"],
    segmenter_name: str,
    preset: str,
    steps: int | None,
    batch_size: int | None,
    width: int | None,
    learning_rate: float | None,
    code_dim: int | None,
    overrides: Sequence[str],
    trust_code: bool,
    amp: bool,
    save_every: int,
) -> dict[str, object]:
    """Train the disentangling GAN for a target; writes the part `lungs` or `free` of checkpoint --out.

    With --finetune it goes on from the generator of another target, which takes a quarter of the steps. Runs in several
    processes under torchrun unchanged.
    """
    from gan_explain.nets.generator import Disentangler, GeneratorConfig
    from gan_explain.segmenter import load_segmenter
    from gan_explain.train.distributed import process_group
    from gan_explain.train.gan import GanTraining, train_gan
    from gan_explain.train.masks import MaskedDataset

    start, tuned_from = _start(finetune, confine)
    if start is None:
        width = width or PRESETS[preset]["width"]
        network = GeneratorConfig(
            resolution=resolution or RESOLUTION, confine=confine, width=width, code_dim=code_dim or CODE_DIM
        )
        check_network(lambda: Disentangler(network))
    else:
        network = start.config
        _check_shape({"resolution": resolution, "width": width, "code_dim": code_dim}, network, str(finetune))
    weights = loss_weights(GanTraining, overrides, but=("learning_rate",))
    explained = probed(target_spec, run.device, positive=names(positive), classes=names(classes), trust_code=trust_code)
    _check_gradients(explained, target_spec)
    dataset = open_included(run, data, network.resolution, include).split("train")
    network = network.model_copy(update={"labels": _labels(dataset.records, explained)})
    config = GanTraining(
        steps=steps or (PRESETS[preset]["steps"] if start is None else FINETUNE[preset]),
        batch_size=batch_size or PRESETS[preset]["batch_size"],
        learning_rate=learning_rate or (LEARNING_RATE if start is None else GENTLE_RATE),
        ramp=GanTraining.ramp if start is None else 0,  # a generator that adds already need not be kept from doing nothing
        seed=run.seed, device=str(run.device), amp=amp, **weights,
    )  # fmt: skip
    origin = _origin(explained, target_spec) | tuned_from
    run.record(origin=origin)
    masked = MaskedDataset(dataset, load_segmenter(segmenter_name))
    if run.dry_run:
        return {"records": len(dataset), "steps": config.steps}
    with process_group(run.device):
        train_gan(
            masked, explained, run.folder, network, config, loop_config(config.steps, save_every), resume=run.resume, start=start,
            origin=origin,
        )  # fmt: skip
    run.say(
        f"wrote part {confine!r} to {run.folder}; next: gan-explain evaluate --checkpoint {run.folder} --target {target_spec}"
    )
    return {"checkpoint": run.folder, "part": confine}


def _start(finetune: str | None, confine: str) -> tuple[Disentangler | None, dict[str, Any]]:
    """The generator to go on from, and what the result will say of it; CheckpointError where there is none."""
    from gan_explain.checkpoints import find_checkpoint, load_generator, read_config

    if finetune is None:
        return None, {}
    directory = find_checkpoint(finetune)
    made = {"checkpoint": directory.name, "sha256": read_config(directory)["sha256"]}
    return load_generator(finetune, confine), {"finetuned_from": made}


def _check_shape(asked: dict[str, int | None], network: GeneratorConfig, finetune: str) -> None:
    """UsageError for an option that asks for another network than the one to go on from."""
    for name, value in asked.items():
        there = getattr(network, name)
        if value is not None and value != there:
            raise click.UsageError(f"--{name.replace('_', '-')} {value}: the generator of --finetune {finetune} has {there}")


def _check_gradients(target: Target, spec: str) -> None:
    from gan_explain.types import TargetError

    if not target.differentiable:
        raise TargetError(f"target {spec}: training a generator needs a target with gradients; this one only runs forward")


def _labels(records: Sequence[Record], target: Target) -> tuple[str, ...]:
    """Labels of the target's positive set that the data have, covid first: its prior is drawn from unless another is named."""
    from gan_explain.data import belongs, coarse

    found = {r.label if r.label in target.positive else coarse(r.label) for r in records if belongs(r.label, target.positive)}
    return tuple(sorted(found or target.positive, key=lambda label: (label != "covid", label)))


def _origin(target: Target, spec: str) -> dict[str, Any]:
    from gan_explain.targets import weights_digest

    return {"target": spec, "target_sha256": weights_digest(target), "positive": list(target.positive)}
