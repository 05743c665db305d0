"""Checkpoints: a folder NAME/{weights.safetensors, config.json, card.md} that holds named parts (a target, a generator, ...).

Tensors are stored under `part/tensor-name`; config.json gives each part's kind and configuration and the SHA-256 of the weights.
Only safetensors and JSON are read, so loading runs no code from the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from gan_explain.files.temporaries import check_places, clear_temporaries, left_by_killed, temporary_beside, write_bytes
from gan_explain.files.text import one_line
from gan_explain.types import CheckpointError

SCHEMA_VERSION = 1
WEIGHTS, CONFIG = "weights.safetensors", "config.json"
NEW = "new"  # the folder in which `save_part` makes both files ready


@dataclass(frozen=True)
class Part:
    """One named part of a checkpoint: its kind, the configuration that rebuilds it, and its tensors (float32).

    `origin` says how it was made, as far as that is known: a free map's has `target` (spec), `target_sha256`
    (`targets.weights_digest`) and `positive`.
    """

    kind: str
    config: Mapping[str, Any]
    state: Mapping[str, Tensor]
    checkpoint: str = ""
    origin: Mapping[str, Any] = field(default_factory=dict)


def find_checkpoint(name: str | os.PathLike[str]) -> Path:
    """A checkpoint's folder: a path as it is, or a name in $GAN_EXPLAIN_CHECKPOINTS, ./checkpoints or among the shipped ones.

    Raises CheckpointError with the places that were looked at, and where to put the folder.
    """
    roots = places()
    for root in roots:
        if _config_file(root / name).is_file():
            return root / name
    looked = ", ".join(str((root / name).absolute()) for root in roots)
    raise CheckpointError(
        f"no checkpoint {str(name)!r}: expected a folder with {CONFIG} and {WEIGHTS} at one of {looked}; "
        "put it into ./checkpoints, or into a folder that GAN_EXPLAIN_CHECKPOINTS names"
    )


def places() -> list[Path]:
    """Where a checkpoint is looked for by name, in this order; the first is for paths."""
    named = os.environ.get("GAN_EXPLAIN_CHECKPOINTS")
    return [Path(), *([Path(named)] if named else []), Path("checkpoints"), _shipped()]


def _shipped() -> Path:
    """The weights that come with the package: inside it where a wheel was installed, beside it in the repository."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "checkpoints"
    return inside if inside.is_dir() else package.parent / "checkpoints"


def read_config(directory: Path) -> dict[str, Any]:
    """config.json of a checkpoint folder; raises CheckpointError, naming the file, when it is damaged or of a newer schema."""
    path = _config_file(directory)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if config["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema_version {config['schema_version']}, this version reads {SCHEMA_VERSION}")
        parts = {
            name: {"kind": part["kind"], "config": dict(part["config"])}
            | ({"origin": dict(part["origin"])} if part.get("origin") else {})
            for name, part in config["parts"].items()
        }
        return {"schema_version": SCHEMA_VERSION, "sha256": str(config["sha256"]), "parts": parts}
    except KeyError as error:
        raise CheckpointError(f"{path}: expected a checkpoint configuration, got one without {error}") from error
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path}: expected a checkpoint configuration, got: {error}") from error


def config_of(name: str | os.PathLike[str]) -> dict[str, Any]:
    """`read_config` of the checkpoint of a name or path. Raises CheckpointError as `find_checkpoint` and it do."""
    return read_config(find_checkpoint(name))


def _config_file(directory: Path) -> Path:
    """Where a checkpoint's config.json is: beside the weights, unless a `save_part` was killed between moving the two."""
    return next((left / CONFIG for left in directory.glob(f".{NEW}.*.tmp") if _half_moved(left)), directory / CONFIG)


def _half_moved(folder: Path) -> bool:
    """Whether the weights were moved out of a folder of `save_part` and their config.json was not yet."""
    return (folder / CONFIG).is_file() and not (folder / WEIGHTS).exists()


def settle(directory: Path) -> None:
    """Finish or take away what killed processes left half written in a checkpoint's folder."""
    for left in left_by_killed(directory, NEW):
        if _half_moved(left):
            (left / CONFIG).replace(directory / CONFIG)
    clear_temporaries(directory)


def _read_weights(directory: Path, config: Mapping[str, Any]) -> dict[str, Tensor]:
    path = directory / WEIGHTS
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: expected the checkpoint's weights, got: {error}") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != config["sha256"]:
        raise CheckpointError(f"{path}: expected SHA-256 {config['sha256'][:12]}..., got {digest[:12]}... (file cut or changed)")
    try:
        return safetensors.torch.load(data)
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path}: expected safetensors, got: {error}") from error


def load_part(name: str | os.PathLike[str], part: str) -> Part:
    """Read one part of a checkpoint; half-precision tensors come back as float32.

    Raises CheckpointError when the checkpoint or the part is missing, or the weights are damaged.
    """
    directory = find_checkpoint(name)
    config = read_config(directory)
    if part not in config["parts"]:
        raise CheckpointError(f"{directory}: no part {part!r}; it has {', '.join(sorted(config['parts'])) or 'none'}")
    entry = config["parts"][part]
    prefix = f"{part}/"
    tensors = _read_weights(directory, config)
    state = {key[len(prefix) :]: _widen(value) for key, value in tensors.items() if key.startswith(prefix)}
    return Part(entry["kind"], entry["config"], state, directory.name, entry.get("origin", {}))


def _narrow(value: Tensor) -> Tensor:
    """In 16 bits, where it is float32 and none of its numbers is too large for that."""
    narrow = value.half() if value.dtype == torch.float32 else value.clone()
    return narrow if bool((narrow.isfinite() | ~value.isfinite()).all()) else value.clone()


def _widen(value: Tensor) -> Tensor:
    return value.float() if value.dtype == torch.float16 else value


def save_part(
    directory: str | os.PathLike[str],
    part: str,
    kind: str,
    config: Mapping[str, Any],
    state: Mapping[str, Tensor],
    *,
    half: bool = False,
    origin: Mapping[str, Any] | None = None,
) -> None:
    """Add or replace one part of a checkpoint folder, keeping the others; `half` stores floating tensors in 16 bits where they
    fit, `origin` is what the part says of its making (see `Part`).

    Both files are written before either takes its place: a reader never sees half a file, a full disk leaves the old ones, and
    whenever the process is killed, the folder holds the old checkpoint or the new one. OSError where something cannot be written.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    check_places(directory, (WEIGHTS, CONFIG))
    settle(directory)
    tensors: dict[str, Tensor] = {}
    parts: dict[str, Any] = {}
    if (directory / CONFIG).is_file():
        old = read_config(directory)
        parts = dict(old["parts"])
        tensors = {k: v for k, v in _read_weights(directory, old).items() if not k.startswith(f"{part}/")}
    for key, value in state.items():
        value = value.detach().cpu().contiguous()
        tensors[f"{part}/{key}"] = _narrow(value) if half else value.clone()
    parts[part] = {"kind": kind, "config": dict(config)} | ({"origin": dict(origin)} if origin else {})
    data = safetensors.torch.save(tensors)
    written = {"schema_version": SCHEMA_VERSION, "sha256": hashlib.sha256(data).hexdigest(), "parts": parts}
    temporary = temporary_beside(directory / NEW)
    try:
        temporary.mkdir()
        write_bytes(temporary / WEIGHTS, data)
        write_bytes(temporary / CONFIG, (json.dumps(written, indent=2, sort_keys=True) + "\n").encode())
        for name in (WEIGHTS, CONFIG):
            (temporary / name).replace(directory / name)
    finally:
        if not _half_moved(temporary):  # a signal between the two: `settle` finishes what is left
            shutil.rmtree(temporary, ignore_errors=True)


def check_fit(network: Callable[[], nn.Module], part: Part) -> None:
    """CheckpointError unless the network that would be made takes a part's tensors: found before it asks for memory, which a
    configuration may name without end."""
    with torch.device("meta"):
        planned = network()
    _take(planned, part, assign=True)


def load_into(network: nn.Module, part: Part) -> None:
    """Load a part's tensors into a network and freeze it; raises CheckpointError when names or shapes do not fit."""
    _take(network, part)
    network.float().requires_grad_(False).eval()  # whatever torch.set_default_dtype says


def _take(network: nn.Module, part: Part, *, assign: bool = False) -> None:
    try:
        network.load_state_dict(dict(part.state), assign=assign)
    except RuntimeError as error:
        reason = one_line(error, 600)
        raise CheckpointError(f"checkpoint {part.checkpoint}: weights do not fit the configuration: {reason}") from error
