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

from gan_explain.data import Dataset, coarse
from gan_explain.data.augment import similarity
from gan_explain.nets.cyclegan import CycleGan, CycleGanConfig, PatchDiscriminator
from gan_explain.train.distributed import is_main
from gan_explain.train.gan.losses import least_squares
from gan_explain.train.gan.pool import ImagePool
from gan_explain.train.gan.trainer import AdversarialTrainer
from gan_explain.train.loop import run
from gan_explain.train.schedule import linear_decay
from gan_explain.train.trainer import Objective, save_network
from gan_explain.train.training import LooksReal, Steps, Training
from gan_explain.types import DataError

SIDES = ("negative", "positive")
BySide = dict[str, Tensor]  # images (N, 1, H, W) of each of SIDES


@dataclass(frozen=True, kw_only=True)
class CycleGanTraining(Training):
    steps: Steps = 3000
    batch_size: Annotated[int, Field(ge=1, description="Images of each side of an update.")] = 2
    learning_rate: Annotated[float, Field(gt=0, description="Learning rate; falls to 0 over the second half.")] = 2e-4
    cycle: Annotated[float, Field(ge=0, description="Weight of coming back.")] = 10.0
    identity: Annotated[float, Field(ge=0, description="Weight of leaving alone what is on the other side already.")] = 5.0
    adversarial: LooksReal = 1.0
    anatomy: Annotated[float, Field(ge=0, description="Weight of keeping the lungs of negatives; 0: as published.")] = 0.0
    ramp: Annotated[int, Field(ge=0, description="Steps over which cycle and identity rise to their weights.")] = 300
    pool: Annotated[int, Field(ge=0, description="Images of each side that the discriminators remember.")] = 50
    crop: Annotated[float, Field(ge=0, le=0.5, description="Images are zoomed by up to this share and shifted within.")] = 0.08


PRESETS: Mapping[str, tuple[CycleGanConfig, CycleGanTraining]] = {
    "cpu": (  # bolder steps, and held less: a CPU has few
        CycleGanConfig(width=32, blocks=6, judge_width=24),
        CycleGanTraining(learning_rate=6e-4, cycle=5.0, identity=1.0),
    ),
    "gpu": (CycleGanConfig(width=128, blocks=9, judge_width=64), CycleGanTraining(steps=60000, batch_size=8)),
}


def crop(images: Tensor, most: float, generator: torch.Generator) -> Tensor:
    """Each image (N, 1, H, W) zoomed by a share of up to `most` and shifted within it, so that no border shows."""
    if most <= 0:
        return images
    zoom = 1 - most * torch.rand(len(images), generator=generator)
    shift = (torch.rand(len(images), 2, generator=generator) * 2 - 1) * (1 - zoom)[:, None]
    affine = similarity(torch.zeros_like(zoom), zoom, shift)
    grid = F.affine_grid(affine.to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


SoftSegmenter = Callable[[Tensor], Tensor]  # (N, 1, H, W) -> probability of lung, the same shape; differentiable


def soft_dice(a: Tensor, b: Tensor) -> Tensor:
    """Dice of two maps (N, 1, H, W) in [0, 1] -> (N,); 1 for equal masks and for two empty maps."""
    a, b = a.flatten(1), b.flatten(1)
    return (2 * (a * b).sum(1) + 1) / (a.square().sum(1) + b.square().sum(1) + 1)


class TranslationObjective(Objective):
    """forward(negatives, positives, hold) -> named losses of both generators, and the fakes of each side (detached); `hold` in
    [0, 1] is the share of their weights that the cycle and identity terms have."""

    network: CycleGan
    config: CycleGanTraining

    def __init__(
        self, network: CycleGan, discriminators: Discriminators, config: CycleGanTraining, segmenter: SoftSegmenter | None = None
    ) -> None:
        super().__init__(network, config, discriminators=discriminators, segmenter=segmenter)

    def forward(self, negatives: Tensor, positives: Tensor, hold: float = 1.0) -> tuple[dict[str, Tensor], BySide]:
        config, asked, n = self.config, self.asked, len(negatives)
        made, kept = self.network.adder(torch.cat([negatives, positives])).split([n, len(positives)])
        healed, left = self.network.remover(torch.cat([positives, negatives])).split([len(positives), n])
        cycle, identity = hold * config.cycle, hold * config.identity
        back = self.network.remover(made), self.network.adder(healed)
        losses = {
            "adversarial_positive": config.adversarial * least_squares(asked.discriminators.positive(made).float(), True),
            "adversarial_negative": config.adversarial * least_squares(asked.discriminators.negative(healed).float(), True),
            "cycle_negative": cycle * F.l1_loss(back[0], negatives),
            "cycle_positive": cycle * F.l1_loss(back[1], positives),
            "identity_negative": identity * F.l1_loss(left, negatives),
            "identity_positive": identity * F.l1_loss(kept, positives),
        }
        if asked.segmenter is not None and config.anatomy > 0:
            with torch.no_grad():
                lungs = asked.segmenter(negatives)
            losses["anatomy"] = config.anatomy * (1 - soft_dice(asked.segmenter(made.float()), lungs)).mean()
        return losses, {"negative": healed.detach(), "positive": made.detach()}


class Discriminators(nn.Module):
    """A patch discriminator a side; forward(real and fake images by side) -> their losses."""

    def __init__(self, config: CycleGanConfig) -> None:
        super().__init__()
        self.negative, self.positive = PatchDiscriminator(config), PatchDiscriminator(config)

    def forward(self, real: BySide, fake: BySide) -> dict[str, Tensor]:
        losses = {}
        for side, network in (("negative", self.negative), ("positive", self.positive)):
            true, false = network(torch.cat([real[side], fake[side]])).float().split([len(real[side]), len(fake[side])])
            losses[f"discriminator_{side}"] = 0.5 * (least_squares(true, True) + least_squares(false, False))
        return losses


class CycleGanTrainer(AdversarialTrainer[BySide, BySide]):
    """Trains both directions on real images of each side, read on demand.

    Raises DataError for a side of fewer than two images, ValueError for images of another size than the network's.
    """

    config: CycleGanTraining

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
        self.sides = dict(zip(SIDES, (negatives, positives), strict=True))
        for side, dataset in self.sides.items():
            if len(dataset) < 2:
                raise DataError(f"{dataset.root}: expected at least two {side} images to train a CycleGAN, got {len(dataset)}")
            if dataset.size != network.resolution:
                raise ValueError(f"expected images of {network.resolution} px a side, got {dataset.size}")
        self.network, self.discriminators = CycleGan(network), Discriminators(network)
        super().__init__(config, {"generators": self.network, "discriminators": self.discriminators}, self.network)
        self.objective = self.wrap(TranslationObjective(self.network, self.discriminators, config, segmenter))
        self.discriminating = self.wrap(self.discriminators)
        for name, module in self.networks().items():
            self.adam(name, module, config.learning_rate, (0.5, 0.999))
        self.pools = {side: ImagePool(config.pool) for side in SIDES}
        self.generator = self.stream("draws")
        self.hold = 0.0  # share of their weights that cycle and identity have at this step

    def begin(self, step: int) -> None:
        self.hold = min(1.0, (step + 1) / max(self.config.ramp, 1))

    def rate(self, step: int) -> float:
        return linear_decay(step, self.config.steps)

    def update(self, step: int) -> dict[str, Tensor]:
        return self.alternate({side: self._draw(each) for side, each in self.sides.items()}, "generators", "discriminators")

    def generate(self, drawn: BySide) -> tuple[dict[str, Tensor], BySide]:
        with self.autocast():
            losses, fakes = self.objective(drawn["negative"], drawn["positive"], self.hold)
        return losses, fakes

    def discriminate(self, drawn: BySide, made: BySide) -> dict[str, Tensor]:
        pooled = {side: self.pools[side](made[side].float(), self.generator) for side in SIDES}
        with self.autocast():
            terms: dict[str, Tensor] = self.discriminating(drawn, pooled)
        return terms

    def _draw(self, dataset: Dataset) -> Tensor:
        index = torch.randint(len(dataset), (self.config.batch_size,), generator=self.generator).tolist()
        return crop(dataset.batch(index).images, self.config.crop, self.generator).to(self.device)

    def kept(self) -> dict[str, Any]:
        return {"pools": {side: [image.cpu() for image in pool.images] for side, pool in self.pools.items()}}

    def keep(self, state: Mapping[str, Any]) -> None:
        if is_main():  # the pools saved are the first process's; others keep their own
            for side, pool in self.pools.items():
                pool.images = [image.to(self.device) for image in state["pools"][side]]

    def samples(self) -> dict[str, Tensor]:
        """Negatives, made positive, and back; positives, healed, and back."""
        network = self.copy_of(self.network)
        first = [each.batch(range(min(8, len(each)))).images.to(self.device) for each in self.sides.values()]
        made, healed = network.to_positive(first[0]), network.to_negative(first[1])
        return {
            "negatives": first[0],
            "made positive": made,
            "and back": network.to_negative(made),
            "positives": first[1],
            "healed": healed,
            "and back again": network.to_positive(healed),
        }


def two_sides(dataset: Dataset) -> tuple[Dataset, Dataset, str]:
    """Negatives, positives and the positive class of training data with two classes, one of them normal (pneumonias of all kinds
    are one class). DataError names the classes that came, or a side of fewer than two images."""
    classes = sorted({coarse(record.label) for record in dataset.records})
    others = [name for name in classes if name != "normal"]
    if len(others) != 1 or len(classes) != 2:
        came = ", ".join(classes) or "none"
        raise DataError(
            f"{dataset.root}: expected two classes to train on, normal and one other (choose with --include), got {came}"
        )
    sides = [dataset.where(lambda record, name=name: coarse(record.label) == name) for name in ("normal", others[0])]  # type: ignore[misc]
    for name, each in zip(("normal", others[0]), sides, strict=True):
        if len(each) < 2:
            raise DataError(f"{dataset.root}: expected at least two training images of {name}, got {len(each)}")
    return sides[0], sides[1], others[0]


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
    return save_network(trainer.copy_of(trainer.network), out, "cyclegan", "cyclegan")
