"""The reader: from a radiograph to the layer of pathology on it, on a small grid.

A U-Net (Ronneberger et al., MICCAI 2015, arXiv 1505.04597) whose contracting half may be an EfficientNet-Lite0 with ImageNet
weights. The image itself enters the expanding half beside them: thickness is a matter of brightness, which pretrained features
are made to overlook. Group norm in what is trained here: batch statistics over mixed sources would leak which source an image is
from.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.lungs import lung_coordinates, shrink, support
from gan_explain.nets.blocks import ConvAct, conv, near_zero
from gan_explain.nets.efficientnet_lite import CHANNELS, STRIDES, EfficientNetLite

SEEN = 4  # channels that every level of the expanding half is given beside the features
START = -2.5  # of the head's bias: softplus(-2.5) = 0.08, hardly a layer


class SmallEncoder(nn.Module):
    """Images (N, 1, H, W) in [0, 1] -> features at strides 2, 4, 8 and 16, trained from noise: for phantoms and small data."""

    strides: tuple[int, ...] = (2, 4, 8, 16)

    def __init__(self, width: int) -> None:
        super().__init__()
        self.channels = (width, 2 * width, 4 * width, 4 * width)
        widths = (4, *self.channels)
        self.blocks = nn.ModuleList(nn.Sequential(ConvAct(a, b), ConvAct(b, b)) for a, b in pairwise(widths))

    def forward(self, images: Tensor) -> list[Tensor]:
        x = F.pixel_unshuffle(images * 2 - 1, 2)  # (N, 1, H, W) -> (N, 4, H/2, W/2)
        features = []
        for i, block in enumerate(self.blocks):
            x = block(F.avg_pool2d(x, 2) if i else x)
            features.append(x)
        return features


class PretrainedEncoder(EfficientNetLite):
    """EfficientNet-Lite0 as the contracting half."""

    strides: tuple[int, ...] = STRIDES
    channels: tuple[int, ...] = CHANNELS


class Reader(nn.Module):
    """images in [0, 1] and lungs in {0, 1}, both (N, 1, R, R) -> tau (N, 1, g, g) >= 0, soft at the border of the lungs."""

    def __init__(self, encoder: SmallEncoder | PretrainedEncoder, resolution: int, grid: int, width: int) -> None:
        super().__init__()
        self.encoder, self.resolution, self.grid = encoder, resolution, grid
        self.used = [i for i, stride in enumerate(encoder.strides) if stride >= resolution // grid]
        channels = [encoder.channels[i] for i in self.used]  # finest first
        widths = [width * min(2**i, 2) for i in range(len(channels))]
        self.deepest = ConvAct(channels[-1] + SEEN, widths[-1])
        self.up = nn.ModuleList(
            ConvAct(skip + below + SEEN, own) for skip, below, own in zip(channels[:-1], widths[1:], widths[:-1], strict=True)
        )
        self.last = ConvAct(widths[0] + (resolution // grid) ** 2, widths[0])
        self.head = near_zero(conv(widths[0], 1), 0.02, START)

    def forward(self, images: Tensor, lungs: Tensor) -> Tensor:
        features = self.encoder(images)
        return self.decode([features[i] for i in self.used], images, lungs)

    def decode(self, features: Sequence[Tensor], images: Tensor, lungs: Tensor) -> Tensor:
        """Features of the levels used, finest first -> tau (N, 1, g, g)."""
        x = self.deepest(torch.cat([features[-1], _seen(images, lungs, features[-1].shape[-1])], 1))
        for block, skip in zip(reversed(self.up), reversed(features[:-1]), strict=True):
            size = skip.shape[-1]
            x = F.interpolate(x, (size, size), mode="bilinear", align_corners=False)
            x = block(torch.cat([skip, x, _seen(images, lungs, size)], 1))
        if x.shape[-1] != self.grid:
            x = F.interpolate(x, (self.grid, self.grid), mode="bilinear", align_corners=False)
        cells = F.pixel_unshuffle(images * 2 - 1, self.resolution // self.grid)  # (N, 1, R, R) -> (N, (R/g)^2, g, g)
        thickness = F.softplus(self.head(self.last(torch.cat([x, cells], 1))))
        return thickness * support(shrink(lungs, self.grid))


def _seen(images: Tensor, lungs: Tensor, size: int) -> Tensor:
    """How bright it is, what is lung, and where in the lungs a place is: (N, SEEN, size, size)."""
    return torch.cat([shrink(images, size) * 2 - 1, shrink(lungs, size), lung_coordinates(lungs, size)], 1)
