"""The layer autoencoder: pathology codes z2, from layers of pathology in lung coordinates and back.

Codes lie on a sphere in d dimensions (Davidson et al., "Hyperspherical Variational Auto-Encoders", UAI 2018, arXiv 1804.00891):
|c| / sqrt(d) is the strength, and a layer is the strength times what the direction decodes to, so that c = 0 is no layer and
scaling c scales it. Taught as a VAE-GAN (Larsen et al., ICML 2016, arXiv 1512.09300): see train/gan/layers.py.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.lungs import COLUMNS, ROWS
from gan_explain.nets.blocks import ConvAct, conv, upsample

SEED = (ROWS // 8, COLUMNS // 8)  # grid on which a code is written as a map


class LayerEncoder(nn.Module):
    """Canonical layers (N, 2, ROWS, COLUMNS) >= 0 -> codes (N, d) of strength 1."""

    def __init__(self, code_dim: int, width: int) -> None:
        super().__init__()
        widths = (2, width, 2 * width, 4 * width)
        self.blocks = nn.ModuleList(ConvAct(a, b) for a, b in pairwise(widths))
        self.head = nn.Linear(widths[-1] * SEED[0] * SEED[1], code_dim)

    def forward(self, maps: Tensor) -> Tensor:
        x = torch.log1p(4 * maps)  # faint haze counts beside dense consolidation
        for block in self.blocks:
            x = F.avg_pool2d(block(x), 2)
        return unit_strength(self.head(x.flatten(1)))


class LayerDecoder(nn.Module):
    """Codes (N, d) -> canonical layers (N, 2, ROWS, COLUMNS) >= 0, proportional to the codes' strength."""

    def __init__(self, code_dim: int, width: int) -> None:
        super().__init__()
        self.deep = 4 * width
        self.write = nn.Linear(code_dim, self.deep * SEED[0] * SEED[1])
        widths = (self.deep, self.deep, 2 * width, width)
        self.blocks = nn.ModuleList(ConvAct(a, b, code_dim) for a, b in pairwise(widths))
        self.last = ConvAct(width, width, code_dim)
        self.head = conv(width, 2)
        assert self.head.bias is not None
        nn.init.constant_(self.head.bias, -2.0)

    def forward(self, codes: Tensor) -> Tensor:
        strength = codes.square().mean(1).sqrt()  # (N,)
        direction = codes / strength.clamp(min=1e-6)[:, None]
        x = self.write(direction).view(-1, self.deep, *SEED)
        for block in self.blocks:
            x = upsample(block(x, direction))
        return strength[:, None, None, None] * F.softplus(self.head(self.last(x, direction)))


def unit_strength(codes: Tensor) -> Tensor:
    """(N, d) -> the same directions with |c| / sqrt(d) = 1."""
    return codes / codes.square().mean(1, keepdim=True).sqrt().clamp(min=1e-6)


class LayerDiscriminator(nn.Module):
    """Canonical layers (N, 2, ROWS, COLUMNS) -> a logit for each label (N, labels)."""

    def __init__(self, labels: int, width: int) -> None:
        super().__init__()
        widths = (2, width, 2 * width, 4 * width)
        self.blocks = nn.ModuleList(conv(a, b) for a, b in pairwise(widths))
        self.last = conv(widths[-1] + 1, widths[-1])
        self.head = nn.Linear(widths[-1] * SEED[0] * SEED[1], labels)

    def forward(self, maps: Tensor) -> Tensor:
        x = torch.log1p(4 * maps)
        for block in self.blocks:
            x = F.avg_pool2d(F.leaky_relu(block(x), 0.2), 2)
        spread = x.std(0, unbiased=False).mean().expand(len(x), 1, *x.shape[2:])  # of the batch (Karras et al., ICLR 2018)
        x = F.leaky_relu(self.last(torch.cat([x, spread], 1)), 0.2)
        logits: Tensor = self.head(x.flatten(1))
        return logits
