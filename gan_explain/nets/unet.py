"""A small U-Net that segments the lungs.

Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015, arXiv 1505.04597.
Differs: pixel-unshuffle in and pixel-shuffle out, so that no layer works at full resolution; batch norm; padded convolutions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.nets.blocks import Config, ConvNorm, upsample


class UNetConfig(Config):
    resolution: int = 128  # side the network was trained at; inputs of other sizes are resized to it
    widths: tuple[int, ...] = (24, 48, 96, 128)  # channels at 1/2, 1/4, 1/8, 1/16 of the resolution


class UNet(nn.Module):
    """(N, 1, H, W) in [0, 1] -> lung logits (N, 1, H, W)."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        if config.resolution % 2 ** len(config.widths):
            raise ValueError(f"expected a resolution that is a multiple of {2 ** len(config.widths)}, got {config.resolution}")
        self.config = config
        widths = config.widths
        self.stem = nn.Sequential(ConvNorm(4, widths[0]), ConvNorm(widths[0], widths[0]))
        self.down = nn.ModuleList(
            nn.Sequential(ConvNorm(a, b, stride=2), ConvNorm(b, b)) for a, b in zip(widths, widths[1:], strict=False)
        )
        self.up = nn.ModuleList(ConvNorm(a + b, a) for a, b in zip(widths, widths[1:], strict=False))
        self.head = nn.Conv2d(widths[0], 4, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(F.pixel_unshuffle(images * 2 - 1, 2))  # (N, 1, H, W) -> (N, C, H/2, W/2)
        skips = []
        for block in self.down:
            skips.append(x)
            x = block(x)
        for block, skip in zip(reversed(self.up), reversed(skips), strict=True):
            x = block(torch.cat([skip, upsample(x)], dim=1))
        logits: Tensor = F.pixel_shuffle(self.head(x), 2)
        return logits
