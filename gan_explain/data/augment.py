"""Random transforms: drawn parameters plus a deterministic, differentiable function of an image and its lung mask."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_explain.pixels import gaussian_blur


@dataclass(frozen=True)
class Ranges:
    """Half-widths of the uniform ranges that parameters are drawn from."""

    rotate: float = 8.0  # degrees
    scale: float = 0.10  # factor 1 +- scale
    shift: float = 0.05  # share of the side
    gamma: float = 0.35  # exponent exp(+-gamma)
    contrast: float = 0.15  # factor 1 +- contrast about the mean
    blur: float = 1.0  # standard deviation 0..blur px at 128 px, for half of the batches
    noise: float = 0.02  # standard deviation 0..noise
    flip: float = 0.0  # share of images that are mirrored, left for right


@dataclass(frozen=True)
class Augmentation:
    """Drawn parameters for N images: affine (N, 2, 3), gamma and contrast (N, 1, 1, 1), noise (N, 1, 1, 1), one blur for all."""

    affine: Tensor
    gamma: Tensor
    contrast: Tensor
    noise: Tensor
    blur: float
    seed: int

    def __call__(self, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 1, H, W) images in [0, 1] and masks in {0, 1} -> the same shapes and ranges; differentiable in the images."""
        grid = F.affine_grid(self.affine.to(images), list(images.shape), align_corners=False)
        images = F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)
        masks = F.grid_sample(masks, grid, mode="nearest", padding_mode="zeros", align_corners=False)
        if self.blur > 0.2:
            images = gaussian_blur(images, self.blur * images.shape[-1] / 128)
        images = images.clamp(1e-4, 1) ** self.gamma.to(images)
        mean = images.mean((1, 2, 3), keepdim=True)
        images = mean + (images - mean) * self.contrast.to(images)
        noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(self.seed)).to(images)
        return (images + noise * self.noise.to(images)).clamp(0, 1), masks


def similarity(angle: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Turn by an angle in radians (N,), scale (N,) and shift (N, 2), in halves of the side -> (N, 2, 3) for `F.affine_grid`."""
    cos, sin = angle.cos() * scale, angle.sin() * scale
    return torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)


def draw(n: int, generator: torch.Generator, ranges: Ranges = Ranges()) -> Augmentation:
    """Draw the parameters for n images."""

    def uniform(half: float, *shape: int) -> Tensor:
        return (torch.rand(shape, generator=generator) * 2 - 1) * half

    angle, scale, shift = uniform(ranges.rotate, n).deg2rad(), 1 + uniform(ranges.scale, n), uniform(2 * ranges.shift, n, 2)
    affine = similarity(angle, scale, shift)
    blurred = bool(torch.rand((), generator=generator) < 0.5)
    blur = float(torch.rand((), generator=generator)) * ranges.blur if blurred else 0.0
    if ranges.flip:  # without it no number is drawn: the stream stays what it was
        affine[torch.rand(n, generator=generator) < ranges.flip, :, 0] *= -1
    return Augmentation(
        affine,
        uniform(ranges.gamma, n, 1, 1, 1).exp(),
        1 + uniform(ranges.contrast, n, 1, 1, 1),
        uniform(ranges.noise, n, 1, 1, 1).abs(),
        blur,
        int(torch.randint(2**31, (), generator=generator)),
    )
