"""Training a CycleGAN: two translations, each judged by patches and held to come back.

Zhu, Park, Isola, Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", ICCV 2017,
arXiv 1703.10593. For unpaired images a (negative) and b (positive), G = to_positive and F = to_negative:

    generators:      (D_b(G(a)) - 1)^2 + (D_a(F(b)) - 1)^2
                     + cycle (|F(G(a)) - a| + |G(F(b)) - b|) + identity (|F(a) - a| + |G(b) - b|)
    discriminators:  half of (D(real) - 1)^2 + D(pooled fake)^2, where a pooled fake is an older one half of the time

with Adam (0.5, 0.999) at a constant rate that falls linearly to 0 over the second half. Differs: an EMA of both translations is
what is written; the cycle and identity terms rise over the first steps (at full weight from the start they teach both to do
nothing before the discriminators have learned anything, and there it stays); images are zoomed and shifted a little in place of
resized and cropped; no mirror images (hearts have a side). With a lung segmenter, `anatomy` holds the lungs that it finds in
G(a) to those of a (soft Dice; the shape consistency of Zhang, Yang, Zheng, CVPR 2018, arXiv 1802.09655): where positives are
framed more narrowly than negatives, a CycleGAN darkens the chest wall into lung. F is left free: healing may show lungs that were
hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gan_explain.data import Dataset
from gan_explain.files.checkpoints import save_part
from gan_explain.nets.cyclegan import CycleGan, CycleGanConfig, PatchDiscriminator
from gan_explain.render.sheet import write_sheet
from gan_explain.train.distributed import is_main, rank, wrap
from gan_explain.train.gan.losses import least_squares
from gan_explain.train.loop import Ema, run
from gan_explain.train.training import Training
from gan_explain.train.update import descend
from gan_explain.types import DataError

SIDES = ("negative", "positive")


@dataclass(frozen=True, kw_only=True)
class CycleGanTraining(Training):
    steps: Annotated[int, Field(ge=1, description="Updates in all.")] = 3000
    batch_size: Annotated[int, Field(ge=1, description="Images of each side of an update.")] = 2
    learning_rate: Annotated[float, Field(gt=0, description="Learning rate; falls to 0 over the second half.")] = 2e-4
    cycle: Annotated[float, Field(ge=0, description="Weight of coming back.")] = 10.0
    identity: Annotated[float, Field(ge=0, description="Weight of leaving alone what is on the other side already.")] = 5.0
    adversarial: Annotated[float, Field(ge=0, description="Weight of looking real.")] = 1.0
    anatomy: Annotated[float, Field(ge=0, description="Weight of keeping the lungs of negatives; 0: as published.")] = 0.0
    ramp: Annotated[int, Field(ge=0, description="Steps over which cycle and identity rise to their weights.")] = 300
    pool: Annotated[int, Field(ge=0, description="Images of each side that the discriminators remember.")] = 50
    crop: Annotated[float, Field(ge=0, le=0.5, description="Images are zoomed by up to this share, and shifted within it.")] = (
        0.08
    )


PRESETS: Mapping[str, tuple[CycleGanConfig, CycleGanTraining]] = {
    "cpu": (  # bolder steps, and held less: a CPU has few
        CycleGanConfig(width=32, blocks=6, judge_width=24),
        CycleGanTraining(learning_rate=6e-4, cycle=5.0, identity=1.0),
    ),
    "gpu": (CycleGanConfig(width=128, blocks=9, judge_width=64), CycleGanTraining(steps=60000, batch_size=8)),
}


def linear_decay(step: int, steps: int) -> float:
    """Learning-rate factor: 1 over the first half, then linearly towards 0."""
    half = steps / 2
    return 1.0 if step < half else max(0.0, (steps - step) / (steps - half))


def crop(images: Tensor, most: float, generator: torch.Generator) -> Tensor:
    """Each image (N, 1, H, W) zoomed by a share of up to `most` and shifted within it, so that no border shows."""
    if most <= 0:
        return images
    zoom = 1 - most * torch.rand(len(images), generator=generator)
    shift = (torch.rand(len(images), 2, generator=generator) * 2 - 1) * (1 - zoom)[:, None]
    zero = torch.zeros_like(zoom)
    affine = torch.stack([torch.stack([zoom, zero, shift[:, 0]], 1), torch.stack([zero, zoom, shift[:, 1]], 1)], 1)
    grid = F.affine_grid(affine.to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


class ImagePool:
    """A history of fakes, so that a discriminator does not forget what the generators did before.

    Shrivastava et al., CVPR 2017, arXiv 1612.07828: while it fills, what comes in goes out; full, half of what comes in takes the
    place of an older image, which goes out instead.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: list[Tensor] = []

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """(N, C, H, W) fakes, detached -> as many, some of them older."""
        if self.size < 1:
            return images
        out = []
        for image in images:
            chance, place = torch.rand(2, generator=generator).tolist()
            if len(self.images) < self.size:
                self.images.append(image.clone())
            elif chance < 0.5:
                index = int(place * self.size)
                image, self.images[index] = self.images[index], image.clone()
            out.append(image)
        return torch.stack(out)

    def state(self) -> list[Tensor]:
        return [image.cpu() for image in self.images]


SoftSegmenter = Callable[[Tensor], Tensor]  # (N, 1, H, W) -> probability of lung, the same shape; differentiable


def soft_dice(a: Tensor, b: Tensor) -> Tensor:
    """Dice of two maps (N, 1, H, W) in [0, 1] -> (N,); 1 for equal masks and for two empty maps."""
    a, b = a.flatten(1), b.flatten(1)
    return (2 * (a * b).sum(1) + 1) / (a.square().sum(1) + b.square().sum(1) + 1)


class TranslationObjective(nn.Module):
    """forward(negatives, positives, hold) -> named losses of both generators, and the fakes of each side (detached); `hold` in
    [0, 1] is the share of their weights that the cycle and identity terms have."""

    def __init__(
        self, network: CycleGan, judges: Judges, config: CycleGanTraining, segmenter: SoftSegmenter | None = None
    ) -> None:
        super().__init__()
        self.network, self.config, self.segmenter = network, config, segmenter
        self._judges = [judges]  # not a submodule: this objective does not train it

    def forward(self, negatives: Tensor, positives: Tensor, hold: float = 1.0) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        config, judges, n = self.config, self._judges[0], len(negatives)
        made, kept = self.network.adder(torch.cat([negatives, positives])).split([n, len(positives)])
        healed, left = self.network.remover(torch.cat([positives, negatives])).split([len(positives), n])
        cycle, identity = hold * config.cycle, hold * config.identity
        back = self.network.remover(made), self.network.adder(healed)
        losses = {
            "adversarial_positive": config.adversarial * least_squares(judges.positive(made).float(), True),
            "adversarial_negative": config.adversarial * least_squares(judges.negative(healed).float(), True),
            "cycle_negative": cycle * F.l1_loss(back[0], negatives),
            "cycle_positive": cycle * F.l1_loss(back[1], positives),
            "identity_negative": identity * F.l1_loss(left, negatives),
            "identity_positive": identity * F.l1_loss(kept, positives),
        }
        if self.segmenter is not None and config.anatomy > 0:
            with torch.no_grad():
                lungs = self.segmenter(negatives)
            losses["anatomy"] = config.anatomy * (1 - soft_dice(self.segmenter(made.float()), lungs)).mean()
        return losses, {"negative": healed.detach(), "positive": made.detach()}


class Judges(nn.Module):
    """A patch discriminator a side; forward(real and fake images by side) -> their losses."""

    def __init__(self, config: CycleGanConfig) -> None:
        super().__init__()
        self.negative, self.positive = PatchDiscriminator(config), PatchDiscriminator(config)

    def forward(self, real: dict[str, Tensor], fake: dict[str, Tensor]) -> dict[str, Tensor]:
        losses = {}
        for side, judge in (("negative", self.negative), ("positive", self.positive)):
            true, false = judge(torch.cat([real[side], fake[side]])).float().split([len(real[side]), len(fake[side])])
            losses[f"judge_{side}"] = 0.5 * (least_squares(true, True) + least_squares(false, False))
        return losses


class CycleGanTrainer:
    """Trains both directions on real images of each side, read on demand.

    Raises DataError for a side of fewer than two images, ValueError for images of another size than the network's.
    """

    def __init__(
        self,
        negatives: Dataset,
        positives: Dataset,
        network: CycleGanConfig,
        config: CycleGanTraining,
        segmenter: SoftSegmenter | None = None,
    ) -> None:
        if config.anatomy > 0 and segmenter is None:
            raise ValueError("expected a lung segmenter for the anatomy term, got none")
        self.config, self.sides = config, dict(zip(SIDES, (negatives, positives), strict=True))
        for side, dataset in self.sides.items():
            if len(dataset) < 2:
                raise DataError(f"{dataset.root}: expected at least two {side} images to train a CycleGAN, got {len(dataset)}")
            if dataset.size != network.resolution:
                raise ValueError(f"expected images of {network.resolution} px a side, got {dataset.size}")
        self.device = torch.device(config.device)
        self.network, self.judges = CycleGan(network), Judges(network)
        for module in (self.network, self.judges):
            module.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.objective = wrap(TranslationObjective(self.network, self.judges, config, segmenter), self.device)
        self.judging = wrap(self.judges, self.device)
        self.optimizers = {
            name: torch.optim.Adam(module.parameters(), config.learning_rate, betas=(0.5, 0.999))
            for name, module in self.networks().items()
        }
        self.pools = {side: ImagePool(config.pool) for side in SIDES}
        self.generator = torch.Generator().manual_seed(config.seed + 1000 * rank())
        self.ema = Ema(self.network, config.ema)

    def step(self, step: int) -> dict[str, Tensor]:
        config, kind = self.config, self.device.type
        rate = config.learning_rate * linear_decay(step, config.steps)
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = rate
        real = {side: self._draw(dataset) for side, dataset in self.sides.items()}

        # both generators
        self.judges.requires_grad_(False)
        with torch.autocast(kind, torch.bfloat16, enabled=config.amp):
            losses, fakes = self.objective(real["negative"], real["positive"], min(1.0, (step + 1) / max(config.ramp, 1)))
        descend("generators", self.network, self.optimizers["generators"], losses)
        self.judges.requires_grad_(True)

        # both discriminators
        pooled = {side: self.pools[side](fakes[side].float(), self.generator) for side in SIDES}
        with torch.autocast(kind, torch.bfloat16, enabled=config.amp):
            terms = self.judging(real, pooled)
        descend("discriminators", self.judges, self.optimizers["discriminators"], terms)

        self.ema.update(self.network, step)
        return {name: value.detach() for name, value in {**losses, **terms}.items()}

    def _draw(self, dataset: Dataset) -> Tensor:
        index = torch.randint(len(dataset), (self.config.batch_size,), generator=self.generator).tolist()
        return crop(dataset.batch(index).images, self.config.crop, self.generator).to(self.device)

    def state(self) -> dict[str, Any]:
        return {
            **{name: module.state_dict() for name, module in self.networks().items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "pools": {side: pool.state() for side, pool in self.pools.items()},
            "ema": self.ema.shadow,
            "generator": self.generator.get_state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        for name, module in self.networks().items():
            module.load_state_dict(state[name])
            self.optimizers[name].load_state_dict(state["optimizers"][name])
        self.ema.shadow = {k: v.to(self.device) for k, v in state["ema"].items()}
        if is_main():  # stream and pools saved are the first process's; others keep their own
            self.generator.set_state(state["generator"].cpu())
            for side, pool in self.pools.items():
                pool.images = [image.to(self.device) for image in state["pools"][side]]

    def networks(self) -> Mapping[str, nn.Module]:
        return {"generators": self.network, "discriminators": self.judges}

    def averaged(self) -> CycleGan:
        """A copy of both generators with their EMA weights, frozen, in eval mode."""
        copy = CycleGan(self.network.config).to(self.device)
        copy.load_state_dict(self.ema.shadow)
        return copy.requires_grad_(False).eval()

    @torch.no_grad()
    def sheet(self, path: Path) -> None:
        """Negatives, made positive, and back; positives, healed, and back."""
        network, rows = self.averaged(), []
        for side, there, back in (
            ("negative", network.to_positive, network.to_negative),
            ("positive", network.to_negative, network.to_positive),
        ):
            dataset = self.sides[side]
            images = dataset.batch(range(min(8, len(dataset)))).images.to(self.device)
            translated = there(images)
            rows += [images, translated, back(translated)]
        names = ("negatives", "made positive", "and back", "positives", "healed", "and back")
        write_sheet([list(row.cpu()) for row in rows], path, rows=names)


def train_cyclegan(
    negatives: Dataset,
    positives: Dataset,
    out: Path,
    network: CycleGanConfig,
    config: CycleGanTraining,
    *,
    resume: bool = False,
    segmenter: SoftSegmenter | None = None,
) -> CycleGan:
    """Train on the images of two sides (their training splits) and write the part "cyclegan" of checkpoint `out`.

    `segmenter` (say `LungSegmenter.soft`) is asked where `config.anatomy` is not 0. Returns the averaged network, frozen. Raises
    DataError for a side of fewer than two images, ValueError for images of another size than `network.resolution` and for an
    anatomy term without a segmenter, TrainingDiverged, Interrupted (see `loop.run`).
    """
    trainer = CycleGanTrainer(negatives, positives, network, config, segmenter)
    run(trainer, config, out, resume=resume)
    trained = trainer.averaged()
    if is_main():
        save_part(out, "cyclegan", "cyclegan", network.model_dump(mode="json"), trained.state_dict(), half=True)
    return trained
