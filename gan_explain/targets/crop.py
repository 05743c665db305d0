"""The square round the lungs: cut out of an image, and put back. A cut is (N, 3): centre x, y and half side, in [-1, 1]."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def lung_square(lungs: Tensor, margin: float) -> Tensor:
    """The square whose side is `margin` times the longer side of the box round a mask (N, 1, H, W) -> (N, 3); the whole image
    for an empty mask. It may reach beyond the image."""
    inside = lungs[:, 0] > 0.5  # (N, H, W)
    sides = []
    for taken in (inside.any(1), inside.any(2)):  # (N, W): columns with lung, then (N, H): rows
        size = taken.shape[1]
        first, last = taken.int().argmax(1), size - taken.flip(1).int().argmax(1)
        sides.append(torch.stack([first + last, last - first]) / size)  # (2, N): twice the centre and the width, in shares
    (x, wide), (y, high) = sides
    found = torch.stack([x - 1, y - 1, margin * torch.maximum(wide, high)], dim=1)
    whole = found.new_tensor([0.0, 0.0, 1.0])
    return torch.where(inside.flatten(1).any(1)[:, None], found, whole).to(lungs)


def cut(images: Tensor, square: Tensor, size: int, mode: str = "bilinear") -> Tensor:
    """What lies in each square: (N, C, H, W) -> (N, C, size, size), 0 beyond the image; differentiable in the images."""
    x, y, half = square.to(images).unbind(1)
    return _sampled(images, half, x, y, size, size, mode)


def put_back(cuts: Tensor, square: Tensor, height: int, width: int) -> Tensor:
    """The inverse of `cut`: (N, C, h, w) -> (N, C, height, width), 0 outside the square."""
    x, y, half = square.to(cuts).unbind(1)
    return _sampled(cuts, 1 / half, -x / half, -y / half, height, width, "bilinear")


def _sampled(images: Tensor, scale: Tensor, x: Tensor, y: Tensor, height: int, width: int, mode: str) -> Tensor:
    nothing = torch.zeros_like(scale)
    theta = torch.stack([torch.stack([scale, nothing, x], 1), torch.stack([nothing, scale, y], 1)], 1)  # (N, 2, 3)
    grid = F.affine_grid(theta, [len(images), images.shape[1], height, width], align_corners=False)
    return F.grid_sample(images, grid, mode=mode, padding_mode="zeros", align_corners=False)
