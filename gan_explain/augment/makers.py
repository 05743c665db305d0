"""How a synthetic positive is made of a source image: by a CycleGAN's translation, or by a layer of the disentangling generator.

    cyclegan   x_c = x + lambda (G(x) - x)                       of a negative x        (Zhu et al., ICCV 2017, arXiv 1703.10593)
    gan        1 - x_c = (1 - S) exp(-lambda tau(S, c / |c|))    S = x of a negative, or what removal leaves of a positive
                                                                 (nets/generator.py; arXiv 2111.00116, arXiv 2204.05376)

A translation changes everything that tells the classes apart, the look of the positives' hospital too. A layer changes the lungs
only: on a negative it says that haze counts whatever the rest of the image looks like; on a healed positive it recombines the
anatomy of one patient with the opacities of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gan_explain.nets.generator import unit_strength
from gan_explain.optics import compose
from gan_explain.types import Generator


@dataclass(frozen=True)
class Made:
    """images (N, 1, H, W) in [0, 1]; strengths (N,); donors (N,): index of the positive whose code was used, -1 for the prior."""

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


class Translator(Protocol):
    def to_positive(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, 1, H, W), both in [0, 1]."""
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

    Codes are the prior's directions and, where `donors` (images, lungs) of positives are given, half of them those read from a
    donor, at the donor's own place in the code space but of strength 1 (Disentangler.prior has that strength too).
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
    ) -> None:
        if sources not in ("negatives", "positives"):
            raise ValueError(f"expected sources negatives or positives, got {sources!r}")
        self.generator, self.sources, self.label, self.strengths = generator, sources, label, tuple(strengths)
        with torch.no_grad():
            self.codes = None if donors is None else unit_strength(generator.encode(*donors))

    @torch.no_grad()
    def __call__(self, images: Tensor, lungs: Tensor, random: torch.Generator) -> Made:
        n = len(images)
        strengths = draw_strengths(n, self.strengths, random)
        codes, donors = self.generator.prior(n, random, self.label).to(images), torch.full((n,), -1)
        if self.codes is not None:
            chosen = torch.randint(len(self.codes), (n,), generator=random)
            donors = torch.where(torch.rand(n, generator=random) < 0.5, chosen, donors)
            codes = torch.where((donors >= 0)[:, None].to(images.device), self.codes[chosen], codes)
        structure = images if self.sources == "negatives" else self.generator.remove(images, lungs).structure
        tau = self.generator.layer(structure, codes, lungs)
        return Made(compose(structure, tau, strengths.view(-1, 1, 1, 1).to(images)).clamp(0, 1), strengths, donors)
