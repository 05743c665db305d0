"""`gan-explain train segmenter|target|gan|synthesis`, and train_gan.py: everything in checkpoints/ is made by these commands."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from gan_explain.cli.common import Run, command
from gan_explain.cli.datasets import DATA_HELP, INCLUDE, open_included
from gan_explain.cli.models import FORMS, TRUST_CODE, names, probed

if TYPE_CHECKING:
    from gan_explain.nets.generator import Disentangler, GeneratorConfig
    from gan_explain.train.loop import LoopConfig
    from gan_explain.train.supervised import SupervisedConfig
    from gan_explain.types import Record, Target

DATA = click.option("--data", default="phantom", help=DATA_HELP)
AMP = click.option("--amp", is_flag=True, help="bfloat16 autocast (CUDA).")
INTERVAL = click.option(
    "--save-every", default=200, type=click.IntRange(1), help="Steps between resumable states and sample sheets."
)
RATE = click.FloatRange(0, min_open=True)


def _supervised(run: Run, steps: int, batch_size: int, learning_rate: float, amp: bool, **more: Any) -> SupervisedConfig:
    from gan_explain.train.supervised import SupervisedConfig

    return SupervisedConfig(
        steps=steps, batch_size=batch_size, learning_rate=learning_rate, seed=run.seed, device=str(run.device), amp=amp, **more
    )


def _loop(steps: int, save_every: int) -> LoopConfig:
    from gan_explain.train.loop import LoopConfig

    return LoopConfig(steps=steps, save_every=save_every, sheet_every=save_every)


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
    from gan_explain.data.augment import Ranges
    from gan_explain.nets.unet import UNet, UNetConfig
    from gan_explain.segmenter import load_segmenter
    from gan_explain.train.distributed import process_group
    from gan_explain.train.segmenter import dice_report, train_segmenter

    network = UNetConfig(resolution=resolution)
    _check(lambda: UNet(network))
    dataset = open_included(run, data, resolution, include)
    if run.dry_run:
        return {"records": len(dataset)}
    config = _supervised(run, steps, batch_size, learning_rate, amp, ranges=Ranges(rotate=12, scale=0.2, shift=0.08))
    with process_group(run.device):
        train_segmenter(dataset, run.folder, network, config, _loop(steps, save_every), resume=run.resume)
    if not run.is_main:
        return {}
    return _print(run, {"dice": dice_report(load_segmenter(run.folder), dataset.split("test"))})


@command("target", out="runs/target", resume=True)
@DATA
@INCLUDE
@click.option(
    "--arch",
    default="small",
    help="small, small_vgg, small_inception, small_dense, resnet18, resnet50, vgg16, vgg16_bn, efficientnet_b0.",
)
@click.option("--weights", type=click.Path(path_type=Path), help="Local torchvision weights to start from (safetensors or .pth).")
@click.option("--sha256", metavar="HEX", help="SHA-256 that the --weights file must have.")
@click.option("--resolution", default=128, type=click.IntRange(32, 1024))
@click.option("--positive", default="covid", help="The positive set: covid, or a union such as covid+pneumonia.")
@click.option("--lungs-only", is_flag=True, help="Blank the outside of the lungs and standardise inside.")
@click.option("--segmenter", "segmenter_name", default="lungs128", help="Checkpoint that reads the lungs.")
@click.option("--keep-labels", is_flag=True, help="Keep bacterial, viral and other pneumonia apart.")
@click.option("--part", default="target", help="Name of the part in the checkpoint.")
@click.option("--steps", default=1500, type=click.IntRange(1))
@click.option("--batch-size", default=32, type=click.IntRange(2))
@click.option("--learning-rate", default=2e-3, type=RATE)
@click.option("--freeze-steps", default=0, type=click.IntRange(0), help="First steps in which only the last layer learns.")
@click.option(
    "--balance",
    type=click.Choice(["sampler", "weights", "none"]),
    default="sampler",
    help="Rare classes: drawn more often (by source), or weighted in the loss by inverse frequency.",
)
@click.option(
    "--patience",
    default=0,
    type=click.IntRange(0),
    help="Check validation patients every --save-every steps, stop after so many without a better one, keep the best; 0: never.",
)
@click.option(
    "--monitor", type=click.Choice(["balanced_accuracy", "loss"]), default="balanced_accuracy", help="What makes a check better."
)
@click.option("--calibrate", is_flag=True, help="Fit a temperature on the validation split.")
@AMP
@INTERVAL
def target(
    run: Run,
    data: str,
    include: Sequence[str],
    arch: str,
    weights: Path | None,
    sha256: str | None,
    resolution: int,
    positive: str,
    lungs_only: bool,
    segmenter_name: str,
    keep_labels: bool,
    part: str,
    steps: int,
    batch_size: int,
    learning_rate: float,
    freeze_steps: int,
    balance: Literal["sampler", "weights", "none"],
    patience: int,
    monitor: Literal["balanced_accuracy", "loss"],
    calibrate: bool,
    amp: bool,
    save_every: int,
) -> dict[str, object]:
    """Train a CNN to explain, or an independent judge; prints its measures and opacity probe on the test split."""
    from gan_explain.nets.classifier import ARCHITECTURES
    from gan_explain.segmenter import load_segmenter
    from gan_explain.train.distributed import process_group
    from gan_explain.train.target import TargetOptions, train_target
    from gan_explain.types import DataError

    if arch not in ARCHITECTURES:
        raise click.UsageError(f"--arch {arch}: expected one of {', '.join(ARCHITECTURES)}")
    if weights is not None and not weights.is_file():
        raise DataError(f"{weights}: no such weights file")
    if sha256 is not None and weights is None:
        raise click.UsageError("--sha256: expected --weights FILE with it")
    dataset = open_included(run, data, resolution, include)
    lungs = load_segmenter(segmenter_name)
    options = TargetOptions(
        arch=arch, size=resolution, group=not keep_labels, positive=tuple(positive.split("+")), lungs_only=lungs_only,
        segmenter_name=segmenter_name, weights=weights, sha256=sha256, part=part, balance=balance, patience=patience,
        monitor=monitor, calibrate=calibrate,
    )  # fmt: skip
    if run.dry_run:
        return {"records": len(dataset)}
    config = _supervised(run, steps, batch_size, learning_rate, amp, freeze_steps=freeze_steps)
    with process_group(run.device):
        trained = train_target(dataset, lungs, run.folder, options, config, _loop(steps, save_every), resume=run.resume)
    test = dataset.split("test")
    if not run.is_main or not len(test):
        run.say("no test split: not measured")
        return {"measures": {}}
    from gan_explain.checkpoints import read_config
    from gan_explain.evaluate import full_report
    from gan_explain.metrics.confusion import format_confusion

    found = full_report(trained, test, lungs, seed=run.seed)
    made = read_config(run.folder)["parts"][part].get("origin", {})
    printed = _print(run, found.measures)
    run.say(format_confusion(found.confusion))
    if made:
        run.say(f"made with {json.dumps(made)}")
    return printed | {"confusion": found.confusion.as_json(), "made_with": made}


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
@click.option("--segmenter", "segmenter_name", default="lungs128", help="Checkpoint that reads the lungs.")
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
        _check(lambda: Disentangler(network))
    else:
        network = start.config
        _check_shape({"resolution": resolution, "width": width, "code_dim": code_dim}, network, str(finetune))
    weights = _weights(overrides)
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
            masked, explained, run.folder, network, config, _loop(config.steps, save_every), resume=run.resume, start=start,
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


@command("synthesis", out="runs/synthesis", resume=True)
@DATA
@INCLUDE
@click.option("--checkpoint", help="Checkpoint whose lungs generator heals positives, to train on those too.")
@click.option("--segmenter", "segmenter_name", default="lungs128", help="Checkpoint that reads the lungs.")
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
    checkpoint: str | None,
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
    from gan_explain.checkpoints import load_generator
    from gan_explain.nets.synthesis import StructureGenerator, SynthesisConfig
    from gan_explain.segmenter import load_segmenter
    from gan_explain.train.distributed import process_group
    from gan_explain.train.synthesis import SynthesisTraining, structures, train_synthesis

    network = SynthesisConfig(resolution=int(resolution), width=width, z_dim=z_dim)
    _check(lambda: StructureGenerator(network))
    dataset = open_included(run, data, network.resolution, include).split("train")
    generator = load_generator(checkpoint) if checkpoint else None
    lungs = load_segmenter(segmenter_name) if generator else None
    if run.dry_run:
        return {"records": len(dataset)}
    real = structures(dataset, generator, lungs)
    config = SynthesisTraining(
        steps=steps, batch_size=batch_size, low_batch=3 * batch_size, seed=run.seed, device=str(run.device), amp=amp
    )
    with process_group(run.device):
        train_synthesis(real, run.folder, network, config, _loop(steps, save_every), resume=run.resume)
    run.say(f"wrote part 'synthesis' to {run.folder}")
    return {"checkpoint": run.folder, "structures": len(real)}


def _check(network: Callable[[], object]) -> None:
    """UsageError when no network can be built from the options; takes no memory and no random numbers."""
    import torch

    try:
        with torch.device("meta"):
            network()
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _weights(overrides: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE pairs -> numbers of GanTraining; UsageError names what is allowed."""
    import math
    from dataclasses import fields

    from gan_explain.train.gan import GanTraining

    allowed = {f.name for f in fields(GanTraining) if f.type == "float"} - {"learning_rate"}
    found: dict[str, Any] = {}
    for each in overrides:
        name, _, value = each.partition("=")
        try:
            found[name] = float(value)
            if name not in allowed or not math.isfinite(found[name]):
                raise ValueError(name)
        except ValueError:
            raise click.UsageError(f"--set {each}: expected NAME=NUMBER with a name of {', '.join(sorted(allowed))}") from None
    return found


def _print(run: Run, measures: dict[str, Any]) -> dict[str, object]:
    from gan_explain.metrics.classification import format_table

    run.say(format_table(measures))
    return {"measures": measures}
