"""The disentangling generator: a structure image, a pathology code, and the layer of optical thickness between them.

Ancestors: Dravid & Katsaggelos (AAAI 2022, arXiv 2111.00116) and medXGAN (Dravid et al., CVPRW 2022, arXiv 2204.05376) split a
latent into structure z1 and pathology z2 with z2 = 0 for negatives; VA-GAN (Baumgartner et al., CVPR 2018, arXiv 1711.08998) and
Fixed-Point GAN (Siddiquee et al., ICCV 2019, arXiv 1908.06965) add a map to the image. Here the map is an optical thickness:

    1 - x_lambda = (1 - S) exp(-lambda tau(S, c)),      tau(S, c) = s tau_bar(S, u),  s = |c| / sqrt(d),  u = c / s

so that lambda = 0 is S to the bit for any weights, and scaling c scales the layer. tau lives at a quarter of the resolution, is
upsampled smoothly, so it cannot carry pixel noise. `lungs` multiplies it by the feathered lung mask; `free` is signed, unmasked.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.image import feather, gaussian_blur, resize
from gan_explain.nets.blocks import Config, ConvAct, conv, lung_coordinates, upsample
from gan_explain.optics import take_off
from gan_explain.types import Removal

BOTTLENECK = 8  # grid on which the code is written and read, at any resolution


class GeneratorConfig(Config):
    resolution: int = 128  # side of the images, a multiple of 32
    confine: Literal["lungs", "free"] = "lungs"
    code_dim: int = 16
    width: int = 32  # channels at a quarter of the resolution
    residual: float = 0.15  # bound of the removal's own in-lung residual, in brightness; 0 switches it off
    initial_tau: float = 0.1
    max_tau: float = 3.0  # soft bound of an added layer at strength 1; of a removed one twice that
    labels: tuple[str, ...] = ("covid",)  # labels with a code prior of their own


def _levels(resolution: int) -> int:
    """Halvings from a quarter of the resolution down to the bottleneck grid."""
    return max(1, round(math.log2(resolution / 4 / BOTTLENECK)))


class _Backbone(nn.Module):
    """U-Net at a quarter of the resolution: image and mask in, features (N, width, H/4, W/4) and bottleneck (N, C, 8, 8) out.

    With `code_dim` the code is written as a map on the bottleneck grid and modulates every level.
    """

    def __init__(self, config: GeneratorConfig, code_dim: int) -> None:
        super().__init__()
        levels = _levels(config.resolution)
        widths = [config.width * min(2**i, 4) for i in range(levels + 1)]
        self.width, self.deep = widths[0], widths[-1]
        self.stem = nn.ModuleList([ConvAct(16 + 3, widths[0]), ConvAct(widths[0], widths[0], code_dim)])
        self.down = nn.ModuleList(ConvAct(a, b) for a, b in zip(widths, widths[1:], strict=False))
        self.write = nn.Linear(code_dim, widths[-1] * BOTTLENECK**2) if code_dim else None
        self.middle = ConvAct(widths[-1] * (2 if code_dim else 1), widths[-1], code_dim)
        self.up = nn.ModuleList(ConvAct(a + b, a, code_dim) for a, b in zip(widths, widths[1:], strict=False))

    def forward(self, images: Tensor, lungs: Tensor, direction: Tensor | None = None) -> tuple[Tensor, Tensor]:
        quarter = images.shape[-1] // 4
        x = F.pixel_unshuffle(images * 2 - 1, 4)  # (N, 1, H, W) -> (N, 16, H/4, W/4)
        x = torch.cat([x, F.avg_pool2d(lungs, 4), lung_coordinates(lungs, quarter)], dim=1)
        for block in self.stem:
            x = block(x, direction)
        skips = []
        for block in self.down:
            skips.append(x)
            x = block(F.avg_pool2d(x, 2))
        if self.write is not None and direction is not None:
            written = self.write(direction).view(-1, self.deep, BOTTLENECK, BOTTLENECK)
            x = torch.cat([x, resize(written, x.shape[-1])], dim=1)
        deep = self.middle(x, direction)
        x = deep
        for block, skip in zip(reversed(self.up), reversed(skips), strict=True):
            x = block(torch.cat([skip, upsample(x)], dim=1), direction)
        return x, deep


class Disentangler(nn.Module):
    """Layer, removal and encoder under one configuration; see the module's docstring. Fulfils types.Generator."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        multiple = 32 if config.resolution < 32 else max(32, 4 << _levels(config.resolution))  # halves evenly to the bottleneck
        if config.resolution % multiple or config.resolution < 32:
            raise ValueError(f"expected a resolution that is a multiple of {multiple}, got {config.resolution}")
        self.config = config
        self.code_dim, self.resolution = config.code_dim, config.resolution
        self.confine: str = config.confine
        self.adding = _Backbone(config, config.code_dim)
        self.removing = _Backbone(config, 0)
        self.tau_added = conv(self.adding.width, 1)
        self.tau_removed = conv(self.removing.width, 1)
        self.residual = conv(self.removing.width, 4) if config.residual else None
        self.read = nn.Sequential(
            nn.Conv2d(self.removing.deep, 16, 1), nn.LeakyReLU(0.2), nn.AdaptiveAvgPool2d(BOTTLENECK), nn.Flatten(),
            nn.Linear(16 * BOTTLENECK**2, 2 * config.code_dim),
        )  # fmt: skip
        for head in (self.tau_added, self.tau_removed):
            nn.init.normal_(head.weight, std=0.02)
            nn.init.constant_(_bias(head), math.log(math.expm1(config.initial_tau)) if config.confine == "lungs" else 0.0)
        if self.residual is not None:
            nn.init.zeros_(self.residual.weight)
            nn.init.zeros_(_bias(self.residual))
        count = len(config.labels)
        self.register_buffer("prior_mean", torch.zeros(count, config.code_dim))
        self.register_buffer("prior_factor", torch.eye(config.code_dim).repeat(count, 1, 1))
        self.prior_mean: Tensor
        self.prior_factor: Tensor

    # -- adding ---------------------------------------------------------------------------------------------------------------
    def layer(self, structure: Tensor, code: Tensor, lungs: Tensor) -> Tensor:
        """structure (N, 1, H, W) in [0, 1], code (N, d), lungs (N, 1, H, W) -> tau (N, 1, H, W) at strength 1.

        An all-zero code gives an all-zero layer.
        """
        strength = code.square().mean(1).sqrt()  # (N,)
        direction = code / strength.clamp(min=1e-6)[:, None]
        features, _ = self.adding(structure, lungs, direction)
        return strength[:, None, None, None] * self._thickness(self.tau_added(features), lungs, self.config.max_tau)

    def _thickness(self, raw: Tensor, lungs: Tensor, bound: float) -> Tensor:
        """(N, 1, H/4, W/4) -> smooth tau (N, 1, H, W), masked and positive when confined to the lungs, signed when free.

        The bound is soft, bound (1 - exp(-t / bound)): nearly linear over the range of real opacities."""
        sigma = self.config.resolution / 64  # half of a cell of the quarter-resolution grid
        raw = F.softplus(raw) if self.confine == "lungs" else raw
        smooth = gaussian_blur(upsample(torch.sign(raw) * bound * -torch.expm1(-raw.abs() / bound), 4), sigma)
        return smooth * feather(lungs, sigma) if self.confine == "lungs" else smooth

    # -- taking off -----------------------------------------------------------------------------------------------------------
    def remove_and_read(self, images: Tensor, lungs: Tensor) -> tuple[Removal, Tensor, Tensor, Tensor]:
        """One pass of the removal network: the Removal, code mean and log-variance (N, d), and the residual (N, 1, H, W)."""
        features, deep = self.removing(images, lungs)
        tau = self._thickness(self.tau_removed(features), lungs, 2 * self.config.max_tau)
        structure, clamped = take_off(images, tau)
        residual = torch.zeros_like(images)
        if self.residual is not None:
            fine = upsample(F.pixel_shuffle(self.residual(features), 2), 2)  # (N, 4, H/4, W/4) -> (N, 1, H, W)
            residual = self.config.residual * torch.tanh(
                gaussian_blur(fine, self.config.resolution / 80)
            )  # no grid of the shuffle
            if self.confine == "lungs":
                residual = residual * feather(lungs, self.config.resolution / 64)
            structure = (structure + residual).clamp(0, 1)
        mean, log_variance = self.read(deep).chunk(2, dim=1)
        return Removal(structure, tau, clamped), mean, log_variance.clamp(-8, 4), residual

    def remove(self, images: Tensor, lungs: Tensor) -> Removal:
        """Take the layer off a radiograph: (N, 1, H, W) in [0, 1] -> structure, tau found, clamped share."""
        return self.remove_and_read(images, lungs)[0]

    def encode(self, images: Tensor, lungs: Tensor) -> Tensor:
        """Pathology code of a radiograph, the posterior mean: (N, 1, H, W) -> (N, d)."""
        return self.remove_and_read(images, lungs)[1]

    # -- prior ----------------------------------------------------------------------------------------------------------------
    def prior(self, n: int, generator: torch.Generator, label: str = "covid") -> Tensor:
        """z2 ~ N(0, I) -> codes (n, d) distributed in direction like those of `label` images, all of strength |c| / sqrt(d) = 1,
        so that lambda means the same for every draw. Raises ValueError for a label without a prior."""
        if label not in self.config.labels:
            raise ValueError(f"no code prior for {label!r}: expected one of {', '.join(self.config.labels)}")
        i = self.config.labels.index(label)
        z = torch.randn(n, self.code_dim, generator=generator).to(self.prior_mean)
        return unit_strength(self.prior_mean[i] + z @ self.prior_factor[i].T)

    def fit_prior(self, label: str, codes: Tensor) -> None:
        """Set the prior of `label` to the Gaussian of codes (n, d), its covariance shrunk towards a sphere where n is small."""
        i = self.config.labels.index(label)
        codes = unit_strength(codes)
        centred = codes - codes.mean(0)
        covariance = centred.T @ centred / max(len(codes) - 1, 1)
        shrink = min(1.0, self.code_dim / max(len(codes), 1))
        sphere = torch.eye(self.code_dim).to(codes) * covariance.diagonal().mean().clamp(min=1e-4)
        self.prior_mean[i] = codes.mean(0)
        self.prior_factor[i] = torch.linalg.cholesky((1 - shrink) * covariance + shrink * sphere)


def unit_strength(codes: Tensor) -> Tensor:
    """(N, d) -> the same directions with |c| / sqrt(d) = 1."""
    return codes / codes.square().mean(1, keepdim=True).sqrt().clamp(min=1e-6)


def _bias(head: nn.Conv2d) -> Tensor:
    assert head.bias is not None
    return head.bias
