"""What an evaluation is about, and the changes that it makes: pathology laid on, and taken off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gan_explain.counterfactual import disentangle
from gan_explain.counterfactual.disentangle import laid
from gan_explain.data import Batch
from gan_explain.evaluate.donors import PatientLayers
from gan_explain.evaluate.inputs import seed_of
from gan_explain.metrics.proximity import Perceptual
from gan_explain.pixels import quantize16
from gan_explain.targets import device_of
from gan_explain.types import Generator, Segmenter, Target

STRENGTHS = tuple(0.05 * i for i in range(31))  # 0 to 1.5


@dataclass(frozen=True)
class Setup:
    """The parts under evaluation. `donors`: layers of real patients for negatives; `label`: whose codes the prior draws;
    `perceptual`: LPIPS, where its backbone is at hand; `shuffled`: the target with its weights in random order, a null, where
    that can be made."""

    generator: Generator
    target: Target
    segmenter: Segmenter
    donors: PatientLayers
    judges: Mapping[str, Target] = field(default_factory=dict)
    strengths: tuple[float, ...] = STRENGTHS
    seed: int = 0
    label: str = "covid"
    perceptual: Perceptual | None = None
    shuffled: Target | None = None

    @property
    def device(self) -> torch.device:
        return device_of(self.generator)


@dataclass(frozen=True)
class Part:
    """Some samples of a batch. images on the 16-bit grid, their lungs, the layer read on them and the structure under it, all
    (N, 1, H, W); p (N,) of the positive set; rows: their places in the batch."""

    batch: Batch
    rows: Tensor
    images: Tensor
    lungs: Tensor
    layer: Tensor
    structure: Tensor
    p: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def patients(self) -> tuple[str, ...]:
        return tuple(self.batch.patients[i] for i in self.rows)

    def where(self, chosen: Tensor) -> Part:
        """The samples for which `chosen` (N,) is True."""
        i = torch.nonzero(chosen).flatten()
        there = i.to(self.images.device)
        images, lungs, layer, structure = (each[there] for each in (self.images, self.lungs, self.layer, self.structure))
        return Part(self.batch, self.rows[i], images, lungs, layer, structure, self.p[i])

    def with_donors(self, donors: PatientLayers) -> Part:
        """The samples for which there is another patient's layer."""
        return self.where(torch.tensor([donors.has(self.batch.records[i]) for i in self.rows], dtype=torch.bool))


@dataclass(frozen=True)
class Change:
    """`reference` is what a counterfactual is compared with, the image itself; `counterfactual` is x_c, both (N, 1, H, W) on the
    16-bit grid; tau (N, 1, H, W) the layer between them at strength 1."""

    reference: Tensor
    counterfactual: Tensor
    tau: Tensor


def read_part(generator: Generator, batch: Batch, p: Tensor) -> Part:
    """Every sample of a batch, taken apart into layer and structure; p (N,)."""
    found = disentangle(generator, batch.images, batch.lungs)
    return Part(batch, torch.arange(len(batch)), found.image, batch.lungs, found.layer, found.structure, p)


def from_patients(setup: Setup, part: Part) -> Change:
    """Each image under the layer of a real patient, at strength 1; all need a donor (`Part.with_donors`)."""
    return under(part, setup.donors.moved([part.batch.records[i] for i in part.rows], part.lungs))


def from_prior(setup: Setup, part: Part) -> Change:
    """Each image under a layer of the prior, drawn by patient, at strength 1."""
    return under(part, prior_layers(setup.generator, part, setup.label, setup.seed))


def under(part: Part, tau: Tensor) -> Change:
    """Each image under a layer (N, 1, H, W), at strength 1."""
    return Change(part.images, laid(part.images, tau), tau)


def healed(part: Part) -> Change:
    """Each image with what was read on it taken off."""
    return Change(part.images, quantize16(part.structure), part.layer)


@torch.no_grad()
def prior_layers(generator: Generator, part: Part, label: str, seed: int) -> Tensor:
    """A layer (N, 1, H, W) of the prior for each image, which follows from the patient's name."""
    drawn = [generator.prior(1, torch.Generator().manual_seed(seed_of(name, seed)), label) for name in part.patients]
    return generator.layer(torch.cat(drawn).to(part.images), part.lungs) if drawn else torch.zeros_like(part.lungs)
