"""What is shown of patients and files: pseudonyms under the salt of an output folder; nothing that names an input in run.json."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gan_explain.cli.exits import DIVERGED, INTERRUPTED, OK, TARGET, THRESHOLD, error_line, exit_code

if TYPE_CHECKING:
    from gan_explain.cli.run import Run
    from gan_explain.files.pseudonyms import Pseudonyms
    from gan_explain.types import Record

FOLDERS = ("out",)  # paths that the caller makes up, as far as their last part
DATA = ("data", "path", "patient")  # options that are text and name data
SALT_OPTION = click.option(
    "--salt",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="GAN_EXPLAIN_SALT",
    metavar="FILE",
    help="The secret behind the pseudonyms of patients, made where it is missing. [default: OUT/patient_salt]",
)


class Salt:
    """The salt of one invocation: that of --salt, else of the output folder (`beside`: of the folder that holds it), where later
    runs find it. It is read at once and made when the first names are asked for; at once in its place where the output folder
    `fills` up while the command works (and other processes may work in it), else put there by `keep`. DataError where it cannot
    be read."""

    def __init__(self, run: Run, file: Path | None, *, beside: bool = False, fills: bool = False) -> None:
        from gan_explain.files.pseudonyms import SALT, read_salt

        self._run, self._inside = run, file is None and not (beside or fills)
        self.path = file or (run.out.absolute().parent if beside else run.out) / SALT
        self._value = read_salt(self.path) if not run.plain_ids and self.path.exists() else None

    def names(self, records: Sequence[Record] = ()) -> Pseudonyms:
        """The public names of the patients and images of a dataset, noted in run.json; their own with --plain-ids."""
        from gan_explain.files.pseudonyms import Pseudonyms, new_salt, shared_salt

        if self._run.plain_ids:
            return Pseudonyms(None, records)
        if self._value is None:
            self._value = new_salt() if self._inside or self._run.dry_run else shared_salt(self.path)
        found = Pseudonyms(self._value, records)
        self._run.record(patient_ids={"method": "HMAC-SHA256", "salt": found.mark})
        return found

    def keep(self, folder: Path) -> None:
        """Put the salt of an output folder among its files."""
        from gan_explain.files.pseudonyms import SALT, write_salt

        if self._inside and self._value is not None:
            write_salt(folder / SALT, self._value)


def shown_name(run: Run, path: Path, sha256: str) -> str:
    """What a result calls an image file: by its content, since its name may be the patient's; its name with --plain-ids."""
    return path.name if run.plain_ids else f"radiograph {sha256[:8]}"


def is_phantom(data: str) -> bool:
    return data.partition(":")[0] == "phantom"


def shown_data(run: Run, data: str, fingerprint: str) -> str:
    """What a result calls a dataset: a phantom by its options, any other by its content; its name with --plain-ids."""
    if is_phantom(data):
        return data
    return Path(data).name if run.plain_ids else f"dataset {fingerprint[:8]}"


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
        elif isinstance(value, Path):
            shown[name] = words[str(value)] = word
        elif isinstance(value, tuple | list) and any(isinstance(each, Path) for each in value):
            shown[name] = [f"{word}-{i}" for i, _ in enumerate(value, 1)]
            words |= dict(zip(map(str, value), shown[name], strict=True))
    return shown, shlex.join(_replaced(each, words) for each in argv)


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
