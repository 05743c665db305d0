"""Random views of images on their own device: zoom, turn, shift, tone, a hole; drawn parameters plus a differentiable function.

Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS 2020, arXiv 2006.10738. Nothing is mirrored:
the heart is on one side.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_explain.data.augment import similarity


@dataclass(frozen=True)
class ViewRanges:
    """Ranges that parameters are drawn from, uniformly."""

    rotate: float = 3.0  # degrees, either way
    zoom_in: float = 0.12  # the part seen is 1 - zoom_in .. 1 + zoom_out of the image
    zoom_out: float = 0.0
    shift: float = 0.01  # share of the side, on top of what a zoom leaves room for
    gamma: float = 0.15  # exponent exp(+-gamma)
    contrast: float = 0.08  # factor 1 +- contrast about the mean
    brightness: float = 0.0
    hole: float = 0.0  # side of a square of zeros, as a share of the image's
    padding: str = "reflection"  # outside the image; or "zeros"
    moved: float = 0.8  # share of images that are turned, zoomed and shifted: the others keep their pixels as sharp as they are
    mode: str = "bicubic"  # how they are read between pixels; or "bilinear"


SHOWN = ViewRanges(  # what a discriminator is shown
    rotate=4, zoom_in=0.2, zoom_out=0.1, shift=0.1, gamma=0, contrast=0.3, brightness=0.15, hole=0.3,
    padding="zeros", moved=0.7, mode="bilinear",
)  # fmt: skip


def view(images: Tensor, generator: torch.Generator, ranges: ViewRanges) -> Tensor:
    """(N, 1, H, W) in [0, 1] -> the same shape and range, each image by a view of its own; differentiable.

    `generator` is the CPU's: the same numbers are drawn on every device.
    """
    n = len(images)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + torch.rand(n, *shape, generator=generator) * (high - low)

    moved = (uniform(0, 1) < ranges.moved).float()
    angle = moved * uniform(-ranges.rotate, ranges.rotate).deg2rad()
    part = 1 - moved + moved * uniform(1 - ranges.zoom_in, 1 + ranges.zoom_out)
    shift = uniform(-1, 1, 2) * (moved * ((1 - part).clamp(min=0) + 2 * ranges.shift))[:, None]
    affine = similarity(angle, part, shift)
    gamma = uniform(-ranges.gamma, ranges.gamma, 1, 1, 1).exp()
    contrast = uniform(1 - ranges.contrast, 1 + ranges.contrast, 1, 1, 1)
    brightness = uniform(-ranges.brightness, ranges.brightness, 1, 1, 1)
    corner = uniform(0, 1, 2)

    device = images.device
    with torch.autocast(device.type, enabled=False):  # a grid in 16 bits would be half a pixel off
        grid = F.affine_grid(affine.to(device, non_blocking=True), list(images.shape), align_corners=False)
        x = F.grid_sample(images.float(), grid, mode=ranges.mode, padding_mode=ranges.padding, align_corners=False).clamp(0, 1)
        if ranges.gamma:
            x = x.clamp(1e-4, 1) ** gamma.to(device, non_blocking=True)
        mean = x.mean((1, 2, 3), keepdim=True)
        x = mean + (x - mean) * contrast.to(device, non_blocking=True) + brightness.to(device, non_blocking=True)
        x = x.clamp(0, 1)
    return x * ~_holes(images.shape[-2:], corner.to(device, non_blocking=True), ranges.hole) if ranges.hole else x


def _holes(size: torch.Size, corner: Tensor, share: float) -> Tensor:
    """Squares as (N, 1, H, W) booleans; `corner` (N, 2) in [0, 1] says where, partly outside too."""
    inside = []
    for axis, side in enumerate(size):
        place = (torch.arange(side, device=corner.device) + 0.5) / side
        start = corner[:, axis, None] * (1 + share) - share
        inside.append((place >= start) & (place < start + share))  # (N, side)
    return (inside[0][:, :, None] & inside[1][:, None, :])[:, None]
