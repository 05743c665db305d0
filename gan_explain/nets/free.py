"""The free map: what one target can be made to answer to, anywhere on a radiograph. An adversary, not an explanation.

A U-Net (Ronneberger et al., MICCAI 2015, arXiv 1505.04597) from an image to a signed optical thickness, as in VA-GAN (Baumgartner
et al., CVPR 2018, arXiv 1711.08998). It is trained against the CNN that it is for (train/gan/free.py) and kept to no lungs, so
that it finds shortcuts: markers, borders, tone.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.nets.blocks import Config, ConvAct, conv, near_zero
from gan_explain.nets.reader import SmallEncoder
from gan_explain.pixels import resize


class FreeConfig(Config):
    resolution: int = 128  # side at which images are read, a multiple of 16
    width: int = 16  # channels at half of the resolution, a multiple of 8


class FreeMap(nn.Module):
    """Images (N, 1, H, W) in [0, 1] of any size -> tau (N, 1, H, W), above 0 where they become brighter, below where darker."""

    def __init__(self, config: FreeConfig) -> None:
        super().__init__()
        if config.resolution % 16 or config.width % 8:
            raise ValueError(
                "expected a resolution that is a multiple of 16 and a width that is a multiple of 8, "
                f"got {config.resolution} and {config.width}"
            )
        self.config, self.resolution = config, config.resolution
        self.encoder = SmallEncoder(config.width)
        channels = self.encoder.channels  # at strides 2, 4, 8, 16
        self.up = nn.ModuleList(ConvAct(own + below, own) for own, below in pairwise(channels))
        self.head = near_zero(conv(config.width, 1), 0.005)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images)

    def layer(self, images: Tensor) -> Tensor:
        """The map of each image, smooth: worked at half of the resolution and enlarged."""
        *skips, x = self.encoder(resize(images, self.resolution))
        for block, skip in zip(reversed(self.up), reversed(skips), strict=True):
            x = F.interpolate(x, skip.shape[-2:], mode="bilinear", align_corners=False)
            x = block(torch.cat([skip, x], 1))
        tau = self.head(x)  # (N, 1, R/2, R/2)
        return F.interpolate(tau, images.shape[-2:], mode="bicubic", align_corners=False)
