"""How commands end: the documented exit codes, one error line for a person, and click commands that keep to both."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

from gan_explain.cli.options import write_parameters
from gan_explain.files.signals import stoppable
from gan_explain.files.text import printable

OK, INTERNAL, USAGE, DATA, TARGET, DIVERGED, RESOURCES, THRESHOLD, INTERRUPTED, KILLED = 0, 1, 2, 3, 4, 5, 6, 7, 75, 130


class ThresholdError(Exception):
    """A measure is on the wrong side of the threshold that was asked for (exit code 7)."""


def exit_code(error: BaseException) -> int:
    """The documented exit code of an exception: 1 internal, 2 usage, 3 data, 4 target contract, 5 diverged, 6 disk or memory,
    7 threshold, 75 interrupted with a resumable state, 130 interrupted (SIGTERM or Ctrl-C) without one: nothing is left."""
    if isinstance(error, click.ClickException):
        return USAGE
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return KILLED
    if isinstance(error, ThresholdError):
        return THRESHOLD
    from gan_explain.train.loop import Interrupted
    from gan_explain.types import DataError, TargetError, TrainingDiverged

    table = ((TargetError, TARGET), (DataError, DATA), (TrainingDiverged, DIVERGED), (Interrupted, INTERRUPTED))
    for kind, code in table:
        if isinstance(error, kind):
            return code
    if isinstance(error, OSError | MemoryError) or "out of memory" in str(error) or "can't allocate memory" in str(error):
        return RESOURCES
    return INTERNAL


def error_line(error: BaseException) -> str:
    """One line that says what went wrong, for a person."""
    code = exit_code(error)
    if isinstance(error, click.ClickException):
        text = error.format_message()
    elif code == KILLED:
        text = "interrupted"
    elif isinstance(error, MemoryError) or (code == RESOURCES and not isinstance(error, OSError)):
        text = "out of memory: try a smaller --resolution, or in a training --set batch_size"
    elif code == INTERNAL:
        text = f"{type(error).__name__}: {error} (a bug; GAN_EXPLAIN_TRACEBACK=1 shows where)"
    else:
        text = str(error) or type(error).__name__
    return printable("error: " + " ".join(text.split()))


class _Exits(click.Command):
    """A click command whose standalone `main` turns every exception into one line on stderr and the documented exit code."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, standalone_mode: bool = True, **extra: Any
    ) -> Any:
        argv = list(sys.argv[1:] if args is None else args)
        extra.setdefault("obj", argv)
        if not standalone_mode:
            return super().main(argv, prog_name, standalone_mode=False, **extra)
        try:
            with stoppable():
                result = super().main(argv, prog_name, standalone_mode=False, **extra)
        except Exception as error:
            _fail(error)
        sys.exit(result if isinstance(result, int) else OK)  # an int is the code of --help and --version


class Command(_Exits):
    """A command whose arguments and options stand in groups."""

    def format_arguments(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """They come with the options."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_parameters(self, ctx, formatter)


class Group(_Exits, click.Group):
    """A group that imports a subcommand when it is called: `lazy` maps names to ("module:attribute", one line of help)."""

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]] | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.lazy = dict(lazy or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self.lazy[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, summary) for name, (_, summary) in self.lazy.items()]
        rows += [(name, self.commands[name].get_short_help_str()) for name in super().list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _fail(error: BaseException) -> NoReturn:
    if os.environ.get("GAN_EXPLAIN_TRACEBACK"):
        traceback.print_exception(error, file=sys.stderr)
    click.echo(error_line(error), err=True)
    sys.exit(exit_code(error))
