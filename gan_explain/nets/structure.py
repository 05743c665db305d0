"""The structure generator: a radiograph <-> its code z1, and codes of patients that never were, from a fitted prior.

Encoder and decoder of a VAE-GAN: Larsen et al., "Autoencoding beyond pixels using a learned similarity metric", ICML 2016, arXiv
1512.09300. The decoder modulates and demodulates the channels of every convolution by z (Karras et al., "Analyzing and Improving
the Image Quality of StyleGAN", CVPR 2020, arXiv 1912.04958). Differs: the code also writes the first map itself, so that places
are said directly; a convolution that narrows stands before the enlargement, not after it; the noise is one fixed map a layer, so
that a code says one image. The prior is fitted to codes after training (Ghosh et al., "From Variational to Deterministic
Autoencoders", ICLR 2020, arXiv 1903.12436): a Gaussian with full covariance.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import field_validator
from torch import Tensor, nn

from gan_explain.nets.blocks import Config, conv, near_zero, upsample
from gan_explain.pixels import resize

TRUNCATION = 0.7  # of drawn codes
FIRST = 8  # side of the map that the code writes
FOLD = 4  # the encoder's first convolution works on folded pixels


class StructureConfig(Config):
    resolution: int = 256  # a power of two, 32 or more
    z_dim: int = 192
    width: int = 40  # decoder's channels at full resolution; doubled at each coarser one
    max_width: int = 256  # and never more than this
    first_width: int = 48  # channels of the map that the code writes
    encoder_width: int = 48  # encoder's channels at a quarter of the resolution; at most three times as many

    @field_validator("resolution")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value < 32 or value & (value - 1):
            raise ValueError(f"expected a resolution that is a power of two from 32, got {value}")
        return value


class StructureGenerator(nn.Module):
    """`encode`: image (N, 1, H, W) in [0, 1] -> code (N, z_dim); `forward`, `decode`: code -> image (N, 1, R, R) in (0, 1)."""

    def __init__(self, config: StructureConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.register_buffer("prior_mean", torch.zeros(config.z_dim))
        self.register_buffer("prior_scale", torch.eye(config.z_dim))
        self.prior_mean: Tensor
        self.prior_scale: Tensor

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 1, H, W) in [0, 1] -> mean and log-variance of the code, (N, z_dim) each."""
        mean, log_variance = self.encoder(resize(images, self.config.resolution)).float().chunk(2, dim=1)
        return mean, log_variance.clamp(-8, 2)

    def encode(self, images: Tensor) -> Tensor:
        """The code of images, without optimisation: (N, 1, H, W) in [0, 1] -> (N, z_dim), the posterior's mean."""
        return self.posterior(images)[0]

    def decode(self, z: Tensor) -> Tensor:
        """(N, z_dim) -> (N, 1, R, R) in (0, 1)."""
        image: Tensor = self.decoder(z)
        return image

    def forward(self, z: Tensor) -> Tensor:
        return self.decode(z)

    @torch.no_grad()
    def fit_prior(self, codes: Tensor) -> None:
        """Set the prior to the mean and covariance of codes (N, z_dim), N > 1."""
        if codes.ndim != 2 or codes.shape[1] != self.config.z_dim or len(codes) < 2:
            raise ValueError(f"expected codes (N, {self.config.z_dim}), N > 1, got {tuple(codes.shape)}")
        centred = (codes - codes.mean(0)).double()
        variance, axes = torch.linalg.eigh(centred.T @ centred / (len(codes) - 1))
        self.prior_mean.copy_(codes.mean(0))
        self.prior_scale.copy_(axes * variance.clamp(min=0).sqrt())  # columns: one standard deviation along each axis

    def sample(self, n: int, generator: torch.Generator, truncation: float = TRUNCATION) -> Tensor:
        """n codes (n, z_dim) of the prior, on the network's device; `truncation` below 1 draws them towards the mean: fewer odd
        patients, and fewer kinds of them. The same `generator` (of the CPU) gives the same codes on every device."""
        noise = torch.randn(n, self.config.z_dim, generator=generator, dtype=torch.float32).to(self.prior_mean)
        return self.prior_mean + truncation * noise @ self.prior_scale.T


class Encoder(nn.Module):
    """(N, 1, R, R) in [0, 1] -> (N, 2 z_dim): residual convolutions down to 4 x 4, group norm."""

    def __init__(self, config: StructureConfig) -> None:
        super().__init__()
        w = config.encoder_width
        self.stem = conv(FOLD**2, w)
        self.down, self.stay = nn.ModuleList(), nn.ModuleList()
        size, cin = config.resolution // FOLD, w
        while size > 4:
            size, cout = size // 2, min(2 * cin, 3 * w)
            self.down.append(nn.Sequential(_norm(cin), nn.SiLU(), conv(cin, cout, stride=2)))
            self.stay.append(nn.Sequential(_norm(cout), nn.SiLU(), conv(cout, cout)))
            cin = cout
        self.head = nn.Sequential(
            _norm(cin), nn.SiLU(), conv(cin, 64, 1), nn.Flatten(), nn.Linear(64 * size**2, 2 * config.z_dim)
        )

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(F.pixel_unshuffle(images * 2 - 1, FOLD))  # (N, 1, R, R) -> (N, w, R/4, R/4)
        for down, stay in zip(self.down, self.stay, strict=True):
            x = down(x)
            x = x + stay(x)
        code: Tensor = self.head(x)
        return code


class Decoder(nn.Module):
    """(N, z_dim) -> (N, 1, R, R) in (0, 1): the code writes 8 x 8, and each octave adds its own part of the image."""

    def __init__(self, config: StructureConfig) -> None:
        super().__init__()
        z = config.z_dim
        sizes = [FIRST * 2**i for i in range((config.resolution // FIRST).bit_length())]
        widths = [min(config.width * config.resolution // size, config.max_width) for size in sizes]
        self.mapping = nn.Sequential(nn.Linear(z, z), nn.LeakyReLU(0.2), nn.Linear(z, z))
        self.first = nn.Linear(z, config.first_width * FIRST**2)
        self.start = Layer(config.first_width, widths[0], z, FIRST)
        pairs = list(zip(sizes[1:], widths[:-1], widths[1:], strict=True))
        self.up = nn.ModuleList(Layer(cin, cout, z, size, enlarge=True) for size, cin, cout in pairs)
        self.stay = nn.ModuleList(Layer(cout, cout, z, size) for size, _, cout in pairs)
        self.heads = nn.ModuleList(near_zero(conv(width, 1, 1), 0.02) for width in widths)

    def forward(self, z: Tensor) -> Tensor:
        code = z + self.mapping(z)
        x = self.first(z).view(len(z), -1, FIRST, FIRST)  # (N, z_dim) -> (N, first_width, 8, 8)
        x = self.start(x.contiguous(memory_format=torch.channels_last), code)
        image = self.heads[0](x).float()
        for up, stay, head in zip(self.up, self.stay, list(self.heads)[1:], strict=True):
            x = stay(up(x, code), code)  # (N, C, S, S) -> (N, C', 2S, 2S)
            image = upsample(image) + head(x).float()
        drawn: Tensor = image.sigmoid()
        return drawn


class Layer(nn.Module):
    """Modulated and demodulated convolution, fixed noise, bias, leaky ReLU; `enlarge` doubles the sides after the convolution.

    The code scales channels of the input and the norm of each filter so scaled is divided out again, both on activations, so
    that the filters themselves stay the same for all images of a batch.
    """

    def __init__(self, cin: int, cout: int, z_dim: int, size: int, enlarge: bool = False) -> None:
        super().__init__()
        self.enlarge = enlarge
        self.weight = nn.Parameter(torch.randn(cout, cin, 3, 3) / (9 * cin) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(cout))
        self.strength = nn.Parameter(torch.zeros(cout))  # of the noise
        self.style = nn.Linear(z_dim, cin)
        nn.init.normal_(self.style.weight, std=0.3 / z_dim**0.5)
        nn.init.ones_(self.style.bias)
        self.register_buffer("noise", torch.randn(1, 1, size, size))
        self.noise: Tensor

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        scale = self.style(code)  # (N, z_dim) -> (N, cin)
        norm = (scale.float().square() @ self.weight.float().square().sum((2, 3)).T + 1e-6).rsqrt()  # (N, cout)
        x = F.conv2d(x * scale[:, :, None, None].to(x), self.weight.to(x), padding=1) * norm[:, :, None, None].to(x)
        if self.enlarge:
            x = upsample(x)
        shift = self.bias.view(1, -1, 1, 1) + self.strength.view(1, -1, 1, 1) * self.noise
        return F.leaky_relu(x + shift.to(x), 0.2) * 2**0.5


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(min(8, channels), channels)
