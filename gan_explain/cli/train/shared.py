"""What the training commands share: options, configurations made of them, and the table printed in the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click

from gan_explain.cli.common import Run
from gan_explain.cli.datasets import DATA_HELP

if TYPE_CHECKING:
    from gan_explain.train.loop import LoopConfig
    from gan_explain.train.supervised import SupervisedConfig

DATA = click.option("--data", default="phantom", help=DATA_HELP)
AMP = click.option("--amp", is_flag=True, help="bfloat16 autocast (CUDA).")
INTERVAL = click.option(
    "--save-every", default=200, type=click.IntRange(1), help="Steps between resumable states and sample sheets."
)
RATE = click.FloatRange(0, min_open=True)


def supervised(run: Run, steps: int, batch_size: int, learning_rate: float, amp: bool, **more: Any) -> SupervisedConfig:
    from gan_explain.train.supervised import SupervisedConfig

    return SupervisedConfig(
        steps=steps, batch_size=batch_size, learning_rate=learning_rate, seed=run.seed, device=str(run.device), amp=amp, **more
    )


def loop_config(steps: int, save_every: int) -> LoopConfig:
    from gan_explain.train.loop import LoopConfig

    return LoopConfig(steps=steps, save_every=save_every, sheet_every=save_every)


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
    allowed = {f.name for f in fields(kind) if f.type == "float"} - set(but)
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


def measured(run: Run, measures: dict[str, Any]) -> dict[str, object]:
    from gan_explain.metrics.classification import format_table

    run.say(format_table(measures))
    return {"measures": measures}
