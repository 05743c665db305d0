"""What every command shares: its options, and a `Run` in which it happens.

A command is a function of a `Run` and its own options that returns what `--json` prints:

    @common.command("segmenter", out="runs/segmenter", resume=True)
    @click.option("--steps", default=1500)
    def segmenter(run: common.Run, steps: int) -> dict[str, object]:
        dataset = ...
        run.record(data=dataset.fingerprint())
        train(..., out=run.folder, resume=run.resume)
        return {"dice": 0.95}

Nothing is written before `run.folder` (a folder that fills up while the command works, for training) or `run.staging()` (a folder
that appears complete or not at all) is asked for. Nothing here imports torch before a command runs, so that `--help` is instant.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from gan_explain.cli.exits import Command, Group, ThresholdError
from gan_explain.cli.folder import jsonable
from gan_explain.cli.run import Run

__all__ = ["HELP", "Command", "Group", "Run", "ThresholdError", "command", "jsonable"]

HELP = {"help_option_names": ["-h", "--help"], "show_default": True}


def command(name: str, *, out: str | None, resume: bool = False) -> Callable[[Callable[..., Any]], Command]:
    """Make a click command of `function(run, **options) -> mapping | None`, with the shared options.

    `out` is the default output folder; None leaves it to the command to have an option "out". With `resume` (training) a folder
    in use needs --resume or --overwrite; without, an earlier result of ours is replaced.
    """

    def decorate(function: Callable[..., Any]) -> Command:
        @wraps(function)
        def body(**options: Any) -> None:
            context = click.get_current_context()
            with Run(context, options, replaces=not resume) as run:
                try:
                    result = function(run, **options)
                except KeyboardInterrupt:  # a training catches signals itself; this is before it, after it or between two
                    if not (resume and run.resumable):
                        raise
                    from gan_explain.train.loop import Interrupted

                    raise Interrupted("stopped: continue with --resume") from None
                if run.dry_run:
                    run.say("dry run: nothing written")
                if run.as_json and run.is_main:
                    click.echo(json.dumps(jsonable(result or {}), allow_nan=False))

        own = list(getattr(function, "__click_params__", ()))
        decorated: Any = body
        decorated.__click_params__ = []
        for option in reversed(_shared(out, resume)):
            decorated = option(decorated)
        decorated.__click_params__ += own  # click reverses the list: the command's own options come first
        return click.command(name, cls=Command, context_settings=HELP)(decorated)

    return decorate


def _shared(out: str | None, resume: bool) -> list[Callable[[Any], Any]]:
    options = [
        click.option("--overwrite", is_flag=True, help="Write into a folder that holds other files."),
        click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, help="Seed of everything random."),
        click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="auto: CUDA if there is any."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout."),
        click.option("--plain-ids", is_flag=True, help="Name patients and files in what is written as the data do."),
        click.option("--dry-run", is_flag=True, help="Check everything, write nothing."),
    ]
    if resume:
        options.insert(0, click.option("--resume", is_flag=True, help="Continue the run in the output folder."))
    if out is not None:
        options.insert(0, click.option("--out", type=click.Path(path_type=Path), default=out, help="Output folder."))
    return options
