"""The specs users name targets by: `checkpoint:NAME[#PART]`, `torchvision:ARCH#WEIGHTS`, `package.module:factory`."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
from pydantic import ValidationError
from torch import nn

from gan_explain.checkpoints import load_part
from gan_explain.targets.module import ModuleTarget, TargetConfig, brief, module_target, named_segmenter, target_from_part
from gan_explain.targets.weights import load_torchvision_weights
from gan_explain.types import CheckpointError, Segmenter, Target, TargetError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TORCHVISION_SIZES = {"inception_v3": 299}  # all others take 224
SPECS = "checkpoint:NAME[#PART], torchvision:ARCH#WEIGHTS.safetensors or package.module:factory"


def _torchvision_target(
    rest: str, classes: Sequence[str] | None, positive: Sequence[str] | None, segmenter: Segmenter | None
) -> ModuleTarget:
    arch, _, file = rest.partition("#")
    if not arch or not file:
        raise TargetError(f"expected torchvision:ARCH#WEIGHTS.safetensors, got 'torchvision:{rest}'")
    network = load_torchvision_weights(arch, file)
    stored = _stored_config(Path(file))
    defaults = {"size": TORCHVISION_SIZES.get(arch, 224), "mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    try:
        config = TargetConfig.model_validate({**defaults, **stored, "arch": arch})
    except ValidationError as error:
        raise CheckpointError(f"{file}: unusable target configuration: {brief(error)}") from error
    return module_target(network, _named(config, classes, positive), segmenter or named_segmenter(config))


def _stored_config(file: Path) -> dict[str, Any]:
    """A `TargetConfig` as JSON: the sidecar FILE.json, or "target" in a safetensors file's metadata; {} where there is none."""
    sidecar = Path(f"{file}.json")
    text = "{}"
    if sidecar.is_file():
        text = sidecar.read_text(encoding="utf-8")
    elif file.suffix == ".safetensors":
        with safetensors.safe_open(file, framework="pt") as handle:
            text = (handle.metadata() or {}).get("target", "{}")
    try:
        stored = json.loads(text)
    except ValueError as error:
        raise CheckpointError(f"{sidecar if sidecar.is_file() else file}: expected JSON, got: {error}") from error
    if not isinstance(stored, dict):
        raise CheckpointError(f"{sidecar if sidecar.is_file() else file}: expected a JSON object, got {type(stored).__name__}")
    return stored


def _named(config: TargetConfig, classes: Sequence[str] | None, positive: Sequence[str] | None) -> TargetConfig:
    """The configuration with its classes as asked for and a positive set: its own, the one asked for, or "covid".

    Raises TargetError when the classes say nothing about which of them is positive.
    """
    names = tuple(classes or config.classes)
    chosen = config.positive or tuple(positive or ())
    if not chosen and names and "covid" not in names:
        raise TargetError(f"name the positive set (--positive): the target's classes are {', '.join(names)}")
    return config.model_copy(update={"classes": names, "positive": chosen or ("covid",)})


@contextmanager
def _working_directory_importable() -> Iterator[None]:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _factory_target(
    spec: str, classes: Sequence[str] | None, positive: Sequence[str] | None, segmenter: Segmenter | None
) -> Target:
    """Import `package.module` (the working directory counts) and call `factory()`, which returns a Target or an nn.Module.

    A module's attributes named like the fields of `TargetConfig` (classes, positive, size, channels, mean, std, ...) are read
    where it has them; `TargetConfig` gives the defaults: 224 pixels, 3 channels, pixels in [0, 1] as they are.
    """
    module_name, _, name = spec.partition(":")
    with _working_directory_importable():
        try:
            made = getattr(importlib.import_module(module_name), name)()
        except Exception as error:  # the user's own code may raise anything
            raise TargetError(f"target {spec}: {type(error).__name__}: {error}") from error
    if isinstance(made, Target):
        return made
    if not isinstance(made, nn.Module):
        raise TargetError(f"target {spec}: expected the factory to return an nn.Module or a Target, got {type(made).__name__}")
    found = {key: getattr(made, key) for key in TargetConfig.model_fields if key != "arch" and hasattr(made, key)}
    try:
        config = TargetConfig.model_validate(found)
    except ValidationError as error:
        raise TargetError(f"target {spec}: {brief(error)}") from error
    return module_target(made, _named(config, classes, positive), segmenter or named_segmenter(config))


def resolve_target(
    spec: str,
    *,
    positive: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    segmenter: Segmenter | None = None,
) -> Target:
    """The target a spec names: `checkpoint:NAME[#PART]`, `torchvision:ARCH#WEIGHTS`, `package.module:factory`.

    `positive` replaces the positive set that is stored with the target; `classes` names a network's outputs in order.
    `segmenter` reads the lungs for a lungs-only target; by default it is the one its checkpoint names. Raises TargetError for
    an unknown form or parts that do not fit together, CheckpointError for missing or damaged weights.
    """
    scheme, colon, rest = spec.partition(":")
    if scheme == "checkpoint" and rest:
        name, _, part_name = rest.partition("#")
        target: Target = target_from_part(load_part(name, part_name or "target"), segmenter)
    elif scheme == "torchvision" and rest:
        target = _torchvision_target(rest, classes, positive, segmenter)
    elif colon and rest.isidentifier() and all(piece.isidentifier() for piece in scheme.split(".")):
        target = _factory_target(spec, classes, positive, segmenter)
    else:
        raise TargetError(f"expected a target {SPECS}, got {spec!r}")
    if positive and set(positive) != set(target.positive):
        if not isinstance(target, ModuleTarget):
            raise TargetError(f"target {spec}: its positive set is {'+'.join(target.positive)}, not {'+'.join(positive)}")
        target = target.with_positive(positive)
    return target
