"""What an evaluation is about, and the two directions of a counterfactual."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gan_explain.data import Batch
from gan_explain.evaluate.inputs import seed_of
from gan_explain.image import feather, quantize16
from gan_explain.metrics.proximity import Perceptual
from gan_explain.nets.generator import Disentangler
from gan_explain.optics import compose
from gan_explain.targets import device_of
from gan_explain.types import Generator, Removal, Segmenter, Target

STRENGTHS = tuple(0.05 * i for i in range(31))  # 0 to 1.5


@dataclass(frozen=True)
class Setup:
    """The parts under evaluation. `label`: whose codes the prior draws; `perceptual`: LPIPS, where its backbone is at hand;
    `shuffled`: the target with its weights in random order, a null, where that can be made."""

    generator: Generator
    target: Target
    segmenter: Segmenter
    judges: Mapping[str, Target] = field(default_factory=dict)
    strengths: tuple[float, ...] = STRENGTHS
    seed: int = 0
    label: str = "covid"
    perceptual: Perceptual | None = None
    shuffled: Target | None = None

    @property
    def device(self) -> torch.device:
        return device_of(self.generator)

    def soft_lungs(self, lungs: Tensor) -> Tensor:
        """The feathered mask that confines a layer: (N, 1, H, W) in [0, 1]."""
        return feather(lungs, self.generator.resolution / 64)

    def codes(self, patients: tuple[str, ...]) -> Tensor:
        """One code of strength 1 a patient (N, d), the same whatever else is in the batch."""
        drawn = [self.generator.prior(1, torch.Generator().manual_seed(seed_of(p, self.seed)), self.label) for p in patients]
        return torch.cat(drawn).to(self.device)


@dataclass(frozen=True)
class Part:
    """Some samples of a batch. images and lungs (N, 1, H, W); p (N,) of the positive set; rows: their places in the batch;
    removal and code (N, d): what the removal network read in them."""

    batch: Batch
    rows: Tensor
    images: Tensor
    lungs: Tensor
    p: Tensor
    removal: Removal
    code: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def patients(self) -> tuple[str, ...]:
        return tuple(self.batch.patients[i] for i in self.rows)

    def where(self, chosen: Tensor) -> Part:
        """The samples for which `chosen` (N,) is True."""
        i = torch.nonzero(chosen).flatten()
        there = i.to(self.images.device)
        removal = Removal(self.removal.structure[there], self.removal.tau[there], self.removal.clamped[there])
        return Part(self.batch, self.rows[i], self.images[there], self.lungs[there], self.p[i], removal, self.code[there])


@dataclass(frozen=True)
class Change:
    """`reference` is what a counterfactual is compared with (x of a negative, x_hat of a positive), `counterfactual` is x_c, both
    (N, 1, H, W) on the 16-bit grid; tau (N, 1, H, W) the layer between them at strength 1."""

    reference: Tensor
    counterfactual: Tensor
    tau: Tensor


@torch.no_grad()
def read_part(setup: Setup, batch: Batch, p: Tensor) -> Part:
    """Every sample of a batch with one pass of the removal network over it."""
    images = quantize16(batch.images)
    if isinstance(setup.generator, Disentangler):
        removal, code, _, _ = setup.generator.remove_and_read(images, batch.lungs)
    else:
        removal, code = setup.generator.remove(images, batch.lungs), setup.generator.encode(images, batch.lungs)
    return Part(batch, torch.arange(len(batch)), images, batch.lungs, p, removal, code)


@torch.no_grad()
def added(setup: Setup, part: Part) -> Change:
    """Negatives made positive: the layer of a prior code at strength 1 on the image itself."""
    tau = setup.generator.layer(part.images, setup.codes(part.patients), part.lungs)
    return Change(part.images, quantize16(compose(part.images, tau)), tau)


@torch.no_grad()
def healed(setup: Setup, part: Part) -> Change:
    """Positives made negative: strength 0 of their own structure; the reference is that structure with its own layer on."""
    structure = quantize16(part.removal.structure)
    tau = setup.generator.layer(structure, part.code, part.lungs)
    return Change(quantize16(compose(structure, tau)), structure, tau)
