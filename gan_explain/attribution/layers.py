"""Finding the layer that Grad-CAM looks at, the last feature map that is still a map, and laying its cells over the image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.targets import ModuleTarget, masks_for
from gan_explain.types import Target, TargetError


def network_of(target: Target) -> nn.Module:
    """The network of a target, its segmenter and preparation left out. TargetError for one that is no torch module."""
    found = getattr(target, "network", target)
    if not isinstance(found, nn.Module):
        raise TargetError(f"expected a target with a torch network to look into, got {type(target).__name__}")
    return found


@contextmanager
def watched(network: nn.Module, seen: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Call seen(name, output) for every module that returns one tensor, when it has run; the hooks go whatever happens."""

    def hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def call(module: nn.Module, given: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                seen(name, output)

        return call

    handles = [module.register_forward_hook(hook(name)) for name, module in network.named_modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def last_map(target: Target, images: Tensor, lungs: Tensor | None) -> str:
    """Name of the layer whose output is the last feature map of a target's network, found by running images (N, 1, H, W).

    That is the last convolution with an output larger than one pixel (so no squeeze-and-excitation), and after it whatever keeps
    its height and width: normalisation, activation, the sum of a residual block. Where a map is pooled, it ends. TargetError
    where no convolution is seen: a network without one, or one whose layers are hidden in an archive.
    """
    network = network_of(target)
    modules, ran = dict(network.named_modules()), list[tuple[str, tuple[int, ...]]]()
    with watched(network, lambda name, output: ran.append((name, tuple(output.shape)))):
        target.logits(images, masks_for(target, lungs))
    convolutions = [i for i, (name, shape) in enumerate(ran) if isinstance(modules[name], nn.Conv2d) and _is_map(shape)]
    if not convolutions:
        raise TargetError(f"expected a network with a convolution whose output is a map, found none in {type(network).__name__}")
    last = convolutions[-1]
    name, shape = ran[last]
    for later, other in ran[last + 1 :]:
        if not later or len(other) != 4 or other[2:] != shape[2:]:
            break
        name = later
    return name


@torch.no_grad()
def map_size(target: Target, images: Tensor, lungs: Tensor | None, layer: str) -> tuple[int, int]:
    """Height and width of what a layer gives for images (N, 1, H, W). TargetError unless those are feature maps."""
    named_layer(target, layer)
    shapes = dict[str, tuple[int, ...]]()
    with watched(network_of(target), lambda name, output: shapes.update({name: tuple(output.shape)})):
        target.logits(images, masks_for(target, lungs))
    shape = shapes.get(layer, ())
    if len(shape) != 4:
        raise TargetError(f"layer {layer!r}: expected feature maps (N, C, h, w), got {shape or 'no tensor'}")
    return shape[2], shape[3]


def reads_spectrum(target: Target) -> bool:
    """Whether the cells of a target's maps stand for frequencies, not for places."""
    return getattr(getattr(target, "prepare", None), "domain", "image") == "spectrum"


def needs_places(target: Target, method: str) -> None:
    """TargetError for a target that reads the spectrum: a map of its cells must not be laid over the image."""
    if reads_spectrum(target):
        raise TargetError(f"{method} needs a target that reads the image; the cells of this one are frequencies: spectral_fem")


def named_layer(target: Target, name: str) -> nn.Module:
    """The module of that name in the target's network; TargetError, with the last convolutions, where there is none."""
    modules: dict[str, nn.Module] = dict(network_of(target).named_modules())
    if not name or name not in modules:
        known = [each for each, module in modules.items() if isinstance(module, nn.Conv2d)][-4:]
        raise TargetError(f"layer {name!r}: expected a module of the target's network, such as {', '.join(known) or 'none'}")
    return modules[name]


def laid_over(cells: Tensor, images: Tensor, target: Target, lungs: Tensor | None) -> Tensor:
    """Cells (N, C, h, w) over a network's input -> (N, C, H, W) over the images (N, 1, H, W): bilinear, and where the target cuts
    its input out of the image, back in their place."""
    if isinstance(target, ModuleTarget):
        return target.laid_over(cells, images, lungs)
    return F.interpolate(cells, images.shape[-2:], mode="bilinear", align_corners=False)


def _is_map(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and min(shape[2:]) > 1
