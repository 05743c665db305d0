"""Building blocks that several networks share. All work on (N, C, H, W)."""

from __future__ import annotations

import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, field_validator
from torch import Tensor, nn


class Config(BaseModel):
    """Base of every network configuration: flat, immutable, unknown keys refused, no size or count below 1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*")
    @classmethod
    def _some(cls, value: object) -> object:
        for each in value if isinstance(value, tuple) else (value,):
            if type(each) is int and each < 1:
                raise ValueError(f"expected at least 1, got {each}")
        return value


def conv(cin: int, cout: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, kernel, stride, padding=kernel // 2)


class ConvNorm(nn.Sequential):
    """Convolution, batch norm, ReLU: the classifiers' and segmenters' block."""

    def __init__(self, cin: int, cout: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(cin, cout, kernel, stride, padding=kernel // 2, bias=False), nn.BatchNorm2d(cout), nn.ReLU(inplace=True)
        )


class Residual(nn.Module):
    """Basic residual block (He et al., CVPR 2016) with batch norm; stride 2 halves the resolution."""

    def __init__(self, cin: int, cout: int, stride: int = 1) -> None:
        super().__init__()
        self.first = ConvNorm(cin, cout, 3, stride)
        self.second = nn.Sequential(nn.Conv2d(cout, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout))
        plain = cin == cout and stride == 1
        self.skip = nn.Identity() if plain else nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(self.first(x)) + self.skip(x))


class ConvAct(nn.Module):
    """Convolution, group norm, leaky ReLU: the generators' block; a code, where given, scales and shifts each channel (FiLM,
    Perez et al., AAAI 2018, arXiv 1709.07871)."""

    def __init__(self, cin: int, cout: int, code_dim: int = 0) -> None:
        super().__init__()
        self.conv = conv(cin, cout)
        self.norm = nn.GroupNorm(8, cout)
        self.film = nn.Linear(code_dim, 2 * cout) if code_dim else None

    def forward(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        x = self.norm(self.conv(x))
        if self.film is not None and code is not None:
            scale, shift = self.film(code)[:, :, None, None].chunk(2, dim=1)  # (N, 2C) -> 2 x (N, C, 1, 1)
            x = x * (1 + scale) + shift
        return F.leaky_relu(x, 0.2)


def pooled_head(channels: int, classes: int, dropout: float) -> nn.Sequential:
    """Pooled features (N, C) -> logits (N, K)."""
    return nn.Sequential(nn.Dropout(dropout), nn.Linear(channels, classes))


def near_zero(layer: nn.Conv2d, std: float, bias: float = 0.0) -> nn.Conv2d:
    """A head that starts near zero (or `bias`), so that what it adds starts as nothing."""
    nn.init.normal_(layer.weight, std=std)
    if layer.bias is not None:
        nn.init.constant_(layer.bias, bias)
    return layer


def upsample(x: Tensor, factor: int = 2) -> Tensor:
    """Bilinear: (N, C, H, W) -> (N, C, factor H, factor W)."""
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
