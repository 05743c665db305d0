"""What run.json says of a command line: a word in place of every input file, dataset and patient."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gan_explain.cli.exits import DIVERGED, INTERRUPTED, OK, TARGET, THRESHOLD, error_line, exit_code

FOLDERS = ("out",)  # paths that the caller makes up, as far as their last part
DATA = ("data", "path", "patient")  # options that are text and name data


def is_phantom(data: str) -> bool:
    return data.partition(":")[0] == "phantom"


def without_names(options: Mapping[str, Any], argv: Sequence[str]) -> tuple[dict[str, Any], str]:
    """Options and the command line with a word in place of every input file, dataset and patient: --data DATA."""
    shown, words = dict(options), {}
    for name, value in options.items():
        word = name.upper()
        if name in FOLDERS and value is not None:
            shown[name] = value.name if value.is_absolute() else str(value)
            words[str(value)] = shown[name]
        elif name == "pathology" and str(value).startswith("from:"):
            shown[name] = words[value] = "from:IMAGE"
        elif name in DATA and isinstance(value, str) and not is_phantom(value):
            shown[name] = words[value] = word
        elif name == "set":
            shown[name] = [_without_path(each) for each in value]
            words |= dict(zip(value, shown[name], strict=True))
        elif isinstance(value, Path):
            shown[name] = words[str(value)] = word
        elif isinstance(value, tuple | list) and any(isinstance(each, Path) for each in value):
            shown[name] = [f"{word}-{i}" for i, _ in enumerate(value, 1)]
            words |= dict(zip(map(str, value), shown[name], strict=True))
    return shown, shlex.join(_replaced(each, words) for each in argv)


def _without_path(setting: str) -> str:
    """NAME=VALUE as it is, unless the value is a file."""
    name, _, value = setting.partition("=")
    return f"{name}={name.upper()}" if "/" in value or Path(value).exists() else setting


def _replaced(argument: str, words: Mapping[str, str]) -> str:
    """A word of the command line: a value by itself or after --name=."""
    option, equals, value = argument.partition("=")
    if equals and option.startswith("-") and (found := _word(value, words)):
        return f"{option}={found}"
    return _word(argument, words) or argument


def _word(value: str, words: Mapping[str, str]) -> str | None:
    return words.get(value) or words.get(str(Path(value)))  # click.Path drops a slash at the end


def error_without_names(error: BaseException) -> str:
    """What run.json says of an error: its line where that is about numbers or a target, else only its kind."""
    if exit_code(error) in (OK, TARGET, DIVERGED, THRESHOLD, INTERRUPTED):
        return error_line(error)
    return f"error: {type(error).__name__} (what standard error said of it may name files)"
