"""Measures against a known cause: opacities rendered into negatives, and what a dataset says of lesions and severity."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan_explain.evaluate.inputs import seed_of
from gan_explain.evaluate.samples import Columns
from gan_explain.evaluate.setup import Part, Setup
from gan_explain.image import quantize16
from gan_explain.metrics.opacity_probe import DOSES, opacity_probe, rises, slopes, veils
from gan_explain.metrics.pointing import pointing_game
from gan_explain.metrics.severity import opacity_load
from gan_explain.optics import compose

LIGHTEST, DENSEST = 0.25, 2.0  # doses of rendered veils
CORE = 0.5  # share of its own maximum above which a veil counts as its top area


@torch.no_grad()
def rendered(setup: Setup, part: Part) -> Columns:
    """veils.planted, veils.recovered (opacity loads) and veils.pointing: a veil of random dose is laid over each image; where and
    how dense does the removal network find it?"""
    thickness = _doses(setup, part) * veils(part.lungs, part.patients).to(part.images)
    found = setup.generator.remove(quantize16(compose(part.images, thickness)), part.lungs)
    core = (thickness >= CORE * thickness.amax((2, 3), keepdim=True)) & (thickness > 0)
    return {
        "veils.planted": opacity_load(thickness, part.lungs),
        "veils.recovered": opacity_load(found.tau, part.lungs),
        "veils.pointing": hits(found.tau, core.to(thickness)),
    }


def answers_to_doses(setup: Setup, part: Part) -> NDArray[np.float64]:
    """p (N, D) under veils rendered at DOSES; no generator takes part."""
    return opacity_probe(setup.target, part.images, part.lungs, part.patients, DOSES)


def dosed(p: NDArray[np.float64]) -> Columns:
    """opacity_probe.*: whether, and how steeply, p (N, D) rises with the dose."""
    return {
        "opacity_probe.rises": torch.from_numpy(rises(p, DOSES)),
        "opacity_probe.slope": torch.from_numpy(slopes(p, DOSES)),
    }


def _doses(setup: Setup, part: Part) -> Tensor:
    drawn = [np.random.default_rng([1, seed_of(name, setup.seed)]).uniform(LIGHTEST, DENSEST) for name in part.patients]
    return torch.tensor(drawn, dtype=torch.float32, device=part.images.device).view(-1, 1, 1, 1)


def hits(heat: Tensor, mask: Tensor) -> Tensor:
    """The pointing game of heat maps (N, 1, H, W) on masks (N, 1, H, W) -> (N,) in {0, 1}; NaN where the mask is empty."""
    hit = pointing_game(heat, mask).float().cpu()
    return torch.where(mask.flatten(1).sum(1).cpu() > 0, hit, torch.nan)


def read_off(part: Part) -> Columns:
    """What the removal network reads in every image: load.removed, strength |c| / sqrt(d); severity and pointing.lesion where the
    dataset knows them."""
    columns = {
        "load.removed": opacity_load(part.removal.tau, part.lungs),
        "strength": part.code.square().mean(1).sqrt(),
    }
    if part.batch.severity is not None:
        columns["severity"] = part.batch.severity[part.rows]
    if part.batch.lesion is not None:
        columns["pointing.lesion"] = hits(part.removal.tau, part.batch.lesion[part.rows].to(part.images))
    return columns
