"""The terms of the structure generator: reconstruction in pixels and in pretrained features, a prior, and an adversary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gan_explain.nets.structure import StructureGenerator
from gan_explain.train.gan.views import SHOWN, view
from gan_explain.train.trainer import Objective
from gan_explain.train.training import Average, DiscriminatorRate, LooksReal, Rate, Steps, Training

PERCEPTUAL_LEVELS = 4  # of the pyramid, from the finest
COARSE = 4  # factor by which images are reduced for the second half of the pixel term


class Pyramid(Protocol):
    """Frozen features: images (N, 1, H, W) in [0, 1] -> levels from fine to coarse, as `EfficientNetLite` gives them."""

    def __call__(self, images: Tensor) -> list[Tensor]: ...


@dataclass(frozen=True, kw_only=True)
class StructureTraining(Training):
    """`minutes` above 0 bounds the training in time as well as in steps; rates follow whichever is further on."""

    steps: Steps = 6000
    minutes: Annotated[float, Field(ge=0, description="End, and pace, in time; 0: in steps alone.")] = 0.0
    batch_size: Annotated[int, Field(ge=1, description="Images that an update reconstructs.")] = 32
    samples: Annotated[int, Field(ge=1, description="Images of drawn codes of an update.")] = 24
    others: Annotated[float, Field(ge=0, lt=1, description="Share of images that are not negative, where such are given.")] = 0.25
    learning_rate: Rate = 4e-4
    discriminator_rate: DiscriminatorRate = 5e-4
    pixels: Annotated[float, Field(ge=0, description="Weight of L1, half of it on images reduced four times.")] = 10.0
    perceptual: Annotated[float, Field(ge=0, description="Weight of the distance in features.")] = 3.0
    kl: Annotated[float, Field(ge=0, description="Weight of the divergence from N(0, I), in nats an image.")] = 3e-4
    adversarial: LooksReal = 0.25
    start: Annotated[float, Field(ge=0, le=1, description="Progress at which the discriminator joins in.")] = 0.08
    flat: Annotated[float, Field(ge=0, le=1, description="Progress until which the learning rates stay.")] = 0.5
    discriminator_width: Annotated[int, Field(ge=1, description="Channels of the discriminator.")] = 64
    bank: Annotated[int, Field(ge=1, description="Codes of negatives that the prior is made of during training.")] = 1024
    ema: Average = 0.998


@dataclass(frozen=True)
class Drawn:
    """images (N, 1, R, R), the first `negatives` of them negative; noise (N, z_dim) ~ N(0, I); codes (M, z_dim) of the prior; a
    seed of views; the weight in [0, 1] of the discriminator's terms, which are left out at 0."""

    images: Tensor
    negatives: int
    noise: Tensor
    codes: Tensor
    seed: int
    weight: float


class StructureObjective(Objective):
    """One pass of the generator: named losses, the codes' means, and the features of the fakes that the discriminator saw."""

    network: StructureGenerator
    config: StructureTraining

    def __init__(
        self, network: StructureGenerator, discriminator: nn.Module, features: Pyramid, config: StructureTraining
    ) -> None:
        super().__init__(network, config, discriminator=discriminator, features=features)

    def forward(self, drawn: Drawn) -> tuple[dict[str, Tensor], Tensor, list[Tensor]]:
        config, features, count = self.config, self.asked.features, len(drawn.images)
        mean, log_variance = self.network.posterior(drawn.images)
        made = self.network(torch.cat([mean + drawn.noise * (log_variance / 2).exp(), drawn.codes]))
        again = made[:count]
        with torch.no_grad():
            wanted = features(drawn.images)[:PERCEPTUAL_LEVELS]
        losses = {
            "pixels": config.pixels * pixel_distance(again, drawn.images),
            "perceptual": config.perceptual * feature_distance(features(again)[:PERCEPTUAL_LEVELS], wanted),
            "kl": config.kl * divergence(mean, log_variance),
        }
        seen: list[Tensor] = []
        if drawn.weight > 0:
            fakes = torch.cat([made[: drawn.negatives], made[count:]])
            seen = features(view(fakes, torch.Generator().manual_seed(drawn.seed), SHOWN))
            logits = self.asked.discriminator(seen)
            losses["adversarial_again"] = -drawn.weight * config.adversarial * logits[: drawn.negatives].mean()
            losses["adversarial_drawn"] = -drawn.weight * config.adversarial * logits[drawn.negatives :].mean()
        return losses, mean.detach(), [level.detach() for level in seen]


def pixel_distance(a: Tensor, b: Tensor) -> Tensor:
    """L1 at full resolution and L1 of images reduced four times, averaged: a wrong tone costs more than wrong detail."""
    return 0.5 * (F.l1_loss(a, b) + F.l1_loss(F.avg_pool2d(a, COARSE), F.avg_pool2d(b, COARSE)))


def feature_distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Squared distance of the directions of feature vectors, place by place, averaged over places, images and levels, in [0, 4].

    As LPIPS (Zhang et al., CVPR 2018, arXiv 1801.03924) with equal weights.
    """
    return torch.stack(
        [
            (F.normalize(x.float(), dim=1) - F.normalize(y.float(), dim=1)).square().sum(1).mean()
            for x, y in zip(a, b, strict=True)
        ]
    ).mean()


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of N(mean, variance), (N, z_dim) each, from N(0, I): nats an image, averaged."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
