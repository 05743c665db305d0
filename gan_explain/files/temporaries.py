"""Files and folders made ready beside their place, under the number of the process, and what a killed one leaves of them."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def temporary_beside(path: Path) -> Path:
    """Where this process makes a file or folder ready before it takes its place."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def check_places(folder: Path, names: Sequence[str]) -> None:
    """IsADirectoryError where a folder stands in the place of a file that is to be written."""
    for name in names:
        if (folder / name).is_dir():
            raise IsADirectoryError(f"{folder / name}: expected a place for a file, got a folder")


def left_by_killed(folder: Path, name: str = "") -> list[Path]:
    """Files and folders (called `name`, or any) that killed processes were making ready in `folder`; not those of other processes
    that still run."""
    found = folder.glob(f".{glob.escape(name) or '*'}.*.tmp")
    return [path for path in found if (process := path.name.split(".")[-2]).isdecimal() and not _runs(int(process))]


def clear_temporaries(folder: Path, name: str = "") -> None:
    """Take away what `left_by_killed` finds."""
    for left in left_by_killed(folder, name):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    """Whether another process of this number runs on this machine; taken for so on Windows, where asking would stop it."""
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process != os.getpid()


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write into that takes its place when the block ends, or is not there at all: a temporary beside it, then a
    rename."""
    path = Path(path)
    temporary = temporary_beside(path)
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], data: bytes | memoryview) -> None:
    """Write a whole file or nothing."""
    with whole_file(path) as file:
        file.write(data)
