"""Training the free map against one target: the smallest smooth change, anywhere, that turns the target's answer and looks real.

For negatives x, x' = compose(x, tau(x)) and e(x') = logit p(x') - logit p*, with p of the target's positive set,

    target softplus(margin - e(x'))  +  size mean |tau|  +  smoothness mean |grad tau|^2  +  adversarial softplus(-D(x'))

against a discriminator D of real positives and x', with an R1 penalty (train/gan/losses.py). After VA-GAN (Baumgartner et al.,
CVPR 2018, arXiv 1711.08998); the term of the target makes it an adversary of that target, as a generator of perturbations is
(Poursaeed et al., CVPR 2018, arXiv 1712.02328).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gan_explain.data.augment import Ranges, draw
from gan_explain.labels import belongs
from gan_explain.nets.discriminator import Discriminator, DiscriminatorConfig
from gan_explain.nets.free import FreeConfig, FreeMap
from gan_explain.optics import compose, opacity
from gan_explain.train.gan.losses import discriminator_loss, generator_loss, r1_penalty
from gan_explain.train.gan.trainer import AdversarialTrainer
from gan_explain.train.loop import run
from gan_explain.train.masks import Batches
from gan_explain.train.sampling import BalancedSampler
from gan_explain.train.trainer import Objective, save_network
from gan_explain.train.training import LooksReal, Penalty, Rate, Steps, Training
from gan_explain.types import DataError, Target, TargetError

AUGMENT = Ranges(rotate=4, scale=0.05, shift=0.03, gamma=0.15, contrast=0.1, blur=0, noise=0)


@dataclass(frozen=True, kw_only=True)
class FreeTraining(Training):
    steps: Steps = 600
    batch_size: Annotated[int, Field(ge=4, description="Images of an update: half negatives, half positives.")] = 16
    learning_rate: Rate = 1e-3
    target: Annotated[float, Field(ge=0, description="Weight of turning the target's answer.")] = 1.0
    margin: Annotated[float, Field(description="Logit distance past the operating point that is asked for.")] = 2.0
    size: Annotated[float, Field(ge=0, description="Weight of a small map.")] = 5.0
    smoothness: Annotated[float, Field(ge=0, description="Weight of a smooth map.")] = 0.02
    adversarial: LooksReal = 0.2
    r1: Penalty = 1.0
    width: Annotated[int, Field(ge=8, description="Channels of the discriminator.")] = 16


def check_gradients(target: Target) -> None:
    """TargetError for a target that only runs forward."""
    if not target.differentiable:
        raise TargetError("training a free map needs a target with gradients; this one only runs forward")


def evidence(target: Target, images: Tensor, lungs: Tensor) -> Tensor:
    """Logit of p(positive set) less that of the operating point: images and lungs (N, 1, H, W) -> (N,); differentiable."""
    logits = target.logits(images, lungs if target.uses_lungs else None).float()
    chosen = torch.tensor([name in target.positive for name in target.classes], device=logits.device)
    threshold = torch.logit(torch.tensor(target.operating_point)).item()
    return torch.logsumexp(logits[:, chosen], 1) - torch.logsumexp(logits[:, ~chosen], 1) - threshold


def roughness(tau: Tensor) -> Tensor:
    """Mean squared gradient of a layer (N, 1, H, W) -> scalar; lengths are sides of the image, so it depends on no resolution."""
    down, across = tau.diff(dim=-2) * tau.shape[-2], tau.diff(dim=-1) * tau.shape[-1]
    return down.square().mean() + across.square().mean()


class FreeObjective(Objective):
    """forward(negatives, lungs), (N, 1, H, W) each -> named losses, and the counterfactuals (N, 1, H, W), detached."""

    config: FreeTraining

    def __init__(self, network: FreeMap, target: Target, discriminator: nn.Module, config: FreeTraining) -> None:
        super().__init__(network, config, target=target, discriminator=discriminator)

    def forward(self, negatives: Tensor, lungs: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        config = self.config
        tau = self.network(negatives)
        changed = compose(negatives, tau)
        losses = {
            "target": config.target * F.softplus(config.margin - evidence(self.asked.target, changed, lungs)).mean(),
            "size": config.size * tau.abs().mean(),
            "smoothness": config.smoothness * roughness(tau),
            "adversarial": config.adversarial * generator_loss(self.asked.discriminator(changed).float()),
        }
        return losses, changed.detach()


@dataclass(frozen=True)
class Drawn:
    """Negatives, their lungs and positives, (N, 1, H, W) each."""

    negatives: Tensor
    lungs: Tensor
    positives: Tensor


class FreeTrainer(AdversarialTrainer[Drawn, Tensor]):
    """Alternates one step of the map on negatives and one of the discriminator, which sees positives beside.

    Images come at the map's resolution. Raises TargetError for a target without gradients, DataError for data of one side.
    """

    config: FreeTraining
    clip = 5.0

    def __init__(self, dataset: Batches, target: Target, network: FreeConfig, config: FreeTraining) -> None:
        check_gradients(target)
        side = [belongs(record.label, target.positive) for record in dataset.records]
        if all(side) or not any(side):
            names = "+".join(target.positive)
            raise DataError(f"expected negatives and positives ({names}) in the training split, got one side only")
        self.dataset = dataset
        self.sides = [[i for i, positive in enumerate(side) if positive == wanted] for wanted in (False, True)]
        self.network = FreeMap(network)
        self.discriminator = Discriminator(DiscriminatorConfig(resolution=network.resolution, width=config.width))
        super().__init__(config, {"map": self.network, "discriminator": self.discriminator}, self.network)
        self.mapping = self.wrap(FreeObjective(self.network, target, self.discriminator, config))
        self.discriminating = self.wrap(self.discriminator)
        for name, module in self.networks().items():
            self.adam(name, module, config.learning_rate, (0.5, 0.99))
        sources = [[dataset.records[i].source for i in of] for of in self.sides]
        streams = [self.stream(name, offset) for offset, name in enumerate(("negatives", "positives"))]
        self.samplers = [BalancedSampler(of, stream, floor=100) for of, stream in zip(sources, streams, strict=True)]
        self.generator = self.stream("transforms", 2)

    def update(self, step: int) -> dict[str, Tensor]:
        half = self.config.batch_size // 2
        index = [of[i] for of, sampler in zip(self.sides, self.samplers, strict=True) for i in sampler.draw(half)]
        batch = self.dataset.batch(index)
        images, lungs = draw(len(index), self.generator, AUGMENT)(batch.images, batch.lungs)
        negatives, positives = images.to(self.device).split(half)
        return self.alternate(Drawn(negatives, lungs[:half].to(self.device), positives), "map", "discriminator")

    def generate(self, drawn: Drawn) -> tuple[dict[str, Tensor], Tensor]:
        with self.autocast():
            losses, changed = self.mapping(drawn.negatives, drawn.lungs)
        return losses, changed

    def discriminate(self, drawn: Drawn, made: Tensor) -> dict[str, Tensor]:
        real = drawn.positives.detach().requires_grad_(True)
        with self.autocast():
            true, false = self.discriminating(torch.cat([real, made])).float().split([len(real), len(made)])
        return {"discriminator": discriminator_loss(true, false), "r1": self.config.r1 * r1_penalty(true, real)}

    def samples(self) -> dict[str, Tensor]:
        """Negatives, the same under their map, and how strong it is."""
        negative = self.sides[0]
        count = min(8, len(negative))
        images = self.dataset.batch(negative[:: len(negative) // count][:count]).images.to(self.device)
        tau = self.copy_of(self.network).layer(images)
        return {"negatives": images, "under their map": compose(images, tau), "strength of the map": opacity(tau).abs()}


def train_free(
    dataset: Batches,
    target: Target,
    out: Path,
    network: FreeConfig,
    config: FreeTraining,
    *,
    resume: bool = False,
    origin: Mapping[str, Any] | None = None,
) -> FreeMap:
    """Train the free map of `target` on images at `network.resolution`, and write the part "free" of checkpoint `out`, where
    `origin` is stored with it. Returns the averaged map, frozen. Raises as FreeTrainer and `loop.run` do."""
    trainer = FreeTrainer(dataset, target, network, config)
    run(trainer, config, out, resume=resume)
    return save_network(trainer.copy_of(trainer.network), out, "free", "free", origin)
