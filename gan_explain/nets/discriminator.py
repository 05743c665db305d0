"""A discriminator with one output for each cell of (source, class).

Odena, Olah, Shlens (ICML 2017, arXiv 1610.09585) and Choi et al., "StarGAN v2" (CVPR 2020, arXiv 1912.01865) give one real/fake
output a class; here a class is split by source too, so that a picture cannot be called fake for the scanner it came from.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.nets.blocks import Config, conv


class DiscriminatorConfig(Config):
    resolution: int = 128
    cells: int = 2
    width: int = 32
    fold: int = 4  # pixel-unshuffle factor at the input: 4 is cheap, 2 sees finer texture


class Discriminator(nn.Module):
    """image and lung mask (N, 1, H, W) -> real/fake logits (N, cells)."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        w = config.width
        widths, size = [w], config.resolution // config.fold
        while size > 4:
            widths.append(min(2 * widths[-1], 4 * w))
            size //= 2
        self.fold = config.fold
        self.stem = conv(config.fold**2 + 1, w)
        self.same = nn.ModuleList(conv(a, a) for a in widths[:-1])
        self.down = nn.ModuleList(conv(a, b) for a, b in zip(widths, widths[1:], strict=False))
        self.head = nn.Linear(widths[-1] * 16, config.cells)
        for layer in (self.stem, *self.same, *self.down):
            nn.init.kaiming_normal_(layer.weight, a=0.2)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor, lungs: Tensor) -> Tensor:
        x = F.pixel_unshuffle(images * 2 - 1, self.fold)  # (N, 1, H, W) -> (N, fold^2, H/fold, W/fold)
        x = torch.cat([x, F.avg_pool2d(lungs, self.fold)], dim=1)
        x = F.leaky_relu(self.stem(x), 0.2)
        for same, down in zip(self.same, self.down, strict=True):
            x = (x + F.leaky_relu(same(x), 0.2)) * 0.7
            x = F.avg_pool2d(F.leaky_relu(down(x), 0.2), 2)
        x = F.adaptive_avg_pool2d(x, 4)
        logits: Tensor = self.head(x.flatten(1))
        return logits
