"""The frequency plane of an image: Fourier transform, log-magnitude, radial bands, filters. Tensors in, tensors out.

A plane is centred (fftshifted): zero frequency stands at (H // 2, W // 2), and one step is one cycle an image. The transform is
orthonormal, so energy is the same on both sides (Parseval).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LOG_FLOOR = 1e-3  # added, squared, to the squared magnitude: about the rounding noise of an 8-bit image
EPSILON = 1e-6  # added to the variance of a plane: a standard deviation of 0.001

_PLANE = (-2, -1)


def transform(images: Tensor) -> Tensor:
    """Real (..., H, W) -> complex (..., H, W), centred."""
    plane: Tensor = torch.fft.fftshift(torch.fft.fft2(images, norm="ortho"), dim=_PLANE)
    return plane


def inverse(plane: Tensor) -> Tensor:
    """Complex centred (..., H, W) -> the real part of its image (..., H, W); `transform` taken back."""
    images: Tensor = torch.fft.ifft2(torch.fft.ifftshift(plane, dim=_PLANE), norm="ortho").real
    return images


def log_magnitude(images: Tensor) -> Tensor:
    """Real (..., H, W) -> log sqrt(|F|^2 + LOG_FLOOR^2), centred, of the same shape; differentiable everywhere."""
    plane = transform(images)
    return 0.5 * (plane.real.square() + plane.imag.square() + LOG_FLOOR**2).log()


def standardised(planes: Tensor) -> Tensor:
    """Each plane (..., H, W) with mean 0 and standard deviation 1 over its own frequencies: the contrast of the image is gone."""
    centred = planes - planes.mean(_PLANE, keepdim=True)
    return centred / (centred.square().mean(_PLANE, keepdim=True) + EPSILON).sqrt()


def radius(height: int, width: int) -> Tensor:
    """Distance of each place of a centred plane from zero frequency, in cycles an image: (H, W)."""
    return torch.hypot(*torch.meshgrid(torch.arange(height) - height // 2.0, torch.arange(width) - width // 2.0, indexing="ij"))


def radial_bands(planes: Tensor, bands: int) -> Tensor:
    """Mean of planes (..., H, W) over rings of equal width out to min(H, W) / 2 cycles, the last holding the corners too:
    (..., bands)."""
    height, width = planes.shape[-2:]
    ring = (radius(height, width) / (min(height, width) / 2) * bands).long().clamp(max=bands - 1)
    members = F.one_hot(ring.flatten(), bands).to(planes)  # (H W, bands)
    return planes.flatten(-2) @ members / members.sum(0).clamp(min=1)


def mirrored(planes: Tensor) -> Tensor:
    """Each value of a centred plane (..., H, W) where the opposite frequency stands."""
    opposite = torch.roll(torch.fft.ifftshift(planes, dim=_PLANE).flip(_PLANE), (1, 1), _PLANE)
    centred: Tensor = torch.fft.fftshift(opposite, dim=_PLANE)
    return centred


def symmetric(planes: Tensor) -> Tensor:
    """Planes (..., H, W) averaged over opposite frequencies: as filters they keep images real."""
    return (planes + mirrored(planes)) / 2


def fitted(planes: Tensor, height: int, width: int) -> Tensor:
    """Planes (..., H, W) on a grid of another size by frequency, in cycles an image: outer ones are cut off, or come in as 0."""
    h, w = planes.shape[-2:]
    top, left = height // 2 - h // 2, width // 2 - w // 2  # zero frequency stays zero frequency
    return F.pad(planes, (left, width - w - left, top, height - h - top))


def filtered(images: Tensor, gain: Tensor) -> Tensor:
    """Images (N, C, H, W) with every frequency's magnitude multiplied by `gain` and its phase kept: (N, C, H, W).

    `gain` (H, W) or (N, 1, H, W), real and centred, is made symmetric first. ValueError for one of another size.
    """
    if gain.shape[-2:] != images.shape[-2:]:
        raise ValueError(f"expected a gain of {tuple(images.shape[-2:])} frequencies, got {tuple(gain.shape[-2:])}")
    return inverse(transform(images) * symmetric(gain.to(images)))


def gaussian_gain(height: int, width: int, sigma: float) -> Tensor:
    """The gain (H, W) of a Gaussian blur of `sigma` pixels: exp(-2 pi^2 sigma^2 f^2), f in cycles a pixel."""
    y, x = torch.meshgrid(torch.arange(height) - height // 2, torch.arange(width) - width // 2, indexing="ij")
    squared = (y / height).square() + (x / width).square()
    return torch.exp(-2 * (torch.pi * sigma) ** 2 * squared)


def keep_mean(gain: Tensor) -> Tensor:
    """A centred gain (..., H, W) with 1 at zero frequency: the mean of an image stays."""
    gain = gain.clone()
    gain[..., gain.shape[-2] // 2, gain.shape[-1] // 2] = 1
    return gain
