"""Finding the layer that a method looks at, the last feature map that is still a map, and laying its cells over the image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.attribution.base import Layer, Method
from gan_explain.targets import ModuleTarget, masks_for
from gan_explain.types import Target, TargetError

PREFIX = 6  # tokens before those of the patches (class, distillation, registers): fewer than that


@dataclass(frozen=True)
class FeatureMap:
    """What a layer gives, as a map of height x width cells: (N, C, h, w), (N, h, w, C), or tokens (N, prefix + h w, C)."""

    name: str
    axes: Literal["first", "last", "tokens"]  # where the channels are
    height: int
    width: int
    channels: int
    weighted: bool = False  # from a convolution, linear layer or normalisation, whose axes are known

    def cells(self, output: Tensor) -> Tensor:
        """The layer's output, or a gradient of that shape, as (N, C, h, w); tokens of no place are left out."""
        if self.axes == "first":
            return output
        if self.axes == "tokens":
            output = output[:, output.shape[1] - self.height * self.width :].unflatten(1, (self.height, self.width))
        return output.permute(0, 3, 1, 2)


def network_of(target: Target) -> nn.Module:
    """The network of a target, its segmenter and preparation left out. TargetError for one that is no torch module."""
    found = getattr(target, "network", target)
    if not isinstance(found, nn.Module):
        raise TargetError(f"expected a target with a torch network to look into, got {type(target).__name__}")
    return found


def modules_of(network: nn.Module) -> dict[str, nn.Module]:
    """Every module of a network by name; those of a Keras model (torch backend) too, which torch does not know of."""
    found = dict(network.named_modules())
    for name, module in list(found.items()):
        layers = getattr(module, "_flatten_layers", None) if type(module).__module__.startswith("keras.") else None
        for layer in () if layers is None else layers(include_self=False):
            found.setdefault(f"{name}.{layer.name}".lstrip("."), layer)
    return found


@contextmanager
def watched(network: nn.Module, seen: Callable[[str, Tensor], Tensor | None]) -> Iterator[None]:
    """Call seen(name, output) for every module that returns one tensor, when it has run; a tensor that it returns takes the
    output's place. The hooks go whatever happens."""

    def hook(name: str) -> Callable[[nn.Module, Any, Any], Tensor | None]:
        def call(module: nn.Module, given: Any, output: Any) -> Tensor | None:
            return seen(name, output) if isinstance(output, Tensor) else None

        return call

    handles = [module.register_forward_hook(hook(name)) for name, module in modules_of(network).items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def look(target: Target, images: Tensor, lungs: Tensor | None, layers: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
    """The logits of images (N, C, H, W), and what the named layers give on the way, before anything writes over it."""
    found = dict[str, Tensor]()

    def keep(name: str, output: Tensor) -> Tensor | None:
        if name not in layers:
            return None
        found[name] = output
        return output.clone()

    with watched(network_of(target), keep):
        return target.logits(images, masks_for(target, lungs)), found


@torch.no_grad()
def maps_of(target: Target, images: Tensor, lungs: Tensor | None) -> list[tuple[str, tuple[int, ...], FeatureMap | None]]:
    """Name and shape of what every layer gives for images (N, C, H, W), in the order of running, and as what map it is read."""
    network = network_of(target)
    ran = list[tuple[str, tuple[int, ...]]]()
    with watched(network, lambda name, output: ran.append((name, tuple(output.shape)))):
        target.logits(images, masks_for(target, lungs))
    modules, latest, found = modules_of(network), None, list[tuple[str, tuple[int, ...], FeatureMap | None]]()
    for name, shape in ran:
        read = _read(name, modules[name], shape, latest) if shape[:1] == (len(images),) else None
        latest = read if read is not None and read.weighted else latest
        found.append((name, shape, read))
    return found


def _read(name: str, module: nn.Module, shape: tuple[int, ...], latest: FeatureMap | None) -> FeatureMap | None:
    """A layer's output as a map, None where it is none; `latest` is the last one whose axes were known for sure."""
    width = _channels(module)
    axes: Literal["first", "last"] | None = None
    if len(shape) == 4:
        if width is not None and width in (shape[1], shape[3]):
            axes = "first" if width == shape[1] and (width != shape[3] or isinstance(module, nn.Conv2d)) else "last"
        elif latest is not None and shape[2:] != (latest.height, latest.width) == shape[1:3]:
            axes = "last"
        h, w, c = shape[1:] if axes == "last" else (shape[2], shape[3], shape[1])
        known = axes is not None
        return FeatureMap(name, axes or "first", h, w, c, known) if min(h, w) > 1 else None
    if len(shape) != 3 or (width is not None and width != shape[2]):
        return None
    if latest is not None:
        grid = (latest.height, latest.width)
        fits = 0 <= shape[1] - math.prod(grid) < PREFIX
    else:
        side = math.isqrt(shape[1])
        grid, fits = (side, side), shape[1] - side**2 < PREFIX
    return FeatureMap(name, "tokens", *grid, shape[2], width is not None) if fits and min(grid) > 1 else None


def _channels(module: nn.Module) -> int | None:
    """The number of channels that a layer with weights gives, None for any other; also of the convolutions of Keras."""
    if isinstance(module, nn.Conv2d):
        return module.out_channels
    if isinstance(module, nn.Linear):
        return module.out_features
    if isinstance(module, nn.LayerNorm):
        return int(module.normalized_shape[-1])
    count = getattr(module, "filters", None) if type(module).__module__.startswith("keras.") else None
    return count if isinstance(count, int) else None


def feature_map(target: Target, images: Tensor, lungs: Tensor | None, layer: Layer = "") -> FeatureMap:
    """The map that a layer of a target's network gives, found by running the first of images (N, C, H, W); "": its last one.

    That is the last output with places of a convolution (so no squeeze-and-excitation), or of a linear layer or normalisation
    over tokens or channels-last maps (ViT, Swin), and after it whatever keeps height and width: normalisation, activation, the
    sum of a residual block. Where a map is pooled, it ends. Of tokens beside a class token, it is the last on which the answer
    still rests: what feeds the last attention. TargetError for a layer that is not there or gives no map, and where none is
    found: a network without one, or one whose layers are hidden in an archive.
    """
    images, lungs = images[:1], None if lungs is None else lungs[:1]
    ran = maps_of(target, images, lungs)
    if layer != "":
        name = _name_of(target, layer)
        shape, found = next(((shape, read) for each, shape, read in reversed(ran) if each == name), ((), None))
        if found is None:
            came = shape or "no tensor"
            raise TargetError(f"layer {name!r}: expected feature maps (1, C, h, w), got {came}")
        return found
    known = [i for i, (_, _, read) in enumerate(ran) if read is not None and read.weighted]
    if not known:
        network = type(network_of(target)).__name__
        raise TargetError(
            f"expected a network with a convolution whose output is a map, found none in {network}: "
            "give the layer to look at (layer=, its name or the module itself)"
        )
    last = ran[known[-1]][2]
    assert last is not None
    for name, _, read in ran[known[-1] + 1 :]:
        if not name or read is None or (read.height, read.width) != (last.height, last.width):
            break
        last = read
    tokens = last.axes == "tokens" and target.differentiable
    return _still_read(target, images, lungs, [read for _, _, read in ran if read is not None], last) if tokens else last


def _still_read(target: Target, images: Tensor, lungs: Tensor | None, maps: Sequence[FeatureMap], last: FeatureMap) -> FeatureMap:
    """The last of the maps like `last` whose patches, not its class token alone, the logits depend on."""
    modules = modules_of(network_of(target))
    like = {
        each.name: each for each in maps
        if (each.axes, each.height, each.channels) == (last.axes, last.height, last.channels)
        and not isinstance(modules[each.name], nn.Linear)
    }  # fmt: skip
    with torch.enable_grad():
        logits, outputs = look(target, images.detach().clone().requires_grad_(), lungs, list(like))
        slopes = torch.autograd.grad(logits.square().sum(), list(outputs.values()), allow_unused=True)
    for name, slope in reversed(list(zip(outputs, slopes, strict=True))):
        if slope is not None and bool((like[name].cells(slope) != 0).any()):
            return like[name]
    raise TargetError("expected tokens of patches that the answer rests on, found none: give the layer to look at (layer=)")


def reads_spectrum(target: Target) -> bool:
    """Whether the cells of a target's maps stand for frequencies, not for places."""
    return isinstance(target, ModuleTarget) and target.config.domain == "spectrum"


def needs_places(target: Target, method: str) -> None:
    """TargetError for a target that reads the spectrum: a map of its cells must not be laid over the image."""
    if reads_spectrum(target):
        raise TargetError(f"{method} needs a target that reads the image; the cells of this one are frequencies: spectral_fem")


def _name_of(target: Target, layer: Layer) -> str:
    """The name of a layer in the target's network; TargetError, with the last convolutions, where it is none of its modules."""
    modules = modules_of(network_of(target))
    for name, module in modules.items():
        if name and (name == layer or module is layer):
            return name
    if not isinstance(layer, str):
        raise TargetError(f"layer {type(layer).__name__}: expected a module of the target's network, got one that is not in it")
    known = [each for each, module in modules.items() if isinstance(module, nn.Conv2d)][-4:]
    raise TargetError(f"layer {layer!r}: expected a module of the target's network, such as {', '.join(known) or 'none'}")


def laid_over(cells: Tensor, images: Tensor, target: Target, lungs: Tensor | None) -> Tensor:
    """Cells (N, C, h, w) over a network's input -> (N, C, H, W) over the images (N, 1, H, W): bilinear, and where the target cuts
    its input out of the image, back in their place."""
    if isinstance(target, ModuleTarget):
        return target.laid_over(cells, images, lungs)
    return F.interpolate(cells, images.shape[-2:], mode="bilinear", align_corners=False)


class LayerMethod(Method):
    """What the methods on one layer of the target's network share: which it is, by default the last feature map."""

    def __init__(self, layer: Layer = "") -> None:
        self.layer = layer

    def map_of(self, images: Tensor, target: Target, lungs: Tensor | None = None) -> FeatureMap:
        """The layer that is looked at; one image is run to find it. Raises TargetError."""
        return feature_map(target, images, lungs, self.layer)

    def note(self, images: Tensor, target: Target, lungs: Tensor | None = None, chosen: Tensor | None = None) -> str:
        """The layer and the number of its cells."""
        found = self.map_of(images, target, lungs)
        return f"layer {found.name}, {found.height} × {found.width} cells"
