"""How a synthetic positive is made of a source image: by a CycleGAN's translation, or by a layer of the disentangling generator.

    cyclegan   x_c = x + lambda (G(x) - x)               of a negative x             (Zhu et al., ICCV 2017, arXiv 1703.10593)
    gan        1 - x_c = (1 - S) exp(-lambda tau)        S = x of a negative, or the structure under a positive's own layer
                                                         (nets/generator.py; arXiv 2111.00116, arXiv 2204.05376)

tau is the layer that was read on another patient, moved lung to lung, or one of the prior. A translation changes everything that
tells the classes apart, the look of the positives' hospital too. A layer changes the lungs only: on a negative it says that haze
counts whatever the rest of the image looks like; on a healed positive it recombines the anatomy of one patient with the opacities
of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gan_explain.counterfactual.disentangle import disentangle, laid
from gan_explain.counterfactual.translate import Translator
from gan_explain.lungs import opacity_load
from gan_explain.types import Brief, Generator

LEAST_LOAD = 0.02  # mean thickness over the lungs from which a positive is worth taking a layer from


@dataclass(frozen=True, repr=False)
class Made(Brief):
    """images (N, 1, H, W) in [0, 1]; strengths (N,); donors (N,): index of the positive whose layer was used, -1 for none."""

    images: Tensor
    strengths: Tensor
    donors: Tensor


class Maker(Protocol):
    """Makes positives of sources. `name` goes into the manifest; `sources` says which images it starts from."""

    name: str
    sources: str  # "negatives" or "positives"

    def __call__(self, images: Tensor, lungs: Tensor, random: torch.Generator) -> Made:
        """images and lungs (N, 1, H, W) -> as many positives; every random number comes from `random`."""
        ...


def draw_strengths(n: int, span: Sequence[float], random: torch.Generator) -> Tensor:
    """(n,) uniform in span (low, high)."""
    return span[0] + (span[1] - span[0]) * torch.rand(n, generator=random)


class CycleMaker:
    """A CycleGAN's translation of negatives, at a strength of its difference."""

    name, sources = "cyclegan", "negatives"
    span = (0.8, 1.0)  # of lambda, uniform

    def __init__(self, network: Translator, strengths: Sequence[float] = span) -> None:
        self.network, self.strengths = network, tuple(strengths)

    @torch.no_grad()
    def __call__(self, images: Tensor, lungs: Tensor, random: torch.Generator) -> Made:
        strengths = draw_strengths(len(images), self.strengths, random)
        difference = self.network.to_positive(images) - images
        made = (images + strengths.view(-1, 1, 1, 1).to(images) * difference).clamp(0, 1)
        return Made(made, strengths, torch.full((len(images),), -1))


class LayerMaker:
    """A layer of the disentangling generator on a negative, or on a healed positive.

    A share `prior` of the layers is drawn from the generator's prior for `label`; the others are those read on `donors` (images,
    lungs (D, 1, H, W)), moved lung to lung, at the thickness found there. Donors on which next to nothing is read are not used;
    without any that can be, all are of the prior. ValueError for other sources.
    """

    name = "gan"
    span = (0.75, 1.25)  # of lambda, uniform

    def __init__(
        self,
        generator: Generator,
        sources: str = "negatives",
        *,
        label: str = "covid",
        strengths: Sequence[float] = span,
        donors: tuple[Tensor, Tensor] | None = None,
        prior: float = 0.5,
    ) -> None:
        if sources not in ("negatives", "positives"):
            raise ValueError(f"expected sources negatives or positives, got {sources!r}")
        self.generator, self.sources, self.label, self.strengths = generator, sources, label, tuple(strengths)
        self.places: list[int] = []
        if donors is not None:
            parts = zip(*(each.split(32) for each in donors), strict=True)
            self.tau, self.lungs = torch.cat([disentangle(generator, *part).layer for part in parts]), donors[1]
            self.places = torch.nonzero(opacity_load(self.tau, self.lungs) >= LEAST_LOAD).flatten().tolist()
        self.prior = prior if self.places else 1.0

    @torch.no_grad()
    def __call__(self, images: Tensor, lungs: Tensor, random: torch.Generator) -> Made:
        n = len(images)
        strengths = draw_strengths(n, self.strengths, random)
        tau, donors = self.generator.layer(self.generator.prior(n, random, self.label).to(images), lungs), torch.full((n,), -1)
        drawn = torch.rand(n, generator=random) < self.prior
        if not bool(drawn.all()):
            chosen = torch.tensor(self.places)[torch.randint(len(self.places), (n,), generator=random)]
            donors = torch.where(drawn, donors, chosen)
            moved = self.generator.move(self.tau[chosen], self.lungs[chosen], lungs)
            tau = torch.where(drawn.view(-1, 1, 1, 1).to(tau.device), tau, moved)
        structure = images if self.sources == "negatives" else disentangle(self.generator, images, lungs).structure
        return Made(laid(structure, tau, strengths.view(-1, 1, 1, 1).to(images)), strengths, donors)
