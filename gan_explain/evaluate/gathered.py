"""What is kept of samples while they stream by: numbers, curves, features and a few pictures; never their images."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from gan_explain.evaluate.features import Features
from gan_explain.evaluate.layers import LayerSets
from gan_explain.evaluate.samples import Sample

Curves = dict[str, dict[int, tuple[float, ...]]]  # by name of the curve, then by the image's place in the dataset


@dataclass(frozen=True, eq=False)
class Picture:
    """One sample that can be shown again at any strength.

    `row` is its place among the samples; `way` is "negative" (structure is the image itself) or "healed" (the layer taken off);
    `structure` (H, W) in [0, 1], `layer` (H, W) tau at strength 1, signed where the generator also darkens; `probability` at each
    strength of the way's curve, `p` of the input itself.
    """

    id: str
    way: str
    row: int
    structure: NDArray[np.float32]
    layer: NDArray[np.float32]
    probability: Sequence[float | None]
    p: float | None


@dataclass
class Gathered:
    """Samples; curves; features of each batch, by the place of its first image; layers of patients and of the prior; at most
    about `show` pictures."""

    samples: list[Sample] = field(default_factory=list)
    curves: Curves = field(default_factory=dict)
    features: dict[int, Features] = field(default_factory=dict)
    layers: LayerSets = field(default_factory=LayerSets)
    pictures: list[Picture] = field(default_factory=list)
    show: int = 0

    def add(self, other: Gathered) -> None:
        """Take in what was kept of others, a batch or a shard."""
        self.samples += other.samples
        for name, values in other.curves.items():
            self.curves.setdefault(name, {}).update(values)
        self.features.update(other.features)
        self.layers.add(other.layers)
        self.pictures += other.pictures
        if len(self.pictures) > 2 * self.show + 64:  # now and then, so that memory stays bounded
            self.pictures = picked(self.pictures, self.show)

    def ordered(self) -> Gathered:
        """The same in the order of the dataset, with the pictures that are to be shown."""
        return replace(
            self,
            samples=sorted(self.samples, key=lambda sample: sample.place),
            curves={name: dict(sorted(self.curves[name].items())) for name in sorted(self.curves)},
            features=dict(sorted(self.features.items())),
            pictures=picked(self.pictures, self.show),
        )

    def pooled(self) -> Features:
        """The features of all batches, in the order of the dataset."""
        total = Features()
        for each in self.features.values():
            for name, parts in each.sets.items():
                total.sets.setdefault(name, []).extend(parts)
            for name, parts in each.layers.items():
                total.layers.setdefault(name, []).extend(parts)
        return total


def picked(pictures: Iterable[Picture], show: int) -> list[Picture]:
    """At most `show` of them: half are those that respond least, of either way; half are drawn by name. In the dataset's order.

    What is picked from a set is picked from any part of it too, so that shards agree with the whole.
    """
    every = sorted(pictures, key=_worst)
    worst, rest = every[: (show + 1) // 2], every[(show + 1) // 2 :]
    return sorted([*worst, *sorted(rest, key=_drawn)[: show // 2]], key=lambda picture: (picture.row, picture.way))


def _worst(picture: Picture) -> tuple[float, int, str]:
    """Least rise of p first."""
    first, last = picture.probability[0], picture.probability[-1]
    rise = last - first if first is not None and last is not None else -math.inf
    return rise, picture.row, picture.way


def _drawn(picture: Picture) -> str:
    return hashlib.sha256(f"{picture.row} {picture.way}".encode()).hexdigest()
