"""Output folders: which may be written into, what belongs to us there, and putting finished files in place."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from gan_explain.files.temporaries import check_places

RUN, PROGRAM = "run.json", "gan_explain"
REJECTS = "rejects.csv"  # files that cannot be read; all that a run leaves which has too many of them
STATES = ("state.pt", "reader/state.pt", "results.jsonl")  # what --resume goes on from


def check_folder(out: Path, *, owned: bool, allowed: bool) -> None:
    """Refuse an output folder that cannot be used before any work is done.

    `owned`: an earlier result of ours may be replaced; `allowed`: any folder may be written into. Raises UsageError for a folder
    in use, OSError when a file is in its place or it cannot be written.
    """
    existing = next(path for path in (out, *out.absolute().parents) if path.exists() or path.is_symlink())
    if not existing.is_dir():
        raise NotADirectoryError(f"--out {out}: expected a folder, got a file ({existing})")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(f"--out {out}: no permission to write to {existing}")
    if existing != out or allowed or all(path.name == REJECTS for path in out.iterdir()):
        return
    earlier = read_run(out)
    if not earlier:
        raise click.UsageError(f"--out {out}: the folder holds other files; name another one, or --overwrite to write into it")
    if not owned:
        raise click.UsageError(f"--out {out}: holds an earlier run; --resume continues it, --overwrite starts it again")
    if "files" not in earlier:
        raise click.UsageError(f"--out {out}: holds a training run; name another folder, or --overwrite to write into it")


def read_run(folder: Path) -> dict[str, Any]:
    """run.json of a folder of ours; {} when it has none or another program's."""
    try:
        run = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return dict(run) if isinstance(run, dict) and run.get("program") == PROGRAM else {}


def publish(source: Path, out: Path, files: Sequence[str]) -> None:
    """Move files (paths below `source`) into `out`, after the files of an earlier run that its run.json names are taken away.

    OSError, before anything is taken away, where something else is in the place of a file or of its folder.
    """
    out.mkdir(exist_ok=True)
    earlier = read_run(out).get("files", [])
    check_places(out, files)
    for name in files:
        for folder in Path(name).parents:
            if (out / folder).exists() and not (out / folder).is_dir() and folder.as_posix() not in earlier:
                raise NotADirectoryError(f"{out / folder}: expected a place for a folder, got a file")
    for name in earlier:
        old = out / name
        if ".." not in Path(name).parts and not Path(name).is_absolute() and old.is_file():
            old.unlink()
            if old.parent != out and not any(old.parent.iterdir()):
                old.parent.rmdir()
    for name in files:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).replace(out / name)


def missing(folder: Path) -> list[Path]:
    """The folder and its parents as far as they do not exist yet, innermost first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def remove_empty(folders: Sequence[Path]) -> None:
    """Remove those folders, innermost first, that are empty."""
    for path in folders:
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write strict JSON, whole or not at all."""
    from gan_explain.files.temporaries import write_bytes

    write_bytes(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def jsonable(value: Any) -> Any:
    """Plain JSON of what commands return: paths become text, tensors lists, NaN and infinities null."""
    if hasattr(value, "as_json"):
        return jsonable(value.as_json())
    if isinstance(value, Mapping):
        return {str(key): jsonable(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(each) for each in value]
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    if isinstance(value, float):
        return value if value - value == 0 else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
