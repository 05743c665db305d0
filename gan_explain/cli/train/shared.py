"""What the training commands share: options, configurations made of them, and the table printed in the end."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click

from gan_explain.cli.common import Run
from gan_explain.cli.datasets import DATA_HELP

if TYPE_CHECKING:
    from gan_explain.data import Dataset
    from gan_explain.targets import ModuleTarget
    from gan_explain.train.supervised import SupervisedTraining
    from gan_explain.types import Segmenter

DATA = click.option("--data", default="phantom", help=DATA_HELP)
AMP = click.option("--amp", is_flag=True, help="bfloat16 autocast (CUDA).")
INTERVAL = click.option(
    "--save-every", default=200, type=click.IntRange(1), help="Steps between resumable states and sample sheets."
)
RATE = click.FloatRange(0, min_open=True)
POSITIVE = click.option("--positive", default="covid", help="The positive set: covid, or a union such as covid+pneumonia.")
LUNGS_ONLY = click.option("--lungs-only", is_flag=True, help="Blank the outside of the lungs and standardise inside.")
SEGMENTER = click.option("--segmenter", "segmenter_name", default="lungs128", help="Checkpoint that reads the lungs.")
KEEP_LABELS = click.option("--keep-labels", is_flag=True, help="Keep bacterial, viral and other pneumonia apart.")
PART = click.option("--part", default="target", help="Name of the part in the checkpoint.")
PATIENCE = click.option(
    "--patience",
    default=0,
    type=click.IntRange(0),
    help="Check validation patients every --save-every steps, stop after so many without a better one, keep the best; 0: never.",
)
MONITOR = click.option(
    "--monitor", type=click.Choice(["balanced_accuracy", "loss"]), default="balanced_accuracy", help="What makes a check better."
)
CALIBRATE = click.option("--calibrate", is_flag=True, help="Fit a temperature on the validation split.")


def balance_option(default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        "--balance",
        type=click.Choice(["sampler", "weights", "none"]),
        default=default,
        help="Rare classes: drawn more often (by source), weighted in the loss by inverse frequency, or neither.",
    )


def check_classifier(arch: str) -> None:
    """UsageError for the name of an architecture that is none, or that learns more than to classify."""
    from gan_explain.nets.classifier import ARCHITECTURES, JOINT

    if arch not in ARCHITECTURES:
        raise click.UsageError(f"--arch {arch}: expected one of {', '.join(ARCHITECTURES)}")
    if arch in JOINT:
        command = {"multi_unet": "unet"}.get(arch, arch)
        raise click.UsageError(f"--arch {arch}: it learns more than to classify; train it by gan-explain train {command}")


def supervised(run: Run, **given: Any) -> SupervisedTraining:
    from gan_explain.train.supervised import SupervisedTraining

    return SupervisedTraining(seed=run.seed, device=str(run.device), **given)


def check_network(network: Callable[[], object]) -> None:
    """UsageError when no network can be built from the options; takes no memory and no random numbers."""
    import torch

    try:
        with torch.device("meta"):
            network()
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def loss_weights(kind: type[Any], overrides: Sequence[str], but: Sequence[str] = ()) -> dict[str, Any]:
    """NAME=VALUE pairs -> the numbers that a dataclass `kind` takes, without those named in `but`; UsageError names what is
    allowed."""
    allowed = {f.name for f in fields(kind) if "float" in str(f.type)} - set(but)
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


def measured(run: Run, measures: Mapping[str, Any]) -> dict[str, object]:
    from gan_explain.metrics.measure import format_table

    run.say(format_table(measures))
    return {"measures": measures}


def reported(run: Run, trained: ModuleTarget, dataset: Dataset, lungs: Segmenter, part: str = "target") -> dict[str, object]:
    """Measure a classifier on the test split, print tables and how it was made; what --json prints. Nothing without such a split,
    or in another process than the first."""
    from gan_explain.evaluate import classification
    from gan_explain.files.checkpoints import read_config
    from gan_explain.metrics.confusion import format_confusion

    test = dataset.split("test")
    if not run.is_main or not len(test):
        run.say("no test split: not measured")
        return {"measures": {}}
    found = classification(trained, test, lungs, seed=run.seed)
    made = read_config(run.folder)["parts"][part].get("origin", {})
    printed = measured(run, found.measures)
    assert found.confusion is not None
    run.say(format_confusion(found.confusion))
    if made:
        run.say(f"made with {json.dumps(made)}")
    return printed | {"confusion": found.confusion.as_json(), "made_with": made}
