"""One invocation of a command: seed, device, logging, the output folder and run.json, which says how a result was made."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import click
from pydantic import Field

from gan_explain.cli.exits import OK, error_line, exit_code
from gan_explain.cli.folder import (
    PROGRAM,
    RUN,
    STATES,
    check_folder,
    jsonable,
    missing,
    publish,
    read_run,
    remove_empty,
    write_json,
)
from gan_explain.cli.hiding import error_without_names, without_names
from gan_explain.cli.options import Shown
from gan_explain.files.signals import held
from gan_explain.files.temporaries import clear_temporaries, temporary_beside
from gan_explain.files.text import printable

if TYPE_CHECKING:
    import torch

SCHEMA_VERSION = 1
PLAIN = "none"  # as a salt: patients and files under their own names
PACKAGES = ("gan_explain", "torch", "torchvision", "numpy", "pillow", "scipy", "matplotlib", "imageio-ffmpeg", "onnxruntime")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What every command takes; `resume` only a command whose folder fills up while it works."""

    TITLE: ClassVar = "Run"
    out: Annotated[Path | None, Field(title="DIR", description="Output folder.")] = None
    resume: Annotated[bool, Field(description="Continue the run in the output folder.")] = False
    overwrite: Annotated[bool, Field(description="Write into a folder that holds other files.")] = False
    seed: Annotated[int, Field(ge=0, lt=2**32, description="Seed of everything random.")] = 0
    device: Annotated[Literal["auto", "cpu", "cuda"], Field(description="auto: CUDA if there is any.")] = "auto"
    salt: Annotated[
        Path | None,
        Field(
            title="FILE|none",
            description="Secret behind the pseudonyms of patients and files, made where it is missing; none: their own names. "
            "[default: OUT/patient_salt]",
        ),
        Shown(variable="GAN_EXPLAIN_SALT"),
    ] = None
    json: Annotated[bool, Field(description="Print one JSON object on stdout.")] = False
    dry_run: Annotated[bool, Field(description="Check everything, write nothing.")] = False


class Run:
    """One invocation: seed and device in place, an output folder on demand, and run.json, which says how it was made."""

    def __init__(self, context: click.Context, options: RunOptions, *, replaces: bool) -> None:
        self._written = dict(context.params)
        self._out, self._device = options.out, options.device
        self.seed, self.resume, self.overwrite = options.seed, options.resume, options.overwrite
        self.as_json, self.dry_run = options.json, options.dry_run
        self.plain_names = options.salt == Path(PLAIN)
        self.salt = None if self.plain_names else options.salt
        self.is_main = int(os.environ.get("RANK", "0")) == 0
        self._name, self._replaces, self._opened = context.command_path, replaces, False
        self._argv = [str(context.find_root().info_name), *(context.obj if isinstance(context.obj, list) else sys.argv[1:])]
        self._facts: dict[str, Any] = {}
        self._made: list[Path] = []
        self._stack = ExitStack()
        self._started, self._clock = datetime.now(UTC), time.monotonic()

    def __enter__(self) -> Run:
        if self.is_main and self._out is not None:
            if not self.dry_run:
                clear_temporaries(self._out.parent, self._out.name)
                clear_temporaries(self._out, PROGRAM)
            check_folder(self._out, owned=self._replaces, allowed=self.overwrite or self.resume)
        os.environ["MPLBACKEND"] = "agg"  # drawn off screen, whatever notebook this was started from
        self._facts["device"] = str(self.device)
        seed_everything(self.seed)
        self._stack.enter_context(_log_to_stderr())
        return self

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        self._stack.close()
        if not self._opened or not self.is_main:
            return
        if error is not None and "earlier" not in self._facts and [path.name for path in self.out.iterdir()] == [RUN]:
            (self.out / RUN).unlink()  # failed before anything was done
            remove_empty(self._made)
        else:
            write_json(self.out / RUN, self._describe(error, finished=True))

    @property
    def out(self) -> Path:
        """The output folder that was asked for."""
        assert self._out is not None
        return self._out

    @property
    def resumable(self) -> bool:
        """Whether there is something in the output folder that --resume would go on from."""
        return self._opened and any((self.out / name).is_file() for name in STATES)

    @property
    def writes(self) -> bool:
        """Whether anything is to be written: there is an output folder and this is no dry run."""
        return self._out is not None and not self.dry_run

    @cached_property
    def device(self) -> torch.device:
        """The device asked for; under torchrun, this process's own."""
        import torch

        available = torch.cuda.is_available()
        if self._device == "cuda" and not available:
            raise click.UsageError("--device cuda: no CUDA device found")
        if self._device == "cpu" or not available:
            return torch.device("cpu")
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))

    @property
    def folder(self) -> Path:
        """The output folder, made (with a first run.json) when it is first asked for; not in a dry run."""
        if self.dry_run:
            raise RuntimeError("a dry run writes nothing: return before the folder is asked for")
        if not self._opened and self.is_main:
            self._made = missing(self.out)
            self.out.mkdir(parents=True, exist_ok=True)
            if earlier := read_run(self.out):
                self._facts["earlier"] = [*earlier.pop("earlier", []), earlier]
            write_json(self.out / RUN, self._describe(None, finished=False))
            self._opened = True
        return self.out

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A folder beside the output folder, or in it; on success its files, and run.json, are moved there, else nothing is left.

        The files of an earlier run that its run.json names are taken away first; others stay."""
        made = missing(self.out.parent)
        self.out.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_beside(self.out / PROGRAM if self.out.is_dir() else self.out)  # on the disk that it will stay on
        try:
            temporary.mkdir()
            yield temporary
            files = sorted(path.relative_to(temporary).as_posix() for path in temporary.rglob("*") if path.is_file())
            write_json(temporary / RUN, {**self._describe(None, finished=True), "files": files})
            with held():
                publish(temporary, self.out, [*files, RUN])
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            remove_empty(made)

    def record(self, **facts: Any) -> None:
        """Add facts (a data hash, a checkpoint's SHA-256) to run.json."""
        self._facts.update(facts)

    def say(self, text: str) -> None:
        """A result for a person, on stdout; kept quiet with --json."""
        if not self.as_json and self.is_main:
            click.echo(printable(text))

    def _describe(self, error: BaseException | None, *, finished: bool) -> dict[str, Any]:
        shown, command = jsonable(self._written), shlex.join(self._argv)
        if not self.plain_names:
            shown, command = without_names(self._written, self._argv)
        line = error_line if self.plain_names else error_without_names
        return {
            "schema_version": SCHEMA_VERSION,
            "program": PROGRAM,
            "name": self._name,
            "command": command,
            "options": jsonable(shown),
            "seed": self.seed,
            "versions": _versions(),
            **jsonable(self._facts),
            "started": self._started.isoformat(timespec="seconds"),
            "finished": datetime.now(UTC).isoformat(timespec="seconds") if finished else None,
            "seconds": round(time.monotonic() - self._clock, 3) if finished else None,
            "exit": (exit_code(error) if error else OK) if finished else None,
            "error": line(error) if error else None,
        }


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch (all devices)."""
    import random

    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - for a user's own target
    torch.manual_seed(seed)


def _versions() -> dict[str, str]:
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = printable(super().format(record))
        return f"{record.levelname.lower()}: {text}" if record.levelno >= logging.WARNING else text


@contextmanager
def _log_to_stderr() -> Iterator[None]:
    """The package's log on stderr; warnings of other libraries are kept quiet. Everything is put back at the end."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(message)s"))
    package, others = logging.getLogger(PROGRAM), logging.getLogger("py.warnings")
    before = package.handlers[:], package.level, package.propagate, others.level
    package.handlers[:], package.propagate = [handler], False
    package.setLevel(logging.INFO)
    others.setLevel(logging.ERROR)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        package.handlers[:], package.propagate = before[0], before[2]
        package.setLevel(before[1])
        others.setLevel(before[3])
