"""The specs users name targets by: one function for each scheme, in one table."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import safetensors
from pydantic import ValidationError
from torch import nn

from gan_explain.files.checkpoints import load_part
from gan_explain.targets.archives import exported_target, torchscript_target
from gan_explain.targets.config import TargetConfig, brief
from gan_explain.targets.module import ModuleTarget, target_from_part
from gan_explain.targets.onnx_file import onnx_target
from gan_explain.targets.request import Request, assemble, described, named, target_errors
from gan_explain.targets.weights import load_torchvision_weights
from gan_explain.targets.xrv import xrv_target
from gan_explain.types import Segmenter, Target, TargetError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TORCHVISION_SIZES = {"inception_v3": 299}  # all others take 224


def checkpoint_target(request: Request) -> ModuleTarget:
    """`checkpoint:NAME[#PART]`: a part of kind "target", "target" by default. CheckpointError when it is missing or damaged."""
    name, _, part = request.rest.partition("#")
    return target_from_part(load_part(name, part or "target"), request.segmenter)


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
    """`package.module:factory`: import the module (the working directory counts) and call `factory()`, which returns a Target or
    an nn.Module.

    A module's attributes named like the fields of `TargetConfig` (classes, positive, size, channels, mean, std, ...) are read
    where it has them; `TargetConfig` gives the defaults: 224 pixels, 3 channels, pixels in [0, 1] as they are.
    """
    module_name, _, name = request.spec.partition(":")
    with _working_directory_importable():
        try:
            made = getattr(importlib.import_module(module_name), name)()
        except Exception as error:  # the user's own code may raise anything
            raise TargetError(f"target {request.spec}: {type(error).__name__}: {error}") from error
    if isinstance(made, Target):
        return made
    if not isinstance(made, nn.Module):
        came = type(made).__name__
        raise TargetError(f"target {request.spec}: expected the factory to return an nn.Module or a Target, got {came}")
    found = {key: getattr(made, key) for key in TargetConfig.model_fields if key != "arch" and hasattr(made, key)}
    try:
        config = TargetConfig.model_validate(found)
    except ValidationError as error:
        raise TargetError(f"target {request.spec}: {brief(error)}") from error
    return assemble(made, named(config, request), request)


@contextmanager
def _working_directory_importable() -> Iterator[None]:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


SCHEMES: dict[str, Callable[[Request], Target]] = {
    "checkpoint": checkpoint_target,
    "torchvision": torchvision_target,
    "xrv": xrv_target,
    "onnx": onnx_target,
    "ts": torchscript_target,
    "pt2": exported_target,
}
SPECS = (
    "checkpoint:NAME[#PART], torchvision:ARCH#WEIGHTS, xrv:NAME[#WEIGHTS], onnx:FILE, ts:FILE, pt2:FILE or package.module:factory"
)


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
    scheme, colon, rest = spec.partition(":")
    request = Request(spec, rest, tuple(positive or ()), tuple(classes or ()), segmenter, trust_code)
    if scheme in SCHEMES and rest:
        target = SCHEMES[scheme](request)
    elif colon and scheme not in SCHEMES and rest.isidentifier() and all(piece.isidentifier() for piece in scheme.split(".")):
        target = factory_target(request)
    else:
        raise TargetError(f"expected a target {SPECS}, got {spec!r}")
    if positive and set(positive) != set(target.positive):
        if not isinstance(target, ModuleTarget):
            raise TargetError(f"target {spec}: its positive set is {'+'.join(target.positive)}, not {'+'.join(positive)}")
        target = target.with_positive(positive)
    return target
