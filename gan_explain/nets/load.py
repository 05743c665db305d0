"""Networks of checkpoints, rebuilt from their configuration and frozen."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from torch import nn

from gan_explain.files.checkpoints import check_fit, load_into, load_part
from gan_explain.nets.blocks import Config
from gan_explain.nets.cyclegan import CycleGan, CycleGanConfig
from gan_explain.nets.free import FreeConfig, FreeMap
from gan_explain.nets.generator import Disentangler, GeneratorConfig
from gan_explain.nets.structure import StructureConfig, StructureGenerator
from gan_explain.types import CheckpointError

Configured = TypeVar("Configured", bound=Config)
Network = TypeVar("Network", bound=nn.Module)


def load_network(
    name: str | os.PathLike[str], part: str, kind: str, config: type[Configured], network: Callable[[Configured], Network]
) -> Network:
    """The network of a checkpoint's part, frozen. Raises CheckpointError, also when the part is of another kind than `kind` or
    its configuration is unusable."""
    found = load_part(name, part)
    if found.kind != kind:
        raise CheckpointError(f"checkpoint {name}: expected part {part!r} to be of kind {kind!r}, got {found.kind!r}")
    try:
        checked = config.model_validate(found.config)
        check_fit(lambda: network(checked), found)
        built = network(checked)
    except CheckpointError:
        raise
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"checkpoint {name}: part {part!r}: unusable configuration: {reason}") from error
    load_into(built, found)
    return built


def load_generator(name: str | os.PathLike[str] = "disease") -> Disentangler:
    """The disentangling generator of a checkpoint, frozen: by default the one that serves every target."""
    return load_network(name, "generator", "disentangler", GeneratorConfig, Disentangler)


def load_free(name: str | os.PathLike[str]) -> FreeMap:
    """The free map that was trained against the target of a checkpoint, frozen."""
    return load_network(name, "free", "free", FreeConfig, FreeMap)


def load_structure(name: str | os.PathLike[str]) -> StructureGenerator:
    """The structure generator of a checkpoint (a radiograph to its code and back, and a prior of codes), frozen."""
    return load_network(name, "structure", "structure", StructureConfig, StructureGenerator)


def load_cyclegan(name: str | os.PathLike[str]) -> CycleGan:
    """The CycleGAN of a checkpoint (negative to positive and back), frozen."""
    return load_network(name, "cyclegan", "cyclegan", CycleGanConfig, CycleGan)
