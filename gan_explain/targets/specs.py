"""The specs users name targets by: one function for each scheme, which enters itself in one table."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import safetensors
from torch import nn

from gan_explain.files.checkpoints import load_part
from gan_explain.targets.config import TargetConfig
from gan_explain.targets.module import ModuleTarget, target_from_part
from gan_explain.targets.request import Request, assemble, described, named, target_errors, tried
from gan_explain.targets.weights import load_torchvision_weights
from gan_explain.types import Segmenter, Target, TargetError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TORCHVISION_SIZES = {"inception_v3": 299}  # all others take 224
FACTORY = "package.module:factory"


@dataclass(frozen=True)
class Scheme:
    """A kind of spec: how it is written ("onnx:FILE"), and what makes the target."""

    form: str
    make: Callable[[Request], Target]


SCHEMES: dict[str, Scheme] = {}  # by what stands before the colon
Make = TypeVar("Make", bound=Callable[[Request], Target])


def scheme(form: str) -> Callable[[Make], Make]:
    """Decorator of a function of a `Request`: specs that are written like `form` are its to resolve."""

    def register(make: Make) -> Make:
        SCHEMES[form.partition(":")[0]] = Scheme(form, make)
        return make

    return register


@scheme("checkpoint:NAME[#PART]")
def checkpoint_target(request: Request) -> ModuleTarget:
    """`checkpoint:NAME[#PART]`: a part of kind "target", "target" by default. CheckpointError when it is missing or damaged."""
    name, _, part = request.rest.partition("#")
    return target_from_part(load_part(name, part or "target"), request.segmenter)


@scheme("torchvision:ARCH#WEIGHTS")
def torchvision_target(request: Request) -> ModuleTarget:
    """`torchvision:ARCH#WEIGHTS`: the number of classes is the file's; the rest is ImageNet's convention unless FILE.json or the
    entry `target` of the safetensors metadata (a `TargetConfig`) says otherwise."""
    arch, _, file = request.rest.partition("#")
    if not arch or not file:
        raise TargetError(f"expected torchvision:ARCH#WEIGHTS.safetensors, got {request.spec!r}")
    with target_errors():
        network = load_torchvision_weights(arch, file)
    defaults = {"size": TORCHVISION_SIZES.get(arch, 224), "mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    config = described(Path(file), defaults, _metadata(Path(file))).model_copy(update={"arch": arch})
    return assemble(network, named(config, request), request)


def _metadata(file: Path) -> str | None:
    if file.suffix != ".safetensors":
        return None
    with safetensors.safe_open(file, framework="pt") as handle:
        return (handle.metadata() or {}).get("target")


def factory_target(request: Request) -> Target:
    """`package.module:factory`: import the module (the working directory counts) and call `factory()`, which returns a Target, a
    pair (nn.Module, TargetConfig), or an nn.Module that takes what `TargetConfig` has as defaults.

    A module's attributes say nothing: what its author calls `mean` or `size` need not be what is meant here.
    """
    module_name, _, name = request.spec.partition(":")
    with _working_directory_importable():
        try:
            made = getattr(importlib.import_module(module_name), name)()
        except Exception as error:  # the user's own code may raise anything
            raise TargetError(f"target {request.spec}: {type(error).__name__}: {error}") from error
    if isinstance(made, Target):
        return made
    network, config = made if isinstance(made, tuple) and len(made) == 2 else (made, TargetConfig())
    if not isinstance(network, nn.Module) or not isinstance(config, TargetConfig):
        came = f"({type(network).__name__}, {type(config).__name__})" if made is not network else type(made).__name__
        raise TargetError(f"target {request.spec}: expected a Target, an nn.Module or (nn.Module, TargetConfig), got {came}")
    return tried(network, config, request)


@contextmanager
def _working_directory_importable() -> Iterator[None]:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def resolve_target(
    spec: str,
    *,
    positive: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    segmenter: Segmenter | None = None,
    trust_code: bool = False,
) -> Target:
    """The target a spec names: a scheme of `SCHEMES`, or `package.module:factory`.

    `positive` replaces the positive set that is stored with the target; `classes` names a network's outputs in order.
    `segmenter` reads the lungs for a lungs-only target; by default it is the one its checkpoint names. `trust_code` lets files
    run code as they are loaded. Raises TargetError for an unknown form, an unusable file or parts that do not fit together,
    CheckpointError for a missing or damaged checkpoint.
    """
    kind, colon, rest = spec.partition(":")
    request = Request(spec, rest, tuple(positive or ()), tuple(classes or ()), segmenter, trust_code)
    if kind in SCHEMES and rest:
        target = SCHEMES[kind].make(request)
    elif colon and kind not in SCHEMES and rest.isidentifier() and all(piece.isidentifier() for piece in kind.split(".")):
        target = factory_target(request)
    else:
        forms = ", ".join(sorted(each.form for each in SCHEMES.values()))
        raise TargetError(f"expected a target {forms} or {FACTORY}, got {spec!r}")
    if positive and set(positive) != set(target.positive):
        if not isinstance(target, ModuleTarget):
            raise TargetError(f"target {spec}: its positive set is {'+'.join(target.positive)}, not {'+'.join(positive)}")
        target = target.with_positive(positive)
    return target
