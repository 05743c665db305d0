"""Where the pathology comes from: the radiograph itself, another patient, the prior, or a search.

own         what was read on this radiograph
from:IMAGE  the layer of another patient, moved lung to lung
prior       drawn from z2 as in images of a label
minimal     of many draws, the least load that crosses the operating point
steered     a code inside the prior that the target answers to most: an adversary, though one that draws disease
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gan_explain.counterfactual.disentangle import Disentangled
from gan_explain.counterfactual.radiograph import Radiograph
from gan_explain.counterfactual.respond import positive_probability, respond
from gan_explain.lungs import opacity_load
from gan_explain.nets.layers import unit_strength
from gan_explain.optics import compose
from gan_explain.types import Brief, Generator, Target

logger = logging.getLogger(__name__)

NOTHING = 0.01  # mean thickness over the lungs below which there is no pathology to speak of
WORKING = 256  # pixels a side on which searches ask the target
STEPS, RATE = 40, 0.15  # of the gradient of `steered`
ROUNDS, KEPT = 8, 8  # of its search where there is no gradient


@dataclass(frozen=True, repr=False)
class Pathology(Brief):
    """A layer tau (1, 1, H, W) at strength 1, where it came from, its code (1, d) where it has one, facts for the record, and
    remarks on what may be wrong with it."""

    kind: str
    layer: Tensor
    code: Tensor | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class PathologyOptions:
    """How to choose: seed, label of the prior, draws to choose among, and another patient's radiograph."""

    seed: int = 0
    label: str = "covid"
    candidates: int = 16
    reference: Radiograph | None = None


def check_kind(kind: str) -> None:
    """ValueError for what is no name of PATHOLOGIES."""
    if kind not in PATHOLOGIES:
        raise ValueError(f"expected a pathology of {', '.join(PATHOLOGIES)}, got {kind!r}")


def choose(kind: str, generator: Generator, target: Target, apart: Disentangled, options: PathologyOptions) -> Pathology | None:
    """The pathology that `kind` (a name of PATHOLOGIES) gives a radiograph taken apart; None where there is no such layer
    (nothing minimal crosses). ValueError for another name."""
    check_kind(kind)
    return PATHOLOGIES[kind](generator, target, apart, options)


def own(generator: Generator, target: Target, apart: Disentangled, options: PathologyOptions) -> Pathology:
    return Pathology("own", apart.layer, remarks=_little(apart.layer, apart.lungs, "the radiograph"))


@torch.no_grad()
def of_another(generator: Generator, target: Target, apart: Disentangled, options: PathologyOptions) -> Pathology:
    if options.reference is None:
        raise ValueError("expected a radiograph to take the pathology from, got none")
    other = options.reference
    tau = generator.read(other.image, other.lungs)
    moved = generator.move(tau, other.lungs, apart.lungs)
    remarks = _little(tau, other.lungs, "the reference")
    facts = {"reference": other.name, "load": float(opacity_load(tau, other.lungs))}
    return Pathology("from", moved, facts=facts, remarks=remarks)


@torch.no_grad()
def prior(generator: Generator, target: Target, apart: Disentangled, options: PathologyOptions) -> Pathology:
    code = generator.prior(1, torch.Generator().manual_seed(options.seed), options.label).to(apart.structure)
    return Pathology("prior", generator.layer(code, apart.lungs), code)


@torch.no_grad()
def minimal(
    generator: Generator, target: Target, apart: Disentangled, options: PathologyOptions, most: float = 3.0, bisections: int = 12
) -> Pathology | None:
    """Strength 1 is the first crossing found (by bisection, to most / 2^bisections); None when no draw crosses up to `most`."""
    count = options.candidates
    codes = generator.prior(count, torch.Generator().manual_seed(options.seed), options.label).to(apart.structure)
    structure, lungs = _small(apart)
    tau = generator.layer(codes, lungs.expand(count, -1, -1, -1))

    def crossed(strength: Tensor) -> Tensor:
        frames = compose(structure, tau, strength.view(-1, 1, 1, 1))
        return positive_probability(target, respond(target, frames, lungs)) >= target.operating_point

    high = structure.new_full((count,), most)
    low = torch.zeros_like(high)
    reached = crossed(high)
    if not bool(reached.any()):
        return None
    for _ in range(bisections):
        middle = (low + high) / 2
        above = crossed(middle)
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    load = (tau * lungs).sum((1, 2, 3)) * high
    best = int(torch.where(reached, load, torch.inf).argmin())
    code = codes[best : best + 1] * high[best]
    return Pathology("minimal", generator.layer(code, apart.lungs), code)


def steered(generator: Generator, target: Target, apart: Disentangled, options: PathologyOptions) -> Pathology:
    """Starts from the best of the draws and stays in the prior: codes are z = mean + factor e with |e| no longer than a draw's.
    By gradient for targets that have one, else by a cross-entropy search (Rubinstein 1999)."""
    draws = generator.prior_noise(options.candidates, torch.Generator().manual_seed(options.seed)).to(apart.structure)
    structure, lungs = _small(apart)

    def answer(noise: Tensor) -> Tensor:
        codes = generator.from_noise(noise, options.label)
        many = lungs.expand(len(noise), -1, -1, -1)
        frames = compose(structure, generator.layer(codes, many))
        logits = target.logits(frames, many if target.uses_lungs else None).float()
        return positive_probability(target, logits.softmax(1)).clamp(1e-6, 1 - 1e-6).logit()

    find = _by_gradient if target.differentiable else _by_search
    best = find(answer, draws, torch.Generator().manual_seed(options.seed + 1))
    code = generator.from_noise(best, options.label).detach()
    return Pathology("steered", generator.layer(code, apart.lungs).detach(), code)


def _by_gradient(answer: Callable[[Tensor], Tensor], draws: Tensor, random: torch.Generator) -> Tensor:
    with torch.no_grad():
        best = draws[answer(draws).argmax()][None]
        most = float(answer(best))
    current = best.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([current], RATE)
    for _ in range(STEPS):
        found = answer(current)
        if float(found.detach()) > most:
            best, most = current.detach().clone(), float(found.detach())
        optimizer.zero_grad()
        (-found.sum()).backward()
        optimizer.step()
        with torch.no_grad():
            current.copy_(_inside(current))
    return best


@torch.no_grad()
def _by_search(answer: Callable[[Tensor], Tensor], draws: Tensor, random: torch.Generator) -> Tensor:
    found = answer(draws)
    best, most = draws[found.argmax()][None], float(found.max())
    for _ in range(ROUNDS):
        elite = draws[found.topk(min(KEPT, len(draws))).indices]
        spread = elite.std(0, unbiased=False).clamp(min=0.1)
        draws = _inside(elite.mean(0) + spread * torch.randn(draws.shape, generator=random, dtype=torch.float32).to(draws))
        found = answer(draws)
        if float(found.max()) > most:
            best, most = draws[found.argmax()][None], float(found.max())
    return best


def _inside(noise: Tensor) -> Tensor:
    """Noise (n, d) no longer than sqrt(d), the length of a typical draw."""
    length = noise.norm(dim=1, keepdim=True)
    shorter: Tensor = noise * (math.sqrt(noise.shape[1]) / length.clamp(min=1e-6)).clamp(max=1)
    return shorter


def between(codes: tuple[Tensor, Tensor], position: float) -> Tensor:
    """The code (1, d) at a position in [0, 1] on the way from a to b; its strength goes evenly from a's to b's, so that the path
    does not fade in its middle. A zero code is no disease, from or to which the other grows."""
    a, b = codes
    strengths = [each.square().mean(1, keepdim=True).sqrt() for each in codes]
    if float(strengths[0]) == 0 or float(strengths[1]) == 0:
        return (1 - position) * a + position * b
    direction = unit_strength((1 - position) * unit_strength(a) + position * unit_strength(b))
    return direction * ((1 - position) * strengths[0] + position * strengths[1])


def _small(apart: Disentangled) -> tuple[Tensor, Tensor]:
    """Structure and lungs at a size on which searches are cheap, longer side WORKING or less."""
    height, width = apart.structure.shape[-2:]
    scale = min(1.0, WORKING / max(height, width))
    if scale == 1:
        return apart.structure, apart.lungs
    to = [max(1, round(side * scale)) for side in (height, width)]
    structure = torch.nn.functional.interpolate(apart.structure, to, mode="bilinear", antialias=True, align_corners=False)
    return structure, torch.nn.functional.interpolate(apart.lungs, to, mode="nearest-exact")


def _little(tau: Tensor, lungs: Tensor, where: str) -> tuple[str, ...]:
    """A remark, which is logged, where next to nothing was read."""
    if float(opacity_load(tau, lungs)) >= NOTHING:
        return ()
    remark = f"hardly any pathology was found on {where}"
    logger.warning(remark)
    return (remark,)


PATHOLOGIES: Mapping[str, Callable[[Generator, Target, Disentangled, PathologyOptions], Pathology | None]] = {
    "own": own,
    "from": of_another,
    "prior": prior,
    "minimal": minimal,
    "steered": steered,
}
