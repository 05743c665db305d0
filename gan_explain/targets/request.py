"""What a user asked for, and the way from a network in a file to a target: its description, the names of its outputs."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from gan_explain.files.text import one_line
from gan_explain.labels import canonical
from gan_explain.targets.config import TargetConfig, brief
from gan_explain.targets.heads import MultiLabel, outputs, told_output
from gan_explain.targets.module import ModuleTarget, named_segmenter, noise
from gan_explain.types import CheckpointError, DataError, Segmenter, TargetError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """A spec in full and what stands after its scheme, with the options beside it."""

    spec: str
    rest: str
    positive: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    segmenter: Segmenter | None = None
    trust_code: bool = False

    @property
    def file(self) -> Path:
        """The file that `scheme:FILE` names; TargetError where there is none."""
        path = Path(self.rest)
        if not path.is_file():
            raise TargetError(f"{path}: no such file (target {self.spec})")
        return path


@contextmanager
def target_errors() -> Iterator[None]:
    """A weights file that cannot be used is, for the user, a target that cannot be used."""
    try:
        yield
    except CheckpointError as error:
        raise TargetError(str(error)) from error


def described(file: Path, defaults: Mapping[str, Any], embedded: str | None = None) -> TargetConfig:
    """The `TargetConfig` of a weights file: the sidecar FILE.json, else `embedded` JSON from the file itself, over `defaults`.

    Raises TargetError, naming the file, for what is no such configuration.
    """
    sidecar = Path(f"{file}.json")
    where = sidecar if sidecar.is_file() else file
    try:
        stored = json.loads(sidecar.read_bytes() if sidecar.is_file() else embedded or "{}")
    except (ValueError, RecursionError) as error:
        raise TargetError(f"{where}: expected JSON, got: {error}") from error
    if not isinstance(stored, dict):
        raise TargetError(f"{where}: expected a JSON object, got {type(stored).__name__}")
    try:
        return TargetConfig.model_validate({**defaults, **stored})
    except ValidationError as error:
        raise TargetError(f"{where}: unusable target configuration: {brief(error)}") from error


def named(config: TargetConfig, request: Request) -> TargetConfig:
    """The configuration with its classes as asked for and a positive set: its own, the one asked for, or "covid".

    Of findings that are not exclusive (`multi_label`) the one asked for comes first: each makes a target of its own. Raises
    TargetError when the classes say nothing about which of them is positive.
    """
    classes = request.classes or config.classes
    chosen = (request.positive or config.positive) if config.multi_label else (config.positive or request.positive)
    if not chosen and classes and "covid" not in classes:
        raise TargetError(f"name the positive set (--positive): the target's classes are {', '.join(classes)}")
    return config.model_copy(update={"classes": classes, "positive": chosen or ("covid",)})


def assemble(
    network: nn.Module,
    config: TargetConfig,
    request: Request,
    *,
    known: Sequence[str] | None = None,
    thresholds: Mapping[str, float] | None = None,
    differentiable: bool = True,
) -> ModuleTarget:
    """The target of a network and its `named` configuration, with the segmenter at hand or the one that the latter names.

    Outputs that are findings (`multi_label`) become a choice between none and the positive set, as `heads.MultiLabel` makes it;
    `thresholds` by name are those that become one half. Findings are compared in lower case. Raises TargetError for a positive
    set that is not within the `known` ones, by default all.
    """
    if config.multi_label:
        known = [name for name in (config.classes if known is None else known) if name]
        places = {canonical(name): config.classes.index(name) for name in known}
        if not config.positive or any(canonical(name) not in places for name in config.positive):
            came, listed = "+".join(config.positive) or "none", ", ".join(known) or "none (--classes)"
            raise TargetError(f"target {request.spec}: expected a positive set within the findings {listed}, got {came}")
        chosen = [places[canonical(name)] for name in config.positive]
        at = None if thresholds is None else [thresholds[config.classes[i]] for i in chosen]
        network = MultiLabel(network, chosen, output=config.output or "logits", thresholds=at)
        changed = {"classes": ("negative", *config.positive), "output": "logits", "multi_label": False}
        config = config.model_copy(update=changed)
    return ModuleTarget(network, config, request.segmenter or named_segmenter(config), differentiable=differentiable)


@torch.inference_mode(False)
def tried(network: nn.Module, config: TargetConfig, request: Request, *, forward_only: bool = False) -> ModuleTarget:
    """The target of a network that was given or came in a file: it is run once, on noise, to see how many outputs it has, whether
    they are logits or probabilities (where the configuration does not say) and whether gradients pass. What is used is logged.

    Raises TargetError, naming the spec, when it fails or its outputs are not those that the configuration names.
    """
    if any(p.dtype in (torch.float16, torch.bfloat16) for p in network.parameters()):
        network.float()
    network.eval()
    x = noise(network, config)
    try:
        with torch.no_grad():
            count = _count(outputs(network, x))
        output = config.output or told_output(network, x, multi_label=config.multi_label)
        differentiable = not forward_only and _passes_gradients(network, x[:1])
    except (TargetError, DataError) as error:
        raise TargetError(f"target {request.spec}: {error}") from error
    except Exception as error:  # the user's own network may raise anything
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise TargetError(f"target {request.spec}: failed on {tuple(x.shape)}: {reason}") from error
    config = named(config.model_copy(update={"output": output}), request)
    classes = len(config.classes) or (2 if count == 1 else 0)
    if not classes:
        raise TargetError(f"target {request.spec}: name its {count} outputs in order (--classes A,B,... or FILE.json)")
    if count != classes and not (count == 1 and classes == 2 and not config.multi_label):
        of = f"expected outputs (4, {classes}), one for each of {', '.join(config.classes)}"
        raise TargetError(f"target {request.spec}: {of}, got (4, {count})")
    target = assemble(network, config, request, differentiable=differentiable)
    used = config.model_dump(exclude_defaults=True) | {"size": config.size, "fit": config.fit, "channels": config.channels}
    target.told = f"target {request.spec}: " + ", ".join(f"{key} {value}" for key, value in used.items())
    return target


def _count(out: Tensor) -> int:
    if out.ndim not in (1, 2) or len(out) != 4:
        raise TargetError(f"expected outputs (4, K) for four images, got {tuple(out.shape)}")
    return 1 if out.ndim == 1 else out.shape[1]


def _passes_gradients(network: nn.Module, x: Tensor) -> bool:
    with torch.enable_grad():
        return outputs(network, x.clone().requires_grad_()).requires_grad


def in_batches(network: Callable[[Tensor], Tensor], x: Tensor, size: int | None) -> Tensor:
    """network(x) for a network that takes exactly `size` images at a time (None: any number); the last batch is filled up."""
    if size is None or len(x) == size:
        return network(x)
    pieces = []
    for start in range(0, len(x), size):
        piece = x[start : start + size]
        filled = torch.cat([piece, piece[-1:].expand(size - len(piece), -1, -1, -1)])
        pieces.append(network(filled)[: len(piece)])
    return torch.cat(pieces)
