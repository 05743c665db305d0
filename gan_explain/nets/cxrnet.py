"""CXR-Net: a classifier that draws a map of its evidence and then reads the image through that map.

Zhang et al., "CXR-Net: A Multitask Deep Learning Network for Explainable and Accurate Diagnosis of COVID-19 Pneumonia From Chest
X-Ray Images", IEEE JBHI 27(2), 2023, arXiv 2110.10813: encoder, decoder, encoder. The first encoder classifies; the decoder turns
its features into a map of every class at the resolution of the image; the second encoder classifies what the map keeps.

Chosen here, where the abstract leaves it open:
- Both encoders are residual networks of seven blocks, the second a third slimmer. Or an EfficientNet-Lite up to stride 16 is
  both: it reads the image, and reads it again through the map.
- The decoder has skips from the first encoder and ends at half the resolution, enlarged bilinearly. Each map is a sigmoid, 0 to
  1, a class a channel.
- The map that is used is the mixture sum_k p_k A_k, p the first encoder's softmax (no gradient passes through p).
- What a map drops becomes 0 in the standardised input: mid-gray, or for a lungs-only target what the outside of the lungs is.
- The answer is the mean of both encoders' logits: a normalised geometric mean of their probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from gan_explain.nets.blocks import Config, ConvNorm, Residual, pooled_head
from gan_explain.nets.efficientnet_lite import EfficientNetLite, channels_of

LEVELS = 4  # of an encoder: strides 2 to 16


class CxrNetConfig(Config):
    classes: int = 2
    channels: int = 1
    width: int = 24  # channels of the first encoder at half the resolution
    second_width: int = 16  # the same of the second encoder
    decoder_widths: tuple[int, int, int] = (32, 24, 16)  # channels at 1/8, 1/4, 1/2 of the resolution
    dropout: float = 0.3
    initial_map: float = 1.0  # logit of an untrained map: it keeps most of the image
    encoder: str = ""  # an EfficientNet-Lite as both encoders


class Encoder(nn.Module):
    """(N, C, H, W) -> features at 1/2, 1/4, 1/8 and 1/16 of the resolution, and logits (N, K) from the mean of the last."""

    def __init__(self, channels: int, classes: int, width: int, dropout: float) -> None:
        super().__init__()
        w = width
        self.stages = nn.ModuleList(
            [
                ConvNorm(channels, w, 5, 2),  # H/2
                nn.Sequential(Residual(w, 2 * w, 2), Residual(2 * w, 2 * w)),  # H/4
                nn.Sequential(Residual(2 * w, 4 * w, 2), Residual(4 * w, 4 * w)),  # H/8
                nn.Sequential(Residual(4 * w, 8 * w, 2), Residual(8 * w, 8 * w)),  # H/16
            ]
        )
        self.head = pooled_head(8 * w, classes, dropout)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features, self.head(x.mean((2, 3)))


class LiteEncoder(nn.Module):
    """The same of an EfficientNet-Lite up to stride 16, x standardised as (image - 0.5) / 0.25."""

    def __init__(self, variant: str, classes: int, dropout: float) -> None:
        super().__init__()
        self.features = EfficientNetLite(variant, LEVELS)
        self.head = pooled_head(channels_of(variant)[LEVELS - 1], classes, dropout)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        features = self.features.standardised(x)
        return features, self.head(features[-1].mean((2, 3)))


class Decoder(nn.Module):
    """Features of the first encoder, of `channels` from fine to coarse -> one map logit a class, at half the resolution of the
    image."""

    def __init__(self, channels: Sequence[int], widths: tuple[int, int, int], classes: int, initial: float) -> None:
        super().__init__()
        *skips, deepest = channels
        skips.reverse()
        inputs = (deepest, *widths[:-1])
        self.up = nn.ModuleList(ConvNorm(a + b, c) for a, b, c in zip(inputs, skips, widths, strict=True))
        self.head = nn.Conv2d(widths[-1], classes, 3, padding=1)
        nn.init.constant_(self.head.bias, initial)  # type: ignore[arg-type]

    def forward(self, features: list[Tensor]) -> Tensor:
        x = features[-1]
        for block, skip in zip(self.up, reversed(features[:-1]), strict=True):
            x = block(torch.cat([F.interpolate(x, skip.shape[-2:], mode="bilinear", align_corners=False), skip], dim=1))
        logits: Tensor = self.head(x)  # (N, K, H/2, W/2)
        return logits


class CxrNet(nn.Module):
    """(N, C, H, W), standardised so that 0 is neutral -> logits (N, K). `look` gives the maps.

    About 0.8 GFLOP an image at 128 px, 2.4 M parameters; on EfficientNet-Lite0 1.7 GFLOP at 256 px, 0.8 M
    parameters.
    """

    def __init__(self, config: CxrNetConfig) -> None:
        super().__init__()
        self.config = config
        two = not config.encoder  # encoders; or the first reads again
        self.first = (
            Encoder(config.channels, config.classes, config.width, config.dropout)
            if two
            else LiteEncoder(config.encoder, config.classes, config.dropout)
        )
        channels = tuple(config.width * 2**i for i in range(LEVELS)) if two else channels_of(config.encoder)[:LEVELS]
        self.decoder = Decoder(channels, config.decoder_widths, config.classes, config.initial_map)
        self.second = Encoder(config.channels, config.classes, config.second_width, config.dropout) if two else None

    def look(self, x: Tensor, shared: float = 1.0) -> tuple[Tensor, Tensor]:
        """Logits of the first encoder (N, K) and the map of every class (N, K, H, W) in [0, 1]. Of the gradient of the maps, the
        first encoder gets the share `shared`."""
        features, logits = self.first(x)
        features = [shared * each + (1 - shared) * each.detach() for each in features] if shared < 1 else features
        maps = F.interpolate(self.decoder(features), x.shape[-2:], mode="bilinear", align_corners=False)
        return logits, maps.sigmoid()

    def through(self, x: Tensor, kept: Tensor) -> Tensor:
        """Logits of the second encoder (N, K) from what a map (N, 1, H, W) keeps of x."""
        logits: Tensor = (self.second or self.first)(x * kept)[1]
        return logits

    def held(self, x: Tensor, kept: Tensor) -> Tensor:
        """The same from a second encoder that does not learn by it: only the map gets a gradient, no statistics are taken."""
        encoder = self.second or self.first
        training = encoder.training
        fixed = {name: value.detach() for name, value in encoder.state_dict(keep_vars=True).items()}
        encoder.eval()
        logits: Tensor = functional_call(encoder, fixed, (x * kept,))[1]
        encoder.train(training)
        return logits

    def forward(self, x: Tensor) -> Tensor:
        first, maps = self.look(x)
        return (first + self.through(x, mixture(maps, first))) / 2


def mixture(maps: Tensor, logits: Tensor, chosen: Tensor | None = None) -> Tensor:
    """Maps (N, K, H, W), weighted by the softmax of logits (N, K) over all classes or over those `chosen` (N, K) bool ->
    (N, 1, H, W) in [0, 1]. The weights pass no gradient on."""
    logits = logits.detach()
    weights = (logits if chosen is None else logits.masked_fill(~chosen, -torch.inf)).softmax(1)
    return torch.einsum("nk,nkhw->nhw", weights.to(maps), maps)[:, None]
