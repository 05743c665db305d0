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
from gan_explain.files.checkpoints import save_part
from gan_explain.nets.discriminator import Discriminator, DiscriminatorConfig
from gan_explain.nets.synthesis import LOW, StructureGenerator, SynthesisConfig
from gan_explain.optics import take_off
from gan_explain.pixels import resize
from gan_explain.render.sheet import write_sheet
from gan_explain.train.distributed import is_main, rank, wrap
from gan_explain.train.gan.losses import discriminator_loss, generator_loss, r1_penalty
from gan_explain.train.loop import Ema, cosine, run
from gan_explain.train.training import Training
from gan_explain.train.update import descend
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


class StageObjective(nn.Module):
    """forward(inputs, real) -> named losses of one stage: `pixels` holds the first len(real) outputs to `real` in L1; the
    adversary judges all, augmented (Zhao et al., "Differentiable Augmentation", NeurIPS 2020, arXiv 2006.10738)."""

    def __init__(self, network: nn.Module, judge: nn.Module, name: str, pixels: float, adversarial: float) -> None:
        super().__init__()
        self.network, self.name, self.pixels, self.adversarial = network, name, pixels, adversarial
        self._judge = [judge]  # not a submodule: this objective does not train it

    def forward(self, inputs: Tensor, real: Tensor, seed: int) -> tuple[dict[str, Tensor], Tensor]:
        raw = self.network(inputs)
        fake = raw.clamp(0, 1)
        shown = _augment(fake, seed)
        logits = self._judge[0](shown)
        losses = {
            f"{self.name}_adversarial": self.adversarial * generator_loss(logits),
            f"{self.name}_pixels": self.pixels * F.l1_loss(raw[: len(real)], real),
            f"{self.name}_range": 10 * (raw - fake).square().mean(),
        }
        return losses, fake.detach()


class Stage:
    """One generator against one discriminator, each with its optimiser."""

    def __init__(self, network: nn.Module, judge: Discriminator, objective: StageObjective, config: SynthesisTraining) -> None:
        device = torch.device(config.device)
        for module in (network, judge):
            module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network, self.judge, self.config, self.name = network, judge, config, objective.name
        self.objective, self.judging = wrap(objective, device), wrap(judge, device)
        self.g_optimizer = torch.optim.Adam(network.parameters(), config.learning_rate, betas=(0.5, 0.99))
        self.d_optimizer = torch.optim.Adam(judge.parameters(), config.discriminator_rate, betas=(0.5, 0.99))
        self.updates = 0

    def update(self, inputs: Tensor, held: Tensor, real: Tensor, seed: int, rate: float) -> dict[str, Tensor]:
        """One update of each. `inputs` go through the generator, whose first outputs are held to `held`; `real` are the reals."""
        config, kind = self.config, real.device.type
        for optimizer, top in ((self.g_optimizer, config.learning_rate), (self.d_optimizer, config.discriminator_rate)):
            for group in optimizer.param_groups:
                group["lr"] = top * rate
        # generator
        self.judge.requires_grad_(False)
        with torch.autocast(kind, torch.bfloat16, enabled=config.amp):
            losses, fake = self.objective(inputs, held, seed)
        descend(f"{self.name}_generator", self.network, self.g_optimizer, losses)
        self.judge.requires_grad_(True)

        # discriminator
        shown, false = _augment(real, seed + 1), _augment(fake, seed + 2)
        penalise = self.updates % config.r1_every == 0
        shown.requires_grad_(penalise)
        with torch.autocast(kind, torch.bfloat16, enabled=config.amp):
            logits = self.judging(torch.cat([shown, false])).float()
        terms = {f"{self.name}_discriminator": discriminator_loss(logits[: len(real)], logits[len(real) :])}
        if penalise:
            terms[f"{self.name}_r1"] = config.r1 * r1_penalty(logits[: len(real)], shown)
        descend(f"{self.name}_discriminator", self.judge, self.d_optimizer, terms)
        self.updates += 1
        return {name: value.detach() for name, value in {**losses, **terms}.items()}

    def state(self) -> dict[str, Any]:
        return {
            "judge": self.judge.state_dict(),
            "g_optimizer": self.g_optimizer.state_dict(),
            "d_optimizer": self.d_optimizer.state_dict(),
            "updates": self.updates,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.judge.load_state_dict(state["judge"])
        self.g_optimizer.load_state_dict(state["g_optimizer"])
        self.d_optimizer.load_state_dict(state["d_optimizer"])
        self.updates = int(state["updates"])


def _augment(images: Tensor, seed: int) -> Tensor:
    """Every image by a transform of its own; differentiable."""
    augmented, _ = draw(len(images), torch.Generator().manual_seed(seed), AUGMENT)(images, torch.ones_like(images))
    return augmented


class SynthesisTrainer:
    """Trains both stages on real (N, 1, H, W), held in memory. The detail stage sees small real images, never the first's."""

    def __init__(self, real: Tensor, network: SynthesisConfig, config: SynthesisTraining) -> None:
        if len(real) <= network.z_dim:
            raise DataError(f"expected more than {network.z_dim} negatives to train the structure generator, got {len(real)}")
        self.config, self.real, self.small = config, real, resize(real, LOW).clamp(0, 1)
        self.device = torch.device(config.device)
        self.network = StructureGenerator(network)
        self.network.anatomy.start_from(self.small)
        self.network.to(self.device)
        self.stages = [
            self._stage(self.network.anatomy, "anatomy", LOW, 1, config.linear, 1.0),
            self._stage(self.network.detail, "detail", network.resolution, 2, config.pixels, config.adversarial),
        ]
        self.generator = torch.Generator().manual_seed(config.seed + 1000 * rank())
        self.ema = Ema(self.network, config.ema)

    def _stage(self, network: nn.Module, name: str, side: int, fold: int, pixels: float, adversarial: float) -> Stage:
        judge = Discriminator(DiscriminatorConfig(resolution=side, width=self.config.width, fold=fold))
        return Stage(network, judge, StageObjective(network, judge, name, pixels, adversarial), self.config)

    def step(self, step: int) -> dict[str, Tensor]:
        config, terms = self.config, {}
        rate = cosine(step, config.steps)
        for _ in range(config.low_steps):
            index, seed = self._draw(config.low_batch)
            small = self.small[index].to(self.device)
            coded = small[: config.low_batch // 4]  # a quarter are codes of real images, the rest is drawn from the prior
            prior = torch.randn(config.low_batch - len(coded), self.network.config.z_dim, generator=self.generator)
            z = torch.cat([self.network.anatomy.encode(coded), prior.to(self.device)])
            terms.update(self.stages[0].update(z, coded, small, seed, rate))
        index, seed = self._draw(config.batch_size)
        real = self.real[index].to(self.device)
        small = resize(real, LOW)
        small = (small + 0.02 * torch.randn(small.shape, generator=self.generator).to(self.device)).clamp(0, 1)
        terms.update(self.stages[1].update(small, real, real, seed, rate))
        self.ema.update(self.network, step)
        return terms

    def _draw(self, n: int) -> tuple[Tensor, int]:
        index = torch.randint(len(self.real), (n,), generator=self.generator)
        return index, int(torch.randint(2**31, (), generator=self.generator))

    def state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "stages": [stage.state() for stage in self.stages],
            "ema": self.ema.shadow,
            "generator": self.generator.get_state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        for stage, saved in zip(self.stages, state["stages"], strict=True):
            stage.restore(saved)
        self.ema.shadow = {k: v.to(self.device) for k, v in state["ema"].items()}
        if is_main():  # the stream saved is the first process's; others keep their own
            self.generator.set_state(state["generator"].cpu())

    def networks(self) -> Mapping[str, nn.Module]:
        judges = {f"{stage.name}_discriminator": stage.judge for stage in self.stages}
        return {"generator": self.network, **judges}

    def averaged(self) -> StructureGenerator:
        """A copy of the generator with its EMA weights, in eval mode."""
        copy = StructureGenerator(self.network.config).to(self.device)
        copy.load_state_dict(self.ema.shadow)
        return copy.eval()

    @torch.no_grad()
    def sheet(self, path: Path) -> None:
        """Real negatives, detail added to their small versions, their codes' images, and two rows drawn from the prior."""
        network, real = self.averaged(), self.real[:8].to(self.device)
        z = torch.randn(16, network.config.z_dim, generator=torch.Generator().manual_seed(1)).to(self.device)
        drawn = network(z)
        rows = [real, network.detail(resize(real, LOW)), network(network.encode(real)), drawn[:8], drawn[8:]]
        write_sheet([list(row.cpu()) for row in rows], path)


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
    if is_main():
        save_part(out, "synthesis", "synthesis", network.model_dump(mode="json"), trainer.averaged().state_dict(), half=True)
