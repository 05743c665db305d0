"""A small U-Net that segments the lungs.

Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015, arXiv 1505.04597.
Differs: pixel-unshuffle in and pixel-shuffle out, so that no layer works at full resolution; batch norm; padded convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.nets.blocks import Config, ConvNorm, upsample
from gan_explain.nets.efficientnet_lite import EfficientNetLite, channels_of


class UNetConfig(Config):
    resolution: int = 128  # side the network was trained at; inputs of other sizes are resized to it
    widths: tuple[int, ...] = (24, 48, 96, 128)  # channels at 1/2, 1/4, 1/8, 1/16 of the resolution
    channels: int = 1  # of the input
    encoder: str = ""  # an EfficientNet-Lite as the contracting half; then `widths` are the decoder's


class UNet(nn.Module):
    """(N, 1, H, W) in [0, 1] -> lung logits (N, 1, H, W): `encode`, then `decode`, which others may call apart."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        if config.resolution % 2 ** len(config.widths):
            raise ValueError(f"expected a resolution that is a multiple of {2 ** len(config.widths)}, got {config.resolution}")
        self.config = config
        skips = self._contracting(config)
        self.deepest = skips[-1]  # channels of the deepest features
        widths = (*config.widths[:-1], self.deepest)
        self.up = nn.ModuleList(ConvNorm(skip + b, a) for skip, (a, b) in zip(skips, pairwise(widths), strict=False))
        self.head = nn.Conv2d(widths[0], 4, 3, padding=1)

    def _contracting(self, config: UNetConfig) -> tuple[int, ...]:
        """Make the contracting half; the channels of its features."""
        widths = config.widths
        if config.encoder:
            self.encoder = EfficientNetLite(config.encoder, len(widths))
            return channels_of(config.encoder)[: len(widths)]
        self.stem = nn.Sequential(ConvNorm(4 * config.channels, widths[0]), ConvNorm(widths[0], widths[0]))
        self.down = nn.ModuleList(nn.Sequential(ConvNorm(a, b, stride=2), ConvNorm(b, b)) for a, b in pairwise(widths))
        return widths

    def forward(self, images: Tensor) -> Tensor:
        return self.decode(self.encode(images * 2 - 1))

    def encode(self, x: Tensor) -> list[Tensor]:
        """x (N, C, H, W) in [-1, 1] -> features at 1/2, 1/4, ... of the resolution, as many as `widths`, the deepest last."""
        if self.config.encoder:
            return self.encoder.standardised(2 * x)
        features = [self.stem(F.pixel_unshuffle(x, 2))]  # (N, C, H, W) -> (N, C', H/2, W/2)
        for block in self.down:
            features.append(block(features[-1]))
        return features

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        """The features of `encode` -> lung logits (N, 1, H, W)."""
        x = features[-1]
        for block, skip in zip(reversed(self.up), reversed(features[:-1]), strict=True):
            x = block(torch.cat([skip, upsample(x)], dim=1))
        logits: Tensor = F.pixel_shuffle(self.head(x), 2)
        return logits
