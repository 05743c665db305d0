"""Local weight files of torchvision's networks. Nothing is downloaded, and no code in a file is run."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torchvision import models

from gan_explain.files.text import one_line
from gan_explain.types import CheckpointError, TargetError

WRAPPINGS = ("state_dict", "model_state_dict")
PREFIXES = ("module.", "_orig_mod.", "model.")  # what wraps a network puts before the names of its tensors
TENSORS = "a file of tensors (.safetensors or .pth)"


def read_weights(path: str | os.PathLike[str], sha256: str | None = None, *, known: Sequence[type] = ()) -> dict[str, Tensor]:
    """Tensors by name from a local .safetensors, .pth or .pt file of tensors; no code in the file is run.

    A wrapping {"state_dict": ...} or {"model_state_dict": ...} and the prefixes of DataParallel, torch.compile and Lightning
    ("module.", "_orig_mod.", "model."), where every name has one, are taken off. A whole module is taken for its tensors if
    it is made of `known` classes alone. Raises CheckpointError, naming the file, when it is missing, damaged, holds anything
    but tensors, or has another SHA-256 than `sha256`.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such weights file")
    check_digest(path, sha256)
    try:
        state: Any = safetensors.torch.load_file(path) if path.suffix == ".safetensors" else load_tensors(path, known)
    except (CheckpointError, OSError, MemoryError):
        raise
    except Exception as error:  # of safetensors: not all that it raises is public
        raise CheckpointError(f"{path}: expected {TENSORS}, got: {error}") from error
    if isinstance(state, nn.Module):
        state = state.state_dict()
    for key in WRAPPINGS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: expected tensors by name, got {type(state).__name__}")
    names = [str(key) for key in state]
    while prefix := next((each for each in PREFIXES if all(name.startswith(each) for name in names)), None):
        names = [name.removeprefix(prefix) for name in names]
    return dict(zip(names, state.values(), strict=True))


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_digest(path: Path, sha256: str | None) -> None:
    """CheckpointError unless a file has this SHA-256, where one is asked for."""
    if sha256 is not None and (digest := file_digest(path)) != sha256.lower():
        raise CheckpointError(f"{path}: expected SHA-256 {sha256.lower()}, got {digest}")


def load_tensors(path: Path, known: Sequence[type] = (), expected: str = TENSORS) -> Any:
    """What torch.save wrote into a file: tensors, numbers and containers, and objects of `known` classes. CheckpointError, naming
    the file and what was `expected`, for anything else; no code in it is run."""
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(list(known)):
            warnings.simplefilter("ignore")  # its remarks on pickles of other programs
            return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a damaged file makes the unpickler stumble in many ways
        reason = str(error).partition("\n")[0] or type(error).__name__
        if "weights_only" in str(error):  # torch tells how to load it all the same: not from here
            reason = "other objects, whose code was not run"
        raise CheckpointError(f"{path}: expected {expected}, got: {reason}") from error


def load_torchvision_weights(
    arch: str, path: str | os.PathLike[str], sha256: str | None = None, num_classes: int | None = None
) -> nn.Module:
    """torchvision's `arch` with the weights of a local file, to be trained on or to become a target.

    The number of classes is read from the file's last layer; another `num_classes` puts a fresh last layer in its place.
    Raises TargetError for an unknown architecture, CheckpointError when the file is unusable or does not fit it.
    """
    if arch not in models.list_models(module=models):
        raise TargetError(f"expected a classification architecture of torchvision (resnet50, vgg16, ...), got {arch!r}")
    state = {key: value.float() if value.is_floating_point() else value for key, value in read_weights(path, sha256).items()}
    auxiliary = any(key.startswith(("AuxLogits.", "aux1.")) for key in state)
    options = {"aux_logits": auxiliary, "init_weights": False} if arch in ("inception_v3", "googlenet") else {}
    with torch.random.fork_rng(devices=[]):  # these weights get replaced: the caller's random numbers are not spent on them
        network: nn.Module = models.get_model(arch, weights=None, **options)
        head = head_name(network)
        stored = state.get(f"{head}.weight", torch.empty(0)).shape[0]
        if stored == 0:
            raise CheckpointError(f"{path}: expected weights of {arch} with {head}.weight, got {', '.join(list(state)[:3])}, ...")
        _resize_head(network, head, stored)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: weights do not fit {arch}: {one_line(error)}") from error
    _resize_head(network, head, num_classes or stored)
    return network


def head_name(network: nn.Module) -> str:
    """The name of the last linear or convolutional layer, which gives the logits."""
    names: list[str] = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    return names[-1]


def _resize_head(network: nn.Module, name: str, classes: int) -> None:
    """Put a fresh last layer in place unless it has `classes` outputs already."""
    old = network.get_submodule(name)
    if isinstance(old, nn.Linear) and old.out_features != classes:
        network.set_submodule(name, nn.Linear(old.in_features, classes))
    elif isinstance(old, nn.Conv2d) and old.out_channels != classes:
        network.set_submodule(name, nn.Conv2d(old.in_channels, classes, 1))
