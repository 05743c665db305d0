"""The disentangling generator: what is pathology on a radiograph, and pathology of other patients on it.

Ancestors: Dravid & Katsaggelos (AAAI 2022, arXiv 2111.00116) and medXGAN (Dravid et al., CVPRW 2022, arXiv 2204.05376) split a
latent into structure z1 and pathology z2 with z2 = 0 for negatives; VA-GAN (Baumgartner et al., CVPR 2018, arXiv 1711.08998) and
Fixed-Point GAN (Siddiquee et al., ICCV 2019, arXiv 1908.06965) add a map to the image. Here the map is an optical thickness:

    1 - x_lambda = (1 - S) exp(-lambda tau)

Nothing here is trained against a CNN that is explained: one generator serves every target.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from gan_explain.lungs import LungFrame, check_lungs, darkest, enlarge
from gan_explain.nets.blocks import Config
from gan_explain.nets.layers import LayerDecoder, LayerEncoder, unit_strength
from gan_explain.nets.reader import PretrainedEncoder, Reader, SmallEncoder
from gan_explain.optics import bounded
from gan_explain.pixels import check_images, resize


class GeneratorConfig(Config):
    resolution: int = 256  # side at which radiographs are read, a multiple of 32
    grid: int = 64  # side of the grid on which layers live; a half, a quarter or an eighth of the resolution
    backbone: Literal["efficientnet_lite0", "small"] = "efficientnet_lite0"  # contracting half of the reader
    width: int = 48  # channels of the reader's expanding half (and of a small contracting half)
    code_dim: int = 32
    layer_width: int = 32  # channels of the layer autoencoder
    labels: tuple[str, ...] = ("covid",)  # labels with a code prior of their own


DARKEST = 0.8  # of the brightness of clear lung: no structure is read to be darker


def removable(tau: Tensor, images: Tensor, lungs: Tensor) -> Tensor:
    """The part of layers that can lie on images in [0, 1] with these lungs, (N, 1, H, W) each -> tau (N, 1, H, W)."""
    return bounded(tau, images, DARKEST * darkest(images, lungs))


class Disentangler(nn.Module):
    """Reader, layer autoencoder and code priors under one configuration. Fulfils types.Generator.

    Images (N, 1, H, W) in [0, 1] and lungs (N, 1, H, W) in {0, 1} may be of any size; layers tau come in theirs.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        fits = config.grid > 0 and config.resolution in (2 * config.grid, 4 * config.grid, 8 * config.grid)
        if config.resolution % 32 or not fits:
            raise ValueError(
                "expected a resolution that is a multiple of 32 and a grid of a half, a quarter or an eighth of it, "
                f"got {config.resolution} and {config.grid}"
            )
        self.config = config
        self.code_dim, self.resolution, self.labels = config.code_dim, config.resolution, config.labels
        encoder = PretrainedEncoder() if config.backbone == "efficientnet_lite0" else SmallEncoder(config.width)
        self.reader = Reader(encoder, config.resolution, config.grid, config.width)
        self.encoder = LayerEncoder(config.code_dim, config.layer_width)
        self.decoder = LayerDecoder(config.code_dim, config.layer_width)
        count = len(config.labels)
        self.register_buffer("prior_mean", torch.zeros(count, config.code_dim))
        self.register_buffer("prior_factor", torch.eye(config.code_dim).repeat(count, 1, 1))
        self.prior_mean: Tensor
        self.prior_factor: Tensor

    # -- what is on a radiograph ----------------------------------------------------------------------------------------------
    def read(self, images: Tensor, lungs: Tensor) -> Tensor:
        """The layer found on radiographs -> tau (N, 1, H, W) >= 0; what is left under it is no darker than `DARKEST` of the clear
        lung of the same radiograph. ValueError for images that are not (N, 1, H, W), finite and in [0, 1], or other lungs."""
        check_images(images)
        check_lungs(lungs, images)
        size = images.shape[-2], images.shape[-1]
        found = self.reader(resize(images, self.resolution), self.frame_mask(lungs))
        return removable(enlarge(found, size), images, lungs)

    def frame_mask(self, lungs: Tensor) -> Tensor:
        """Lungs at the reader's size, still in {0, 1}."""
        return (resize(lungs, self.resolution) > 0.5).to(lungs)

    # -- codes ----------------------------------------------------------------------------------------------------------------
    def encode(self, tau: Tensor, lungs: Tensor) -> Tensor:
        """The code (N, d), of strength 1, of layers tau (N, 1, H, W) that lie in lungs (N, 1, H, W)."""
        check_lungs(lungs, tau)
        codes: Tensor = self.encoder(LungFrame(lungs, self.config.grid).to_canonical(tau))
        return codes

    def layer(self, codes: Tensor, lungs: Tensor) -> Tensor:
        """codes (N, d), lungs (N, 1, H, W) -> tau (N, 1, H, W) in these lungs. An all-zero code gives an all-zero layer."""
        if codes.ndim != 2 or codes.shape != (len(lungs), self.code_dim):
            raise ValueError(f"expected codes ({len(lungs)}, {self.code_dim}), got {tuple(codes.shape)}")
        size = lungs.shape[-2], lungs.shape[-1]
        return LungFrame(lungs, self.config.grid).to_image(self.decoder(codes), size)

    def move(self, tau: Tensor, lungs: Tensor, others: Tensor) -> Tensor:
        """Layers tau of some lungs (N, 1, H, W), lung to lung, into other lungs (N, 1, H', W') -> (N, 1, H', W')."""
        check_lungs(lungs, tau)
        size = others.shape[-2], others.shape[-1]
        maps = LungFrame(lungs, self.config.grid).to_canonical(tau)
        return LungFrame(others, self.config.grid).to_image(maps, size)

    # -- prior ----------------------------------------------------------------------------------------------------------------
    def prior_noise(self, n: int, generator: torch.Generator) -> Tensor:
        """z2 ~ N(0, I): (n, d)."""
        return torch.randn(n, self.code_dim, generator=generator, dtype=torch.float32).to(self.prior_mean)

    def from_noise(self, noise: Tensor, label: str) -> Tensor:
        """z2 (n, d) -> codes distributed in direction like those of `label` images, all of strength |c| / sqrt(d) = 1, so that
        lambda means the same for every draw; differentiable. Raises ValueError for a label without a prior."""
        if label not in self.config.labels:
            raise ValueError(f"no code prior for {label!r}: expected one of {', '.join(self.config.labels)}")
        i = self.config.labels.index(label)
        return unit_strength(self.prior_mean[i] + noise @ self.prior_factor[i].T)

    def prior(self, n: int, generator: torch.Generator, label: str = "covid") -> Tensor:
        """Codes (n, d) of a label, drawn."""
        return self.from_noise(self.prior_noise(n, generator), label)

    def fit_prior(self, label: str, codes: Tensor) -> None:
        """Set the prior of `label` to the Gaussian of codes (n, d), its covariance shrunk towards a sphere where n is small."""
        i = self.config.labels.index(label)
        codes = unit_strength(codes)
        centred = codes - codes.mean(0)
        covariance = centred.T @ centred / max(len(codes) - 1, 1)
        shrunk = min(1.0, self.code_dim / max(len(codes), 1))
        sphere = torch.eye(self.code_dim, dtype=codes.dtype).to(codes) * covariance.diagonal().mean().clamp(min=1e-4)
        self.prior_mean[i] = codes.mean(0)
        self.prior_factor[i] = torch.linalg.cholesky((1 - shrunk) * covariance + shrunk * sphere)
