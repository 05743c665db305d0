"""What every command shares: its options, and a `Run` in which it happens.

A command is a function of a `Run` and of dataclasses that hold its options (`cli/options.py`); it returns what `--json` prints:

    @common.command("segmenter", out="runs/segmenter", resume=True)
    def segmenter(run: common.Run, data: DataOptions, training: TrainingOptions) -> dict[str, object]:
        dataset = ...
        run.record(data=dataset.fingerprint())
        train(..., out=run.folder, resume=run.resume)
        return {"dice": 0.95}

Nothing is written before `run.folder` (a folder that fills up while the command works, for training) or `run.staging()` (a folder
that appears complete or not at all) is asked for. Nothing here imports torch before a command runs, so that `--help` is instant.
"""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable, Sequence
from dataclasses import is_dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any

import click

from gan_explain.cli.exits import Command, Group, ThresholdError
from gan_explain.cli.folder import jsonable
from gan_explain.cli.options import fill, parameters
from gan_explain.cli.run import Run, RunOptions

__all__ = ["HELP", "Command", "Group", "Run", "ThresholdError", "command", "jsonable"]

HELP = {"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 120}


def command(
    name: str, *, out: str | None, resume: bool = False, without: Sequence[str] = (), epilog: str | None = None
) -> Callable[[Callable[..., Any]], Command]:
    """Make a click command of `function(run, options, ...) -> mapping | None`, with the shared options.

    `out` is the default output folder (NAME stands for the option of that name); with None nothing is written but into a folder
    that --out names. With `resume` (training) a folder in use needs --resume or --overwrite; without, an earlier result is
    replaced. `without`: shared options that say nothing there.
    """

    def decorate(function: Callable[..., Any]) -> Command:
        hints = typing.get_type_hints(function)
        kinds = {each: kind for each, kind in hints.items() if isinstance(kind, type) and is_dataclass(kind)}
        shared = parameters(
            RunOptions, but=[*without, *(() if resume else ("resume",))], defaults={"out": Path(out) if out else None}
        )

        @wraps(function)
        def body(**values: Any) -> None:
            context = click.get_current_context()
            filled = {each: fill(kind, context) for each, kind in kinds.items()}
            chosen = values["out"] and Path(str(values["out"]).replace("NAME", str(values.get("name"))))
            options = replace(fill(RunOptions, context), out=chosen)
            with Run(context, options, replaces=not resume) as run:
                try:
                    result = function(run, **filled)
                except KeyboardInterrupt:  # a training catches signals itself; this is before it, after it or between two
                    if not (resume and run.resumable):
                        raise
                    from gan_explain.train.loop import Interrupted

                    raise Interrupted("stopped: continue with --resume") from None
                if run.dry_run:
                    run.say("dry run: nothing written")
                if run.as_json and run.is_main:
                    click.echo(json.dumps(jsonable(result or {}), allow_nan=False))

        made = [each for kind in kinds.values() for each in parameters(kind)] + shared
        return Command(
            name,
            params=made,
            callback=body,
            help=inspect.getdoc(function),
            context_settings=HELP,
            epilog=epilog,
        )

    return decorate
