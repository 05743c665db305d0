"""Training the structure generator: reconstruction, a distance in pretrained features, and a projected discriminator.

VAE-GAN (Larsen et al., ICML 2016, arXiv 1512.09300) with the discriminator of Projected GANs (Sauer et al., NeurIPS 2021, arXiv
2111.01007), hinge loss, on augmented images. It judges reconstructions of negatives and images of codes drawn from the prior,
which is the Gaussian of the codes that negatives had lately: what is drawn after training is what was judged in training.
Other radiographs, where some are given, are reconstructed only: neither the prior nor the discriminator knows them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gan_explain.data import Dataset
from gan_explain.files.checkpoints import save_part
from gan_explain.nets.projected import ProjectedDiscriminator
from gan_explain.nets.structure import StructureConfig, StructureGenerator
from gan_explain.render.sheet import write_sheet
from gan_explain.train.distributed import is_main, rank, same, wrap
from gan_explain.train.gan.views import JUDGED, ViewRanges, view
from gan_explain.train.loop import Ema, Stopper, run
from gan_explain.train.training import Training
from gan_explain.train.update import descend
from gan_explain.types import DataError

PERCEPTUAL_LEVELS = 4  # of the pyramid, from the finest
COARSE = 4  # factor by which images are reduced for the second half of the pixel term


class Pyramid(Protocol):
    """Frozen features: images (N, 1, H, W) in [0, 1] -> levels from fine to coarse, as `EfficientNetLite0` gives them."""

    def __call__(self, images: Tensor) -> list[Tensor]: ...


@dataclass(frozen=True, kw_only=True)
class StructureTraining(Training):
    """`minutes` above 0 bounds the training in time as well as in steps; rates follow whichever is further on."""

    steps: Annotated[int, Field(ge=1, description="Updates in all.")] = 6000
    minutes: Annotated[float, Field(ge=0, description="End, and pace, in time; 0: in steps alone.")] = 0.0
    batch_size: Annotated[int, Field(ge=1, description="Images that an update reconstructs.")] = 32
    samples: Annotated[int, Field(ge=1, description="Images of drawn codes of an update.")] = 24
    others: Annotated[float, Field(ge=0, lt=1, description="Share of the images that is not negative, where such are given.")] = (
        0.25
    )
    learning_rate: Annotated[float, Field(gt=0, description="Learning rate at its highest.")] = 4e-4
    discriminator_rate: Annotated[float, Field(gt=0, description="Learning rate of the discriminator.")] = 5e-4
    pixels: Annotated[float, Field(ge=0, description="Weight of L1, half of it on images reduced four times.")] = 10.0
    perceptual: Annotated[float, Field(ge=0, description="Weight of the distance in features.")] = 3.0
    kl: Annotated[float, Field(ge=0, description="Weight of the divergence from N(0, I), in nats an image.")] = 3e-4
    adversarial: Annotated[float, Field(ge=0, description="Weight of looking real.")] = 0.25
    start: Annotated[float, Field(ge=0, le=1, description="Progress at which the discriminator joins in.")] = 0.08
    flat: Annotated[float, Field(ge=0, le=1, description="Progress until which the learning rates stay.")] = 0.5
    discriminator_width: Annotated[int, Field(ge=1, description="Channels of the discriminator.")] = 64
    bank: Annotated[int, Field(ge=1, description="Codes of negatives that the prior is made of during training.")] = 1024
    ema: Annotated[float, Field(ge=0, lt=1, description="Decay of the averaged weights, which are the result.")] = 0.998


PRESETS: Mapping[str, tuple[StructureConfig, StructureTraining]] = {
    "cpu": (
        StructureConfig(width=16, max_width=128, encoder_width=32),
        StructureTraining(steps=4000, minutes=170, batch_size=8, samples=6, discriminator_width=32),
    ),
    "gpu": (StructureConfig(), StructureTraining(steps=20000, minutes=8, amp=True)),
}


def rate(progress: float, step: int, flat: float, warmup: int = 100) -> float:
    """Learning-rate factor in (0, 1]: linear warm-up, level until progress `flat`, then half a cosine down to 0.02."""
    fall = max(0.0, progress - flat) / max(1 - flat, 1e-9)
    return min(1.0, (step + 1) / warmup) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, fall))))


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


def judge_loss(real: Tensor, *fakes: Tensor) -> dict[str, Tensor]:
    """Hinge: logits (N, K) of reals and of each kind of fakes -> the two named terms; kinds of fakes count the same."""
    false = torch.stack([F.relu(1 + fake).mean() for fake in fakes]).mean()
    return {"judge_real": F.relu(1 - real).mean(), "judge_fake": false}


class StructureObjective(nn.Module):
    """One pass of the generator: named losses, the codes' means, and the features of the fakes that the discriminator saw."""

    def __init__(self, network: StructureGenerator, judge: nn.Module, features: Pyramid, config: StructureTraining) -> None:
        super().__init__()
        self.network, self.config = network, config
        self._fixed = (judge, features)  # not submodules: this objective does not train them

    def forward(
        self, images: Tensor, negatives: int, noise: Tensor, drawn: Tensor, seed: int, weight: float
    ) -> tuple[dict[str, Tensor], Tensor, list[Tensor]]:
        """images (N, 1, R, R), the first `negatives` of them negative; noise (N, z_dim) ~ N(0, I); drawn codes (M, z_dim);
        `weight` in [0, 1] of the discriminator's terms, which are left out at 0."""
        judge, features = self._fixed
        config = self.config
        mean, log_variance = self.network.posterior(images)
        made = self.network(torch.cat([mean + noise * (log_variance / 2).exp(), drawn]))
        again = made[: len(images)]
        with torch.no_grad():
            wanted = features(images)[:PERCEPTUAL_LEVELS]
        losses = {
            "pixels": config.pixels * pixel_distance(again, images),
            "perceptual": config.perceptual * feature_distance(features(again)[:PERCEPTUAL_LEVELS], wanted),
            "kl": config.kl * divergence(mean, log_variance),
        }
        seen: list[Tensor] = []
        if weight > 0:
            fakes = torch.cat([made[:negatives], made[len(images) :]])
            seen = features(view(fakes, torch.Generator().manual_seed(seed), JUDGED))
            logits = judge(seen)
            losses["adversarial_again"] = -weight * config.adversarial * logits[:negatives].mean()
            losses["adversarial_drawn"] = -weight * config.adversarial * logits[negatives:].mean()
        return losses, mean.detach(), [level.detach() for level in seen]


class StructureTrainer:
    """Trains on negatives and, for reconstruction alone, on others: (N, 1, R, R) uint8, or floating in [0, 1], held on the
    device. `features` is frozen and lies there too."""

    def __init__(
        self,
        negatives: Tensor,
        features: Pyramid,
        network: StructureConfig,
        config: StructureTraining,
        others: Tensor | None = None,
    ) -> None:
        expected = (1, network.resolution, network.resolution)
        for images in (negatives, *([] if others is None else [others])):
            if images.shape[1:] != expected or not len(images):
                raise DataError(f"expected images (N, {', '.join(map(str, expected))}), got {tuple(images.shape)}")
        self.config, self.features = config, features
        self.device = torch.device(config.device)
        self.images = [images.to(self.device) for images in (negatives, *([] if others is None or not len(others) else [others]))]
        self.network = StructureGenerator(network)
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        with torch.no_grad():
            levels = features(self._unit(negatives[:16]))
        self.judge = ProjectedDiscriminator([(level.shape[1], level.shape[2]) for level in levels], config.discriminator_width)
        self.judge.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.judge.calibrate(levels)
        self.objective = wrap(StructureObjective(self.network, self.judge, features, config), self.device)
        self.judging = wrap(self.judge, self.device)
        trained = [p for p in self.judge.parameters() if p.requires_grad]
        self.g_optimizer = torch.optim.Adam(self.network.parameters(), config.learning_rate, betas=(0.5, 0.99))
        self.d_optimizer = torch.optim.Adam(trained, config.discriminator_rate, betas=(0.0, 0.99))
        self.generator = torch.Generator().manual_seed(config.seed + 1000 * rank())
        self.ema = Ema(self.network, config.ema)
        self.bank = torch.zeros(config.bank, network.z_dim, device=self.device)
        self.banked = 0
        self._began = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds of training, those before a resumption counted in."""
        return time.monotonic() - self._began

    def progress(self, step: int) -> float:
        """How much of the training is done, in [0, 1]: of its steps or of its time, whichever is more."""
        done = step / self.config.steps
        return min(1.0, max(done, same(self.elapsed / 60 / self.config.minutes)) if self.config.minutes else done)

    def step(self, step: int) -> dict[str, Tensor]:
        config = self.config
        progress = self.progress(step)
        factor = rate(progress, step, config.flat)
        for optimizer, top in ((self.g_optimizer, config.learning_rate), (self.d_optimizer, config.discriminator_rate)):
            for group in optimizer.param_groups:
                group["lr"] = top * factor
        weight = min(1.0, (progress - config.start) / max(config.start, 1e-9) + 0.1) if progress >= config.start else 0.0
        weight *= self.banked > 0

        # draw
        few = round(config.others * config.batch_size) if len(self.images) > 1 else 0
        negatives = config.batch_size - few
        images = torch.cat([self._pick(each, n) for each, n in zip(self.images, (negatives, few), strict=False)])
        images = view(images, self.generator, ViewRanges())
        noise = torch.randn(len(images), self.network.config.z_dim, generator=self.generator).to(self.device)
        drawn = self._prior(config.samples if weight else 0)
        seed = int(torch.randint(2**31, (), generator=self.generator))
        kind = self.device.type

        # generator
        for parameter in self.d_optimizer.param_groups[0]["params"]:
            parameter.requires_grad_(False)
        with torch.autocast(kind, torch.bfloat16, enabled=config.amp):
            losses, codes, seen = self.objective(images, negatives, noise, drawn, seed, weight)
        descend("generator", self.network, self.g_optimizer, losses, clip=5.0)
        self._remember(codes[:negatives])

        # discriminator
        for parameter in self.d_optimizer.param_groups[0]["params"]:
            parameter.requires_grad_(True)
        terms: dict[str, Tensor] = {}
        if weight:
            with torch.autocast(kind, torch.bfloat16, enabled=config.amp):
                with torch.no_grad():
                    real = self.features(view(images[:negatives], torch.Generator().manual_seed(seed + 1), JUDGED))
                logits = self.judging([torch.cat(both) for both in zip(real, seen, strict=True)])
            terms = judge_loss(logits[:negatives], logits[negatives : 2 * negatives], logits[2 * negatives :])
            descend("judge", self.judge, self.d_optimizer, terms)
        self.ema.update(self.network, step)
        return {name: value.detach() for name, value in {**losses, **terms}.items()}

    def _unit(self, images: Tensor) -> Tensor:
        """Stored images -> float32 in [0, 1] on the device."""
        images = images.to(self.device)
        return images.float() / 255 if images.dtype == torch.uint8 else images.float()

    def _pick(self, images: Tensor, n: int) -> Tensor:
        return self._unit(images[torch.randint(len(images), (n,), generator=self.generator).to(self.device)])

    def _prior(self, n: int) -> Tensor:
        """Codes (n, z_dim) of the Gaussian with the mean and covariance of the bank: random sums of its deviations."""
        bank = self.bank[: self.banked]
        weights = torch.randn(n, len(bank), generator=self.generator).to(self.device) / max(len(bank) - 1, 1) ** 0.5
        return bank.mean(0) + weights @ (bank - bank.mean(0)) if n else bank.new_zeros(0, bank.shape[1])

    def _remember(self, codes: Tensor) -> None:
        """Newest first; the oldest fall out."""
        self.bank = torch.cat([codes.float(), self.bank])[: len(self.bank)]
        self.banked = min(self.banked + len(codes), len(self.bank))

    def state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "judge": self.judge.state_dict(),
            "g_optimizer": self.g_optimizer.state_dict(),
            "d_optimizer": self.d_optimizer.state_dict(),
            "ema": self.ema.shadow,
            "bank": self.bank,
            "banked": self.banked,
            "elapsed": self.elapsed if self.config.minutes else 0.0,
            "generator": self.generator.get_state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.judge.load_state_dict(state["judge"])
        self.g_optimizer.load_state_dict(state["g_optimizer"])
        self.d_optimizer.load_state_dict(state["d_optimizer"])
        self.ema.shadow = {k: v.to(self.device) for k, v in state["ema"].items()}
        self.bank, self.banked = state["bank"].to(self.device), int(state["banked"])
        self._began = time.monotonic() - float(state["elapsed"])
        if is_main():  # the stream saved is the first process's; others keep their own
            self.generator.set_state(state["generator"].cpu())

    def networks(self) -> Mapping[str, nn.Module]:
        return {"generator": self.network, "judge": self.judge}

    @torch.no_grad()
    def averaged(self) -> StructureGenerator:
        """A copy of the generator with its EMA weights and the prior of all negatives' codes, in eval mode."""
        copy = StructureGenerator(self.network.config)
        copy.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        copy.load_state_dict(self.ema.shadow)
        copy.eval()
        copy.fit_prior(torch.cat([copy.encode(self._unit(some)) for some in self.images[0].split(64)]))
        return copy

    @torch.no_grad()
    def sheet(self, path: Path) -> None:
        """Negatives, their reconstructions, and two rows drawn from the prior."""
        network, real = self.averaged(), self._unit(self.images[0][:8])
        drawn = network(network.sample(16, torch.Generator().manual_seed(1)))
        write_sheet([list(row.cpu()) for row in (real, network(network.encode(real)), drawn[:8], drawn[8:])], path)


class TimeUp:
    """Ends a training whose minutes are over."""

    def __init__(self, trainer: StructureTrainer) -> None:
        self.trainer = trainer

    @property
    def done(self) -> bool:
        minutes = self.trainer.config.minutes
        return minutes > 0 and same(self.trainer.elapsed) >= 60 * minutes

    def check(self, step: int) -> None:
        """Nothing to look at: a clock needs no validation images."""


def train_structure(
    negatives: Tensor,
    features: Pyramid,
    out: Path,
    network: StructureConfig,
    config: StructureTraining,
    *,
    others: Tensor | None = None,
    resume: bool = False,
) -> None:
    """Train on negatives (N, 1, R, R) and, for reconstruction alone, on others; write part "structure" of checkpoint `out`."""
    trainer = StructureTrainer(negatives, features, network, config, others)
    stopper: Stopper = TimeUp(trainer)
    run(trainer, config, out, resume=resume, stopper=stopper)
    if is_main():
        save_structure(trainer, out)


def stored(dataset: Dataset) -> Tensor:
    """Images of a dataset as the trainer holds them: (N, 1, R, R) uint8."""
    parts = [dataset.batch(range(i, min(i + 64, len(dataset)))).images for i in range(0, len(dataset), 64)]
    return torch.cat([(255 * part).round().to(torch.uint8) for part in parts])


def save_structure(trainer: StructureTrainer, out: Path) -> None:
    """Write the averaged generator as part "structure" of checkpoint `out`, in 16 bits."""
    found = trainer.averaged()
    save_part(out, "structure", "structure", found.config.model_dump(mode="json"), found.state_dict(), half=True)
