"""A projected discriminator: heads on frozen features, which are mixed by fixed random convolutions first.

Sauer et al., "Projected GANs Converge Faster", NeurIPS 2021, arXiv 2111.01007: random 1 x 1 convolutions mix the channels of each
level, random 3 x 3 convolutions carry coarse levels into finer ones, and a head a level judges in patches of an 8 x 8 grid.
Filters of the heads are spectrally normalised (Miyato et al., ICLR 2018, arXiv 1802.05957). Differs: group norm, so that what is
said of one image does not depend on its batch, and the levels are brought to unit variance before they are mixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GRID = 8  # side of a head's output


class ProjectedDiscriminator(nn.Module):
    """Features, one tensor (N, C, h, w) a level from fine to coarse -> logits (N, levels * 64)."""

    def __init__(self, shapes: Sequence[tuple[int, int]], width: int = 64) -> None:
        """`shapes`: channels and side of each level; `width`: channels of the second level once mixed."""
        super().__init__()
        mixed = [max(8, min(width // 2 * 2**i, 4 * width)) for i in range(len(shapes))]
        self.mix = nn.ModuleList(_fixed(c, m, 1) for (c, _), m in zip(shapes, mixed, strict=True))
        self.carry = nn.ModuleList(_fixed(coarse, fine, 1) for fine, coarse in pairwise(mixed))
        self.blend = nn.ModuleList(_fixed(m, m, 3) for m in mixed)
        self.heads = nn.ModuleList(_head(m, side, 2 * width) for m, (_, side) in zip(mixed, shapes, strict=True))
        self.register_buffer("scale", torch.ones(len(shapes)))
        self.scale: Tensor

    @torch.no_grad()
    def calibrate(self, features: Sequence[Tensor]) -> None:
        """Bring the levels to unit variance over the features of some real images."""
        self.scale.copy_(torch.stack([1 / level.float().std().clamp(min=1e-3) for level in features]))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        logits: list[Tensor] = []
        coarse: Tensor | None = None
        for i in reversed(range(len(features))):
            x = self.mix[i](features[i] * self.scale[i].to(features[i]))
            if coarse is not None:
                x = (x + F.interpolate(self.carry[i](coarse), x.shape[-2:], mode="bilinear", align_corners=False)) * 0.5**0.5
            coarse = self.blend[i](x)
            logits.append(self.heads[i](coarse).flatten(1).float())
        return torch.cat(logits, dim=1)


class SpectralConv(nn.Conv2d):
    """A convolution whose filters, as a matrix (cout, cin k k), are divided by their largest singular value, which one power
    iteration a step follows. Always in 32 bits, also under autocast."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int = 1, bias: bool = False) -> None:
        super().__init__(cin, cout, kernel, stride, padding=1, bias=bias)
        self.register_buffer("u", F.normalize(torch.randn(cout), dim=0))
        self.register_buffer("v", F.normalize(torch.randn(cin * kernel**2), dim=0))
        self.u: Tensor
        self.v: Tensor
        for _ in range(10):
            self._iterate()

    @torch.no_grad()
    def _iterate(self) -> None:
        matrix = self.weight.flatten(1)
        self.v.copy_(F.normalize(matrix.T @ self.u, dim=0))
        self.u.copy_(F.normalize(matrix @ self.v, dim=0))

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            if self.training:
                self._iterate()
            largest = self.u.clone() @ (self.weight.flatten(1) @ self.v.clone())
            weight = self.weight / largest
        y: Tensor = self._conv_forward(x, weight, self.bias)
        return y


def _fixed(cin: int, cout: int, kernel: int) -> nn.Conv2d:
    """A random convolution that keeps the variance and never learns."""
    layer = nn.Conv2d(cin, cout, kernel, padding=kernel // 2, bias=False)
    nn.init.normal_(layer.weight, std=(cin * kernel**2) ** -0.5)
    return layer.requires_grad_(False)


def _head(cin: int, side: int, widest: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    while side > GRID:
        side, cout = side // 2, min(2 * cin, widest)
        layers += [SpectralConv(cin, cout, 4, 2), nn.GroupNorm(8, cout), nn.LeakyReLU(0.2)]
        cin = cout
    layers += [SpectralConv(cin, widest, 3), nn.GroupNorm(8, widest), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, SpectralConv(widest, 1, 3, bias=True))
