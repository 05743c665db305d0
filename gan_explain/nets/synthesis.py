"""The structure generator: z1 ~ N(0, I) to a COVID-negative radiograph, in two stages under one latent.

A linear stage gives the anatomy at 32 px: its weights start as the principal components of real negatives (Turk & Pentland,
"Eigenfaces", 1991), so that z1 is their whitened code from the first step. Convolutions then refine it and add octaves of detail
as residuals (after Denton et al., "Deep Generative Image Models using a Laplacian Pyramid of Adversarial Networks", NeurIPS 2015,
arXiv 1506.05751), trained adversarially and by reconstruction of the real images' own codes. Differs: one latent drives all
stages and there is no noise input, so z1 alone says everything.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.image import resize
from gan_explain.nets.blocks import Config, ConvAct, conv, upsample

LOW = 32  # side of the linear stage
SEED = 8  # grid on which z1 is written as a map


class SynthesisConfig(Config):
    resolution: int = 128  # a power of two times 32
    z_dim: int = 48
    width: int = 64  # channels at 32 px; halved with each octave, never below 16


class StructureGenerator(nn.Module):
    """z1 (N, z_dim) -> structure (N, 1, H, W) in [0, 1]."""

    def __init__(self, config: SynthesisConfig) -> None:
        super().__init__()
        self.config = config
        w, z = config.width, config.z_dim
        self.linear = nn.Linear(z, LOW * LOW)
        self.write = nn.Linear(z, w * SEED * SEED)
        self.anatomy = nn.ModuleList([ConvAct(w, w, z), ConvAct(w + 1, w, z), ConvAct(w, w, z)])
        self.to_low = conv(w, 1)
        self.octaves, self.to_detail = nn.ModuleList(), nn.ModuleList()
        size, cin = LOW, w
        while size < config.resolution // 2:  # the last octave is folded into channels
            size *= 2
            cout = max(cin // 2, 16)
            self.octaves.append(nn.ModuleList([ConvAct(cin + 1, cout, z), ConvAct(cout, cout, z), ConvAct(cout, cout, z)]))
            self.to_detail.append(conv(cout, 1))
            cin = cout
        self.fold = conv(cin, 4)
        for head in (self.to_low, self.fold, *self.to_detail):
            nn.init.normal_(head.weight, std=0.01)  # type: ignore[arg-type]
            nn.init.zeros_(head.bias)  # type: ignore[arg-type]
        self.register_buffer("encoder", torch.zeros(z, LOW * LOW))
        self.register_buffer("centre", torch.zeros(LOW * LOW))
        self.encoder: Tensor
        self.centre: Tensor

    @torch.no_grad()
    def start_from(self, images: Tensor) -> None:
        """Set the linear stage to the principal components of real negatives (N, 1, H, W), N > z_dim."""
        low = resize(images, LOW).flatten(1)
        centre = low.mean(0)
        _, scale, basis = torch.linalg.svd(low - centre, full_matrices=False)
        z = self.config.z_dim
        deviation = scale[:z] / (len(low) - 1) ** 0.5  # standard deviation along each component
        self.linear.weight.copy_((basis[:z] * deviation[:, None]).T)
        self.linear.bias.copy_(centre)
        self.encoder.copy_(basis[:z] / deviation[:, None])
        self.centre.copy_(centre)

    def encode(self, images: Tensor) -> Tensor:
        """The whitened linear code of real images: (N, 1, H, W) -> (N, z_dim), about N(0, I) over the training negatives."""
        return (resize(images, LOW).flatten(1) - self.centre) @ self.encoder.T

    def unclamped(self, z: Tensor) -> Tensor:
        """z1 (N, z_dim) -> (N, 1, H, W) before clamping to [0, 1], for training."""
        low = self.linear(z).view(-1, 1, LOW, LOW)
        x = upsample(self.write(z).view(-1, self.config.width, SEED, SEED), 2)  # (N, w, 16, 16)
        x = upsample(self.anatomy[0](x, z), 2)  # (N, w, 32, 32)
        x = self.anatomy[2](self.anatomy[1](torch.cat([x, low], dim=1), z), z)
        image = low + self.to_low(x)
        for blocks, head in zip(self.octaves, self.to_detail, strict=True):
            image = upsample(image)
            x = torch.cat([upsample(x), image], dim=1)
            for block in blocks:  # type: ignore[union-attr, attr-defined]
                x = block(x, z)
            image = image + head(x)
        return upsample(image) + F.pixel_shuffle(self.fold(x), 2)

    def forward(self, z: Tensor) -> Tensor:
        return self.unclamped(z).clamp(0, 1)
