"""Choosing a pathology code: from the prior, from a reference radiograph, or the least of it that crosses the operating point."""

from __future__ import annotations

import torch
from torch import Tensor

from gan_explain.latent.traverse import positive_probability, respond
from gan_explain.optics import compose
from gan_explain.types import Generator, Target


def prior_code(generator: Generator, seed: int, label: str = "covid") -> Tensor:
    """One code (1, d) of strength 1, distributed like those of `label` images."""
    return generator.prior(1, torch.Generator().manual_seed(seed), label)


@torch.no_grad()
def reference_code(generator: Generator, image: Tensor, lungs: Tensor) -> Tensor:
    """The code (1, d) read from a reference radiograph (1, 1, H, W), at the strength found there."""
    return generator.encode(image, lungs)


@torch.no_grad()
def minimal_code(
    generator: Generator,
    target: Target,
    structure: Tensor,
    lungs: Tensor,
    seed: int = 0,
    candidates: int = 16,
    most: float = 3.0,
    bisections: int = 12,
    label: str = "covid",
) -> Tensor | None:
    """The code (1, d) whose layer crosses p* with the smallest opacity load among prior draws, scaled so that strength 1 is the
    first crossing found (by bisection, to most / 2^bisections); None when no candidate crosses up to strength `most`."""
    codes = generator.prior(candidates, torch.Generator().manual_seed(seed), label)
    many = [t.expand(candidates, -1, -1, -1) for t in (structure, lungs)]
    tau = generator.layer(many[0], codes, many[1])

    def crossed(strength: Tensor) -> Tensor:
        frames = compose(many[0], tau, strength.view(-1, 1, 1, 1))
        return positive_probability(target, respond(target, frames, lungs)) >= target.operating_point

    high = torch.full((candidates,), most, device=structure.device)
    low = torch.zeros_like(high)
    reached = crossed(high)
    if not bool(reached.any()):
        return None
    for _ in range(bisections):
        middle = (low + high) / 2
        above = crossed(middle)
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    load = (tau.abs() * lungs).sum((1, 2, 3)) * high
    best = int(torch.where(reached, load, torch.inf).argmin())
    return codes[best : best + 1] * high[best]
