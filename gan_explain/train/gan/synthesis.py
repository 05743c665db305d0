"""Training the structure generator z1 -> S on negatives (and on positives healed by a disentangler, where one is given)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gan_explain.data import Dataset, coarse
from gan_explain.data.augment import Ranges, draw
from gan_explain.nets.discriminator import Discriminator, DiscriminatorConfig
from gan_explain.nets.synthesis import LOW, StructureGenerator, SynthesisConfig
from gan_explain.optics import take_off
from gan_explain.pixels import resize
from gan_explain.train.gan.losses import discriminator_loss, generator_loss, r1_penalty
from gan_explain.train.gan.trainer import AdversarialTrainer
from gan_explain.train.loop import run
from gan_explain.train.trainer import Objective, save_network
from gan_explain.train.training import Training
from gan_explain.types import DataError, Generator, Segmenter

AUGMENT = Ranges(rotate=4, scale=0.08, shift=0.06, gamma=0.15, contrast=0.15, blur=0, noise=0)


@dataclass(frozen=True, kw_only=True)
class SynthesisTraining(Training):
    """A step is `low_steps` updates of the anatomy stage on `low_batch` small images, then one of the detail stage."""

    steps: Annotated[int, Field(ge=1, description="Updates of the detail stage in all.")] = 1800
    batch_size: Annotated[int, Field(ge=2, description="Images of an update of the detail stage.")] = 8
    low_batch: Annotated[int, Field(ge=4, description="Small images of an update of the anatomy stage.")] = 24
    low_steps: Annotated[int, Field(ge=1, description="Updates of the anatomy stage to one of the detail stage.")] = 2
    learning_rate: Annotated[float, Field(gt=0, description="Learning rate at its highest.")] = 8e-4
    discriminator_rate: Annotated[float, Field(gt=0, description="Learning rate of the discriminators.")] = 4e-4
    r1: Annotated[float, Field(ge=0, description="Weight of the discriminators' gradient penalty.")] = 0.5
    r1_every: Annotated[int, Field(ge=1, description="Updates between two penalties.")] = 8
    linear: Annotated[float, Field(ge=0, description="Weight of L1 between an image and the anatomy of its code.")] = 3.0
    pixels: Annotated[float, Field(ge=0, description="Weight of L1 between an image and its small version with detail.")] = 10.0
    adversarial: Annotated[float, Field(ge=0, description="Weight of looking real in the detail stage.")] = 0.4
    width: Annotated[int, Field(ge=8, description="Channels of the discriminators.")] = 24
    ema: Annotated[float, Field(ge=0, lt=1, description="Decay of the averaged weights, which are the result.")] = 0.998


class StageObjective(Objective):
    """forward(inputs, held, seed) -> named losses of one stage, and its images, detached: `pixels` holds the first outputs to
    `held` in L1; the adversary judges all, augmented (Zhao et al., "Differentiable Augmentation", NeurIPS 2020, arXiv
    2006.10738)."""

    def __init__(self, network: nn.Module, discriminator: nn.Module, name: str, pixels: float, adversarial: float) -> None:
        super().__init__(network, discriminator=discriminator)
        self.name, self.pixels, self.adversarial = name, pixels, adversarial

    def forward(self, inputs: Tensor, held: Tensor, seed: int) -> tuple[dict[str, Tensor], Tensor]:
        raw = self.network(inputs)
        fake = raw.clamp(0, 1)
        logits = self.asked.discriminator(_augment(fake, seed))
        losses = {
            f"{self.name}_adversarial": self.adversarial * generator_loss(logits),
            f"{self.name}_pixels": self.pixels * F.l1_loss(raw[: len(held)], held),
            f"{self.name}_range": 10 * (raw - fake).square().mean(),
        }
        return losses, fake.detach()


@dataclass
class Stage:
    """One generator against one discriminator, as all processes call them; `updates` are counted: R1 is not of every one."""

    name: str
    objective: Any
    discriminating: Any
    updates: int = 0


@dataclass(frozen=True)
class Drawn:
    """Inputs of a stage's generator, whose first outputs are held to `held`; reals (N, 1, H, W); a seed of transforms."""

    stage: Stage
    inputs: Tensor
    held: Tensor
    real: Tensor
    seed: int


def _augment(images: Tensor, seed: int) -> Tensor:
    """Every image by a transform of its own; differentiable."""
    augmented, _ = draw(len(images), torch.Generator().manual_seed(seed), AUGMENT)(images, torch.ones_like(images))
    return augmented


class SynthesisTrainer(AdversarialTrainer[Drawn, Tensor]):
    """Trains both stages on real (N, 1, H, W), held in memory. The detail stage sees small real images, never the first's."""

    config: SynthesisTraining

    def __init__(self, real: Tensor, network: SynthesisConfig, config: SynthesisTraining) -> None:
        if len(real) <= network.z_dim:
            raise DataError(f"expected more than {network.z_dim} negatives to train the structure generator, got {len(real)}")
        self.real, self.small = real, resize(real, LOW).clamp(0, 1)
        self.network = StructureGenerator(network)
        self.network.anatomy.start_from(self.small)
        networks: dict[str, nn.Module] = {"anatomy": self.network.anatomy, "detail": self.network.detail}
        for name, side, fold in (("anatomy", LOW, 1), ("detail", network.resolution, 2)):
            shape = DiscriminatorConfig(resolution=side, width=config.width, fold=fold)
            networks[f"{name}_discriminator"] = Discriminator(shape)
        super().__init__(config, networks, self.network)
        weights = {"anatomy": (config.linear, 1.0), "detail": (config.pixels, config.adversarial)}
        self.stages = {name: self._stage(name, *each) for name, each in weights.items()}
        for name, module in networks.items():
            rate = config.learning_rate if name in self.stages else config.discriminator_rate
            self.adam(name, module, rate, (0.5, 0.99))
        self.generator = self.stream("draws")

    def _stage(self, name: str, pixels: float, adversarial: float) -> Stage:
        network, discriminator = self.networks()[name], self.networks()[f"{name}_discriminator"]
        return Stage(name, self.wrap(StageObjective(network, discriminator, name, pixels, adversarial)), self.wrap(discriminator))

    def update(self, step: int) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = {}
        for _ in range(self.config.low_steps):
            terms |= self.alternate(self._small_ones(), "anatomy", "anatomy_discriminator")
        return terms | self.alternate(self._large_ones(), "detail", "detail_discriminator")

    def _small_ones(self) -> Drawn:
        index, seed = self._draw(self.config.low_batch)
        small = self.small[index].to(self.device)
        coded = small[: self.config.low_batch // 4]  # a quarter are codes of real images, the rest is drawn from the prior
        prior = torch.randn(len(small) - len(coded), self.network.config.z_dim, generator=self.generator)
        codes = torch.cat([self.network.anatomy.encode(coded), prior.to(self.device)])
        return Drawn(self.stages["anatomy"], codes, coded, small, seed)

    def _large_ones(self) -> Drawn:
        index, seed = self._draw(self.config.batch_size)
        real = self.real[index].to(self.device)
        small = resize(real, LOW)
        small = (small + 0.02 * torch.randn(small.shape, generator=self.generator).to(self.device)).clamp(0, 1)
        return Drawn(self.stages["detail"], small, real, real, seed)

    def _draw(self, n: int) -> tuple[Tensor, int]:
        index = torch.randint(len(self.real), (n,), generator=self.generator)
        return index, int(torch.randint(2**31, (), generator=self.generator))

    def generate(self, drawn: Drawn) -> tuple[dict[str, Tensor], Tensor]:
        with self.autocast():
            losses, fake = drawn.stage.objective(drawn.inputs, drawn.held, drawn.seed)
        return losses, fake

    def discriminate(self, drawn: Drawn, made: Tensor) -> dict[str, Tensor]:
        config, stage, n = self.config, drawn.stage, len(drawn.real)
        shown, false = _augment(drawn.real, drawn.seed + 1), _augment(made, drawn.seed + 2)
        penalised = stage.updates % config.r1_every == 0
        stage.updates += 1
        shown.requires_grad_(penalised)
        with self.autocast():
            logits = stage.discriminating(torch.cat([shown, false])).float()
        terms = {f"{stage.name}_discriminator": discriminator_loss(logits[:n], logits[n:])}
        if penalised:
            terms[f"{stage.name}_r1"] = config.r1 * r1_penalty(logits[:n], shown)
        return terms

    def kept(self) -> dict[str, Any]:
        return {"updates": {name: stage.updates for name, stage in self.stages.items()}}

    def keep(self, state: Mapping[str, Any]) -> None:
        for name, stage in self.stages.items():
            stage.updates = int(state["updates"][name])

    def averaged(self) -> StructureGenerator:
        """A copy of the generator with its averaged weights, in eval mode."""
        return self.copy_of(self.network)

    def samples(self) -> dict[str, Tensor]:
        """Real negatives, detail added to their small versions, their codes' images, and two rows drawn from the prior."""
        network, real = self.averaged(), self.real[:8].to(self.device)
        z = torch.randn(16, network.config.z_dim, generator=torch.Generator().manual_seed(1)).to(self.device)
        drawn = network(z)
        return {
            "negatives": real,
            "detail on them, made small": network.detail(resize(real, LOW)),
            "from their codes": network(network.encode(real)),
            "drawn": drawn[:8],
            "drawn too": drawn[8:],
        }


@torch.no_grad()
def structures(dataset: Dataset, generator: Generator | None = None, segmenter: Segmenter | None = None) -> Tensor:
    """Structure images to train on, (N, 1, H, W): the dataset's normals, and the others healed where a generator is given."""
    normal = dataset.where(lambda record: coarse(record.label) == "normal")
    parts = [normal.batch().images]
    if generator is not None and segmenter is not None:
        ill = dataset.where(lambda record: coarse(record.label) != "normal")
        for start in range(0, len(ill), 64):
            images = ill.batch(range(start, min(start + 64, len(ill)))).images
            parts.append(take_off(images, generator.read(images, segmenter(images))))
    return torch.cat(parts)


def train_synthesis(
    real: Tensor, out: Path, network: SynthesisConfig, config: SynthesisTraining, *, resume: bool = False
) -> None:
    """Train on real negatives (N, 1, H, W) and write the part "synthesis" of checkpoint `out`."""
    trainer = SynthesisTrainer(real, network, config)
    run(trainer, config, out, resume=resume)
    save_network(trainer.averaged(), out, "synthesis", "synthesis")
