"""What a generator reads where the truth is known: rendered disease, lesions, severity."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from gan_explain.labels import COVID, NORMAL, PNEUMONIA, coarse
from gan_explain.lungs import opacity_load
from gan_explain.metrics.change import Columns, Part, laid
from gan_explain.metrics.inputs import seed_of
from gan_explain.metrics.opacity_probe import veils
from gan_explain.metrics.pointing import pointing_game
from gan_explain.metrics.registry import READER, Entry, Key, register
from gan_explain.metrics.second_renderer import patterns
from gan_explain.types import Generator, Record

RENDERERS: Mapping[str, Callable[[Tensor, Sequence[str]], Tensor]] = {"veils": veils, "patterns": patterns}
LIGHTEST, DENSEST = 0.25, 2.0  # doses of what is rendered
CORE = 0.5  # share of its own maximum above which a layer counts as its top area
LEAST_LOAD = 0.03  # mean tau over the lungs below which a layer counts as none
SICK = (COVID, PNEUMONIA)

register(
    Entry("load", "mean optical thickness read in the lungs", READER, raw=True),
    Entry("severity", "severity by experts", READER, raw=True),
    Entry("severity.load", "Spearman ρ of the load and the severity by experts", READER, better="higher"),
    Entry("severity.p", "Spearman ρ of p and the severity by experts", READER, better="higher"),
    Entry("pointing.lesion", "the densest place that is read lies in the lesion", READER, better="higher"),
    Entry("reader.auroc", "AUROC of the load within a source", READER, better="higher"),
    Entry("reader.rho", "Spearman ρ of the load read and the load rendered", READER, better="higher"),
    Entry("reader.slope", "slope of the load read over the load rendered", READER),
    Entry("reader.pixel", "correlation of the layer read with the layer rendered", READER, better="higher"),
    Entry("reader.pointing", "the densest place that is read was rendered dense", READER, better="higher"),
    Entry("reader.planted", "load rendered", READER, raw=True),
    Entry("reader.read", "load read of what was rendered", READER, raw=True),
)


def is_healthy(record: Record) -> bool:
    return coarse(record.label) == NORMAL


@torch.no_grad()
def rendered(generator: Generator, part: Part, seed: int) -> Columns:
    """What is read of disease of known thickness, a random dose of each of RENDERERS laid over each image (N).

    planted and read: loads; pixel: correlation of both maps inside the lungs (NaN where one is flat); pointing: whether the
    densest place that is read is one of the densest that were planted.
    """
    columns: Columns = {}
    for name, render in RENDERERS.items():
        tau = _doses(part, f"{name} dose", seed) * render(part.lungs, part.patients).to(part.images)
        read = generator.read(laid(part.images, tau), part.lungs)
        core = (tau >= CORE * tau.amax((2, 3), keepdim=True)) & (tau > 0)
        found = {
            "reader.planted": opacity_load(tau, part.lungs),
            "reader.read": opacity_load(read, part.lungs),
            "reader.pixel": _correlation(tau, read, part.lungs),
            "reader.pointing": hits(read, core.to(tau)),
        }
        columns |= {str(Key(what, name)): values for what, values in found.items()}
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
