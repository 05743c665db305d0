"""The structure generator: z1 ~ N(0, I) to a COVID-negative radiograph, in two stages that are trained apart.

Denton et al., "Deep Generative Image Models using a Laplacian Pyramid of Adversarial Networks", NeurIPS 2015, arXiv 1506.05751.
The first stage draws the anatomy at 32 px: a linear map whose weights start as the principal components of real negatives (Turk
& Pentland, "Eigenfaces", 1991), so that z1 is their whitened code from the first step, plus convolutions. The second adds the
octaves of detail to a small image and learns from real pairs of small and large (Ledig et al., "SRGAN", CVPR 2017, arXiv
1609.04802). Differs: two stages instead of one an octave, and no noise inputs, so z1 alone says everything.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.nets.blocks import Config, ConvAct, conv, near_zero, upsample
from gan_explain.pixels import resize

LOW = 32  # side of the first stage
SEED = 8  # grid on which z1 is written as a map


class SynthesisConfig(Config):
    resolution: int = 128  # a power of two times 32
    z_dim: int = 64
    low_width: int = 48  # channels of the anatomy stage
    width: int = 64  # channels of the detail stage at 32 px; halved with each octave, never below 16


class StructureGenerator(nn.Module):
    """z1 (N, z_dim) -> structure (N, 1, H, W) in [0, 1]."""

    def __init__(self, config: SynthesisConfig) -> None:
        super().__init__()
        self.config = config
        self.anatomy = Anatomy(config)
        self.detail = Detail(config)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """z1 ~ N(0, I): (n, z_dim)."""
        return torch.randn(n, self.config.z_dim, generator=generator, dtype=torch.float32).to(self.anatomy.encoder)

    def encode(self, images: Tensor) -> Tensor:
        """The whitened linear code of real images: (N, 1, H, W) -> (N, z_dim), about N(0, I) over the training negatives."""
        return self.anatomy.encode(resize(images, LOW))

    def forward(self, z: Tensor) -> Tensor:
        structure: Tensor = self.detail(self.anatomy(z).clamp(0, 1)).clamp(0, 1)
        return structure


class Anatomy(nn.Module):
    """z1 (N, z_dim) -> (N, 1, 32, 32), not clamped: a linear map plus a convolutional correction."""

    def __init__(self, config: SynthesisConfig) -> None:
        super().__init__()
        w, z = config.low_width, config.z_dim
        self.linear = nn.Linear(z, LOW * LOW)
        self.write = nn.Linear(z, w * SEED * SEED)
        self.blocks = nn.ModuleList([ConvAct(w, w, z), ConvAct(w, w, z), ConvAct(w + 1, w, z), ConvAct(w, w, z)])
        self.head = near_zero(conv(w, 1), 0.01)
        self.register_buffer("encoder", torch.zeros(z, LOW * LOW))
        self.register_buffer("centre", torch.zeros(LOW * LOW))
        self.encoder: Tensor
        self.centre: Tensor

    @torch.no_grad()
    def start_from(self, low: Tensor) -> None:
        """Set the linear map to the principal components of small real negatives (N, 1, 32, 32), N > z_dim."""
        flat = low.flatten(1)
        centre = flat.mean(0)
        _, scale, basis = torch.linalg.svd(flat - centre, full_matrices=False)
        z = len(self.encoder)
        deviation = scale[:z] / (len(flat) - 1) ** 0.5  # standard deviation along each component
        self.linear.weight.copy_((basis[:z] * deviation[:, None]).T)
        self.linear.bias.copy_(centre)
        self.encoder.copy_(basis[:z] / deviation[:, None])
        self.centre.copy_(centre)

    def encode(self, low: Tensor) -> Tensor:
        """(N, 1, 32, 32) -> (N, z_dim)."""
        return (low.flatten(1) - self.centre) @ self.encoder.T

    def forward(self, z: Tensor) -> Tensor:
        low = self.linear(z).view(-1, 1, LOW, LOW)
        x = self.write(z).view(-1, self.head.in_channels, SEED, SEED)
        x = upsample(self.blocks[0](x, z))  # (N, w, 16, 16)
        x = upsample(self.blocks[1](x, z))  # (N, w, 32, 32)
        x = self.blocks[3](self.blocks[2](torch.cat([x, low], dim=1), z), z)
        corrected: Tensor = low + self.head(x)
        return corrected


class Detail(nn.Module):
    """(N, 1, 32, 32) in [0, 1] -> (N, 1, H, W), not clamped: a residual on the smoothly enlarged image."""

    def __init__(self, config: SynthesisConfig) -> None:
        super().__init__()
        self.resolution = config.resolution
        w = config.width
        self.stem = nn.ModuleList([ConvAct(1, w), ConvAct(w, w), ConvAct(w, w)])
        self.octaves = nn.ModuleList()
        size, cin = LOW, w
        while size < config.resolution:
            size, cout = size * 2, max(cin // 2, 16)
            self.octaves.append(nn.ModuleList([conv(cin, cout), *([conv(cout, cout)] if size < 128 else [])]))
            cin = cout
        self.head = near_zero(conv(cin, 1), 0.01)

    def forward(self, low: Tensor) -> Tensor:
        x = self.stem[0](low * 2 - 1)
        for block in list(self.stem)[1:]:
            x = x + block(x)
        for layers in self.octaves:
            x = upsample(x)
            for layer in layers:  # type: ignore[union-attr, attr-defined]
                x = F.leaky_relu(layer(x), 0.2)
        smooth = F.interpolate(low, (self.resolution, self.resolution), mode="bicubic", align_corners=False)
        image: Tensor = smooth + self.head(x)
        return image
