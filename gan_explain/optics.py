"""Beer-Lambert layers: how optical thickness is laid over a structure image and taken off again, exactly.

A radiograph is bright where tissue attenuates; 1 - x is the film's darkness. A layer of optical thickness tau >= 0 leaves
exp(-tau) of it: 1 - x = (1 - S) exp(-lambda tau). The signed form (free maps) also darkens: negative tau multiplies the
brightness itself by exp(-|tau|). All images are in [0, 1].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CELLS = 128  # along the longer side: the grid on which `headroom` is smooth
KEPT = 0.999  # share of the headroom that a layer may use: rounding must not push a structure below 0


def compose(structure: Tensor, tau: Tensor, strength: Tensor | float = 1.0) -> Tensor:
    """Lay tau over a structure at a strength lambda >= 0.

    x = S + (1 - S) (1 - exp(-lambda tau+)) - S (1 - exp(-lambda tau-)), with tau+ = max(tau, 0), tau- = max(-tau, 0);
    lambda = 0 gives S to the bit. Shapes broadcast: structure and tau (N, 1, H, W), strength a number or (N, 1, 1, 1).
    """
    thickness = strength * tau
    brighter = (1 - structure) * -torch.expm1(-thickness.clamp(min=0))
    darker = structure * -torch.expm1(-(-thickness).clamp(min=0))
    return structure + brighter - darker


def headroom(images: Tensor, floor: Tensor | float = 0.0) -> Tensor:
    """The thickness that can be taken off an image (N, 1, H, W) in [0, 1] before its structure is darker than `floor`, a number
    or (N, 1, 1, 1) in [0, 1), as a smooth map (N, 1, H, W); nothing has to be clamped.

    S >= floor asks for tau <= log((1 - floor) / (1 - x)) at every pixel, and for 0 where x is darker. This is a smooth map below
    that: the least over cells of the image and their neighbours, interpolated. A layer that really lies on an image is never
    thicker than its darkest place there.
    """
    height, width = images.shape[-2:]
    cell = max(1, -(-max(height, width) // CELLS))
    rows, columns = -(-height // cell), -(-width // cell)
    padded = F.pad(images, (0, columns * cell - width, 0, rows * cell - height), mode="replicate")
    least = -F.max_pool2d(-padded, cell)
    least = -F.max_pool2d(F.pad(-least, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    least = least.clamp(0, 1 - 1e-7)
    room = ((least - floor) / (1 - least)).clamp(min=0).log1p()  # log((1 - floor) / (1 - least)), exact where both are dark
    if cell == 1:
        return KEPT * room
    smooth = F.interpolate(room, scale_factor=cell, mode="bilinear", align_corners=False)
    return KEPT * smooth[..., :height, :width]


def bounded(tau: Tensor, images: Tensor, floor: Tensor | float = 0.0) -> Tensor:
    """Layers tau >= 0 no thicker than can be taken off the images (`headroom`): (N, 1, H, W) each -> (N, 1, H, W)."""
    return torch.minimum(tau, headroom(images, floor))


def take_off(image: Tensor, tau: Tensor) -> Tensor:
    """The structure under a layer of a radiograph: 1 - S = (1 - x) exp(tau), in [0, 1] for 0 <= tau <= headroom(x).

    Undoes `compose` at strength 1; where tau = 0 the image stays to the bit. Nothing is clamped.
    """
    return image - (1 - image) * torch.expm1(tau)


def opacity(tau: Tensor, strength: float = 1.0) -> Tensor:
    """alpha = 1 - exp(-lambda |tau|) in [0, 1): the heat map people look at, signed like tau."""
    return torch.sign(tau) * -torch.expm1(-strength * tau.abs())
