"""Images as tensors: resizing, blurring, the 16-bit grid, and the check of shape and range that every part makes."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


def resize(images: Tensor, size: int) -> Tensor:
    """Bilinear with antialiasing: (N, C, H, W) -> (N, C, size, size); differentiable; the same tensor when nothing changes."""
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, (size, size), mode="bilinear", antialias=True, align_corners=False)


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Separable Gaussian blur with edge replication; sigma in pixels; (N, C, H, W)."""
    radius = max(1, int(3 * sigma + 0.5))
    x = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-0.5 * (x / sigma) ** 2)
    kernel = kernel / kernel.sum()
    channels = images.shape[1]
    padded = F.pad(images, (radius,) * 4, mode="replicate")
    padded = F.conv2d(padded, kernel.view(1, 1, 1, -1).repeat(channels, 1, 1, 1), groups=channels)
    return F.conv2d(padded, kernel.view(1, 1, -1, 1).repeat(channels, 1, 1, 1), groups=channels)


def feather(mask: Tensor, width: float = 2.0) -> Tensor:
    """Soften a mask's edge over `width` pixels, inwards only: 0 stays exactly 0, so nothing outside the mask can change."""
    return gaussian_blur(mask, width).mul(2).sub(1).clamp(0, 1) * mask


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """[0, 1] tensor -> uint8 array of the same shape."""
    return (images.detach().clamp(0, 1) * 255 + 0.5).to(torch.uint8).cpu().numpy()


def check_images(images: Tensor, rounding: float = 0.0) -> None:
    """ValueError unless images are (N, 1, H, W), float32 (or half as wide), finite and in [0, 1], up to `rounding`: what has been
    resized may be beyond by a float's last digits."""
    if images.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise ValueError(f"expected float32 images in [0, 1], got {images.dtype}")
    if images.ndim != 4 or images.shape[1] != 1 or not images.numel():
        raise ValueError(f"expected images (N, 1, H, W) in [0, 1], got {tuple(images.shape)}")
    low, high = (float(each) for each in images.detach().aminmax())
    if not (low >= -rounding and high <= 1 + rounding):  # NaN is neither
        raise ValueError(f"expected finite images in [0, 1], got {low:g} to {high:g}")


def quantize16(images: Tensor) -> Tensor:
    """Round to the 16-bit grid that `write_png16` stores, so that what is scored is what is saved."""
    return (images.clamp(0, 1) * 65535).round() / 65535
