"""A small discriminator of images: leaky ReLU, residual halves (He et al., CVPR 2016), no normalisation."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.nets.blocks import Config, conv


class DiscriminatorConfig(Config):
    resolution: int = 128
    width: int = 32
    fold: int = 4  # pixel-unshuffle factor at the input: 4 is cheap, 2 sees finer texture


class Discriminator(nn.Module):
    """Images (N, 1, R, R) in [0, 1] -> logits (N,), above 0 for real."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        w = config.width
        widths, size = [w], config.resolution // config.fold
        while size > 4:
            widths.append(min(2 * widths[-1], 4 * w))
            size //= 2
        self.fold = config.fold
        self.stem = conv(config.fold**2, w)
        self.same = nn.ModuleList(conv(a, a) for a in widths[:-1])
        self.down = nn.ModuleList(conv(a, b) for a, b in pairwise(widths))
        self.head = nn.Linear(widths[-1] * 16, 1)
        for layer in (self.stem, *self.same, *self.down):
            nn.init.kaiming_normal_(layer.weight, a=0.2)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        x = F.pixel_unshuffle(images * 2 - 1, self.fold)  # (N, 1, R, R) -> (N, fold^2, R/fold, R/fold)
        x = F.leaky_relu(self.stem(x), 0.2)
        for same, down in zip(self.same, self.down, strict=True):
            x = (x + F.leaky_relu(same(x), 0.2)) * 0.7
            x = F.avg_pool2d(F.leaky_relu(down(x), 0.2), 2)
        x = F.adaptive_avg_pool2d(x, 4)
        logits: Tensor = self.head(x.flatten(1))[:, 0]
        return logits
