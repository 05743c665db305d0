"""Training the structure generator: reconstruction, a distance in pretrained features, and a projected discriminator.

VAE-GAN (Larsen et al., ICML 2016, arXiv 1512.09300) with the discriminator of Projected GANs (Sauer et al., NeurIPS 2021, arXiv
2111.01007), hinge loss, on augmented images. It judges reconstructions of negatives and images of codes drawn from the prior,
which is the Gaussian of the codes that negatives had lately: what is drawn after training is what was judged in training.
Other radiographs, where some are given, are reconstructed only: neither the prior nor the discriminator knows them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan_explain.data import Dataset
from gan_explain.nets.projected import ProjectedDiscriminator
from gan_explain.nets.structure import StructureConfig, StructureGenerator
from gan_explain.train.distributed import same
from gan_explain.train.gan.losses import hinge
from gan_explain.train.gan.reconstruction import Drawn, Pyramid, StructureObjective, StructureTraining
from gan_explain.train.gan.trainer import AdversarialTrainer
from gan_explain.train.gan.views import SHOWN, ViewRanges, view
from gan_explain.train.loop import run
from gan_explain.train.masks import in_batches
from gan_explain.train.schedule import level
from gan_explain.train.trainer import save_network
from gan_explain.types import DataError

PRESETS: Mapping[str, tuple[StructureConfig, StructureTraining]] = {
    "cpu": (
        StructureConfig(width=16, max_width=128, encoder_width=32),
        StructureTraining(steps=4000, minutes=170, batch_size=8, samples=6, discriminator_width=32),
    ),
    "gpu": (StructureConfig(), StructureTraining(steps=20000, minutes=8, amp=True)),
}


@dataclass
class CodeBank:
    """Codes (B, z_dim) that negatives had lately, the newest first; the first `filled` are there."""

    codes: Tensor
    filled: int = 0

    def sample(self, n: int, random: torch.Generator) -> Tensor:
        """Codes (n, z_dim) of the Gaussian with the mean and covariance of the bank: random sums of its deviations."""
        bank = self.codes[: self.filled]
        weights = torch.randn(n, len(bank), generator=random).to(bank.device) / max(len(bank) - 1, 1) ** 0.5
        return bank.mean(0) + weights @ (bank - bank.mean(0)) if n else bank.new_zeros(0, bank.shape[1])

    def remember(self, codes: Tensor) -> None:
        """The oldest fall out."""
        self.codes = torch.cat([codes.float(), self.codes])[: len(self.codes)]
        self.filled = min(self.filled + len(codes), len(self.codes))


def unit(images: Tensor) -> Tensor:
    """Stored images -> float32 in [0, 1]."""
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


class StructureTrainer(AdversarialTrainer[Drawn, list[Tensor]]):
    """Trains on negatives and, for reconstruction alone, on others: (N, 1, R, R) uint8, or floating in [0, 1], held on the
    device. `features` is frozen and lies there too."""

    config: StructureTraining
    clip = 5.0

    def __init__(
        self,
        negatives: Tensor,
        features: Pyramid,
        network: StructureConfig,
        config: StructureTraining,
        others: Tensor | None = None,
    ) -> None:
        expected = (1, network.resolution, network.resolution)
        every = [negatives] if others is None else [negatives, others]
        for images in every:
            if images.shape[1:] != expected or not len(images):
                raise DataError(f"expected images (N, {', '.join(map(str, expected))}), got {tuple(images.shape)}")
        self.images, self.features = [images.to(config.device) for images in every], features
        self.network = StructureGenerator(network)
        with torch.no_grad():
            levels = features(unit(self.images[0][:16]))
        self.discriminator = ProjectedDiscriminator([(x.shape[1], x.shape[2]) for x in levels], config.discriminator_width)
        super().__init__(config, {"generator": self.network, "discriminator": self.discriminator}, self.network)
        self.discriminator.calibrate(levels)
        self.objective = self.wrap(StructureObjective(self.network, self.discriminator, features, config))
        self.discriminating = self.wrap(self.discriminator)
        self.adam("generator", self.network, config.learning_rate, (0.5, 0.99))
        self.adam("discriminator", self.discriminator, config.discriminator_rate, (0.0, 0.99))
        self.generator = self.stream("draws")
        self.bank = CodeBank(torch.zeros(config.bank, network.z_dim, device=self.device))
        self.now = 0.0  # progress at this step
        self._began = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds of training, those before a resumption counted in."""
        return time.monotonic() - self._began

    @property
    def done(self) -> bool:
        """Whether the minutes are over."""
        minutes = self.config.minutes
        return minutes > 0 and same(self.elapsed) >= 60 * minutes

    def progress(self, step: int) -> float:
        """How much of the training is done, in [0, 1]: of its steps or of its time, whichever is more."""
        done = step / self.config.steps
        return min(1.0, max(done, same(self.elapsed / 60 / self.config.minutes)) if self.config.minutes else done)

    def begin(self, step: int) -> None:
        self.now = self.progress(step)

    def rate(self, step: int) -> float:
        return level(self.now, step, self.config.flat)

    def update(self, step: int) -> dict[str, Tensor]:
        return self.alternate(self.draw(), "generator", "discriminator")

    def draw(self) -> Drawn:
        config, random, late = self.config, self.generator, self.now - self.config.start
        weight = (late >= 0) * min(1.0, late / max(config.start, 1e-9) + 0.1) * (self.bank.filled > 0)
        few = round(config.others * config.batch_size) if len(self.images) > 1 else 0
        negatives = config.batch_size - few
        images = torch.cat([self._pick(each, n) for each, n in zip(self.images, (negatives, few), strict=False)])
        images = view(images, random, ViewRanges())
        noise = torch.randn(len(images), self.network.config.z_dim, generator=random).to(self.device)
        codes = self.bank.sample(config.samples if weight else 0, random)
        return Drawn(images, negatives, noise, codes, int(torch.randint(2**31, (), generator=random)), weight)

    def generate(self, drawn: Drawn) -> tuple[dict[str, Tensor], list[Tensor]]:
        with self.autocast():
            losses, codes, seen = self.objective(drawn)
        self.bank.remember(codes[: drawn.negatives])
        return losses, seen

    def discriminate(self, drawn: Drawn, made: list[Tensor]) -> dict[str, Tensor]:
        if not drawn.weight:
            return {}
        n = drawn.negatives
        with self.autocast():
            with torch.no_grad():
                real = self.features(view(drawn.images[:n], torch.Generator().manual_seed(drawn.seed + 1), SHOWN))
            logits = self.discriminating([torch.cat(both) for both in zip(real, made, strict=True)])
        return hinge(logits[:n], logits[n : 2 * n], logits[2 * n :])

    def _pick(self, images: Tensor, n: int) -> Tensor:
        return unit(images[torch.randint(len(images), (n,), generator=self.generator).to(self.device)])

    def kept(self) -> dict[str, Any]:
        return {"bank": self.bank.codes, "banked": self.bank.filled, "elapsed": self.elapsed if self.config.minutes else 0.0}

    def keep(self, state: Mapping[str, Any]) -> None:
        self.bank = CodeBank(state["bank"].to(self.device), int(state["banked"]))
        self._began = time.monotonic() - float(state["elapsed"])

    @torch.no_grad()
    def averaged(self) -> StructureGenerator:
        """A copy of the generator with its averaged weights and the prior of all negatives' codes, in eval mode."""
        network = self.copy_of(self.network)
        network.fit_prior(torch.cat([network.encode(unit(some)) for some in self.images[0].split(64)]))
        return network

    def samples(self) -> dict[str, Tensor]:
        """Negatives, their reconstructions, and two rows drawn from the prior."""
        network, real = self.averaged(), unit(self.images[0][:8])
        drawn = network(network.sample(16, torch.Generator().manual_seed(1)))
        again = network(network.encode(real))
        return {"negatives": real, "from their codes": again, "drawn": drawn[:8], "drawn too": drawn[8:]}


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
    run(trainer, config, out, resume=resume)
    save_network(trainer.averaged(), out, "structure", "structure")


def stored(dataset: Dataset) -> Tensor:
    """Images of a dataset as the trainer holds them: (N, 1, R, R) uint8."""
    return torch.cat([(255 * batch.images).round().to(torch.uint8) for batch in in_batches(dataset)])
