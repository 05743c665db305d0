"""What an image is as a whole: the darkness and contrast of its lungs, its exposure, its sharpness. Does one of them move p?

x is changed so that one statistic becomes the donor's, all else is kept: the transplant (`metrics.transplant`) of a number
instead of pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gan_explain.pixels import feather, gaussian_blur

STATISTICS = ("lung_darkness", "lung_contrast", "exposure", "sharpness")
FINE = 1 / 128  # of the side, and at least a pixel: the blur that takes away what sharpness counts
MOST = 2.5  # contrast and sharpness change by at most this factor, up or down
FLAT = 1e-4  # a standard deviation below which there is nothing to amplify


def matched(x: Tensor, y: Tensor, lungs_x: Tensor, lungs_y: Tensor) -> dict[str, Tensor]:
    """x with each of STATISTICS as in y: images (N, 1, H, W) in [0, 1]; x and its lungs may have N = 1.

    lung_darkness: mean inside the lungs. lung_contrast: standard deviation inside the lungs, about the same mean (both feathered
    at the border of the lungs, unchanged where one of the two has none). exposure: mean and standard deviation of the whole
    image. sharpness: energy of the detail that a Gaussian blur of FINE takes away. Clipping to [0, 1] can fall short of them.
    """
    size = x.shape[-1]
    mean_x, std_x = _moments(x, lungs_x)
    mean_y, std_y = _moments(y, lungs_y)
    both = (lungs_x.sum((2, 3), keepdim=True) > 0) & (lungs_y.sum((2, 3), keepdim=True) > 0)
    soft = feather(lungs_x, size / 64)
    full = lungs_x.sum((2, 3), keepdim=True) / soft.sum((2, 3), keepdim=True).clamp(min=1)  # makes up for the feathered rim
    all_x, all_y = _moments(x, torch.ones_like(x)), _moments(y, torch.ones_like(y))
    images = {
        "lung_darkness": x + both * soft * full * (mean_y - mean_x),
        "lung_contrast": x + both * soft * (x - mean_x) * (_ratio(std_y, std_x) - 1),
        "exposure": (x - all_x[0]) * _ratio(all_y[1], all_x[1]) + all_y[0],
        "sharpness": _sharpened(x, _detail(y).square().mean((2, 3), keepdim=True)),
    }
    return {name: image.clamp(0, 1) for name, image in images.items()}


def _moments(images: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (N, 1, 1, 1) over the pixels inside (N, 1, H, W) in {0, 1}."""
    area = inside.sum((2, 3), keepdim=True).clamp(min=1)
    mean = (images * inside).sum((2, 3), keepdim=True) / area
    return mean, (((images - mean).square() * inside).sum((2, 3), keepdim=True) / area).sqrt()


def _detail(images: Tensor) -> Tensor:
    return images - gaussian_blur(images, max(1.0, FINE * images.shape[-1]))


def _sharpened(x: Tensor, energy: Tensor) -> Tensor:
    """x with its detail d scaled by the factor f in [0, MOST] that gives it the energy (N, 1, 1, 1) of a donor's.

    The detail of (x - d) + f d is linear in f, so its energy is a parabola in f: a f^2 + 2 b f + c.
    """
    d = _detail(x)
    rest, own = _detail(x - d), _detail(d)
    a, b, c = ((p * q).mean((2, 3), keepdim=True) for p, q in ((own, own), (rest, own), (rest, rest)))
    factor = ((b.square() - a * (c - energy)).clamp(min=0).sqrt() - b) / a.clamp(min=FLAT**2)
    return x + torch.where(a > FLAT**2, factor.clamp(0, MOST) - 1, torch.zeros_like(factor)) * d


def _ratio(wanted: Tensor, there: Tensor) -> Tensor:
    """wanted / there within [1 / MOST, MOST]; 1 where there is nothing to amplify."""
    return torch.where(there > FLAT, wanted / there.clamp(min=FLAT), torch.ones_like(there)).clamp(1 / MOST, MOST)
