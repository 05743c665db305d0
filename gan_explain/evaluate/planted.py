"""Measures against a known cause: what the target makes of rendered opacities, and what is read where the truth is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan_explain.counterfactual.disentangle import laid
from gan_explain.evaluate.inputs import seed_of
from gan_explain.evaluate.setup import Part, Setup
from gan_explain.labels import COVID, NORMAL, PNEUMONIA, coarse
from gan_explain.lungs import opacity_load
from gan_explain.metrics.opacity_probe import DOSES, opacity_probe, rises, slopes, veils
from gan_explain.metrics.pointing import pointing_game
from gan_explain.metrics.second_renderer import patterns
from gan_explain.types import Generator, Record

Columns = dict[str, Tensor]
RENDERERS: Mapping[str, Callable[[Tensor, Sequence[str]], Tensor]] = {"veils": veils, "patterns": patterns}
LIGHTEST, DENSEST = 0.25, 2.0  # doses of what is rendered
CORE = 0.5  # share of its own maximum above which a layer counts as its top area
SICK = (COVID, PNEUMONIA)


def is_healthy(record: Record) -> bool:
    return coarse(record.label) == NORMAL


@torch.no_grad()
def rendered(generator: Generator, part: Part, seed: int) -> Columns:
    """What is read of disease of known thickness, a random dose of each of RENDERERS laid over each image (N).

    reader.R.planted and reader.R.read: loads; reader.R.pixel: correlation of both maps inside the lungs (NaN where one is flat);
    reader.R.pointing: whether the densest place that is read is one of the densest that were planted.
    """
    columns: Columns = {}
    for name, render in RENDERERS.items():
        tau = _doses(part, f"{name} dose", seed) * render(part.lungs, part.patients).to(part.images)
        found = generator.read(laid(part.images, tau), part.lungs)
        core = (tau >= CORE * tau.amax((2, 3), keepdim=True)) & (tau > 0)
        columns |= {
            f"reader.{name}.planted": opacity_load(tau, part.lungs),
            f"reader.{name}.read": opacity_load(found, part.lungs),
            f"reader.{name}.pixel": _correlation(tau, found, part.lungs),
            f"reader.{name}.pointing": hits(found, core.to(tau)),
        }
    return columns


def _correlation(a: Tensor, b: Tensor, lungs: Tensor) -> Tensor:
    """Pearson's correlation of maps (N, 1, H, W) over the pixels of the lungs: (N,), NaN where one of them is flat there."""
    area = lungs.flatten(1).sum(1).clamp(min=1)
    weight = lungs.flatten(1)

    def centred(x: Tensor) -> Tensor:
        flat = x.flatten(1)
        return (flat - ((flat * weight).sum(1) / area)[:, None]) * weight

    x, y = centred(a), centred(b)
    length = x.norm(dim=1) * y.norm(dim=1)
    return torch.where(length > 1e-9, (x * y).sum(1) / length.clamp(min=1e-9), torch.nan)


def answers_to_doses(setup: Setup, part: Part) -> NDArray[np.float64]:
    """p (N, D) under veils rendered at DOSES; no generator takes part."""
    return opacity_probe(setup.target, part.images, part.lungs, part.patients, DOSES)


def dosed(p: NDArray[np.float64]) -> Columns:
    """opacity_probe.*: whether, and how steeply, p (N, D) rises with the dose."""
    return {
        "opacity_probe.rises": torch.from_numpy(rises(p, DOSES)),
        "opacity_probe.slope": torch.from_numpy(slopes(p, DOSES)),
    }


def _doses(part: Part, purpose: str, seed: int) -> Tensor:
    drawn = [np.random.default_rng([1, seed_of(f"{name} {purpose}", seed)]).uniform(LIGHTEST, DENSEST) for name in part.patients]
    return torch.tensor(drawn, dtype=torch.float32, device=part.images.device).view(-1, 1, 1, 1)


def hits(heat: Tensor, mask: Tensor) -> Tensor:
    """The pointing game of heat maps (N, 1, H, W) on masks (N, 1, H, W) -> (N,) in {0, 1}; NaN where the mask is empty."""
    hit = pointing_game(heat, mask).float().cpu()
    return torch.where(mask.flatten(1).sum(1).cpu() > 0, hit, torch.nan)


def read_off(part: Part) -> Columns:
    """What the reader finds on every image: load; severity and pointing.lesion where the dataset knows them."""
    columns = {"load": opacity_load(part.layer, part.lungs)}
    if part.batch.severity is not None:
        columns["severity"] = part.batch.severity[part.rows]
    if part.batch.lesion is not None:
        columns["pointing.lesion"] = hits(part.layer, part.batch.lesion[part.rows].to(part.images))
    return columns
