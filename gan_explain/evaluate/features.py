"""Realism of sets of images, from features kept of each image: beside every distance the real-against-real floor."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gan_explain.metrics.change import Extractor
from gan_explain.metrics.diversity import placement_entropy
from gan_explain.metrics.measure import Measure
from gan_explain.metrics.realism import PAIRS, Distance, ImageNet, Penultimate, coverage, density, frechet, kid, real_floor
from gan_explain.metrics.registry import Key
from gan_explain.pixels import resize
from gan_explain.targets import ModuleTarget
from gan_explain.types import CheckpointError, Target

logger = logging.getLogger(__name__)

DISTANCES: dict[str, Distance] = {
    "kid": kid,
    "frechet": frechet,
    "density": density,
    "coverage": coverage,
}  # of made to real ones
FEWEST = 10  # images that a set must have


@dataclass
class Features:
    """Features by name of the set, and layers, on the CPU: a few kB an image."""

    sets: dict[str, list[Tensor]] = field(default_factory=dict)
    layers: dict[str, list[Tensor]] = field(default_factory=dict)

    @torch.no_grad()
    def add(self, extractor: Extractor | None, name: str, images: Tensor, lungs: Tensor) -> None:
        """Keep the features of images (n, 1, H, W) under `name`; nothing without an extractor or images."""
        if extractor is not None and len(images):
            self.sets.setdefault(name, []).append(extractor(images, lungs).flatten(1).float().cpu())

    def add_layer(self, name: str, tau: Tensor, lungs: Tensor) -> None:
        """Keep layers and lungs (n, 1, H, W) at 64 x 64 pixels."""
        self.layers.setdefault(name, []).append(resize(torch.cat([tau, lungs], 1), 64).half().cpu())

    def placement(self, name: str) -> Measure:
        """How widely the layers kept under `name` are spread over the lungs: entropy in [0, 1]."""
        if name not in self.layers:
            return Measure.missing("there are no such layers")
        tau, lungs = self.maps(name)
        value = placement_entropy(tau, lungs)
        return Measure(value, n=len(tau)) if math.isfinite(value) else Measure.missing("there are no layers in lungs")

    def maps(self, name: str) -> tuple[Tensor, Tensor]:
        """The layers and the lungs kept under `name`: (N, 1, 64, 64) each."""
        kept = torch.cat(self.layers[name]).float() if name in self.layers else torch.empty(0, 2, 64, 64)
        return kept[:, :1], (kept[:, 1:] > 0.5).float()

    def of(self, name: str) -> Tensor:
        return torch.cat(self.sets[name]) if name in self.sets else torch.empty(0, 0)


def judge_features(judges: Mapping[str, Target]) -> Extractor | None:
    """Features of the first judge that is one of our adapters: a network of the field that is not the one under explanation."""
    for name, judge in judges.items():
        if isinstance(judge, ModuleTarget):
            return Penultimate(judge, name)
    return None


def usual_features(judges: Mapping[str, Target]) -> Extractor | None:
    """Features of a network that was trained on no radiographs, or, where its weights are not installed, of the first judge."""
    try:
        return ImageNet()
    except CheckpointError as error:
        logger.warning("%s: realism is measured in the features of a judge", error)
        return judge_features(judges)


def extractor_name(extractor: Extractor) -> str:
    return str(getattr(extractor, "name", type(extractor).__name__))


def realism(features: Features, extractor: str, seed: int) -> dict[str, Measure]:
    """kid, frechet, density and coverage of generated to real images, in the features that an extractor of this name gave, for
    the pairs of which there are images; .floor: the same of as many real images to as many others."""
    measures: dict[str, Measure] = {}
    for pair, names in PAIRS.items():
        made, real = (features.of(name) for name in names)
        n = min(len(made), len(real) // 2)
        if n < FEWEST:
            if len(made):
                few = f"needs {FEWEST} images and {2 * FEWEST} real ones, got {len(made)} and {len(real)}"
                measures[str(Key("kid", extractor, pair))] = Measure.missing(few)
            continue
        random = torch.Generator().manual_seed(seed)
        first, second = (part[torch.randperm(len(part), generator=random)[:n]] for part in (made, real))
        for kind, distance in DISTANCES.items():
            measures[str(Key(kind, extractor, pair))] = Measure(distance(first, second), n=n)
            measures[str(Key(kind, extractor, f"{pair}.floor"))] = Measure(real_floor(real, n, distance, seed), n=n)
    return measures
