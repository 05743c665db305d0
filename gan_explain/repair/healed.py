"""Which healed positives may be taught as normal: next to nothing is left on them, and a judge of their own source agrees.

The judge (`evaluate.within_source`) had no part in training the generator or the target. A source without one, for want of normal
images or of the [pretrained] extra, gives no healed images.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from gan_explain.counterfactual.disentangle import disentangle
from gan_explain.data import Dataset
from gan_explain.evaluate.within_source import Features, Judge, Pyramid, judge_of, part, usable_sources
from gan_explain.lungs import opacity_load
from gan_explain.pixels import quantize16
from gan_explain.repair.material import CHUNK
from gan_explain.repair.options import Making
from gan_explain.targets import device_of
from gan_explain.train.masks import Batches
from gan_explain.types import CheckpointError, DataError, Generator

logger = logging.getLogger(__name__)
LITTLE, REMAINS, DISEASED = "little was read on it", "too much is left on it", "the judge of its source calls it diseased"
JUDGED = ("train", "val")


@dataclass(frozen=True)
class Healed:
    """places: of the positives that may be used, among the training images; refused: how many were not, by reason."""

    places: tuple[int, ...] = ()
    refused: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Judges:
    """A judge by source, the features that they read, and why a source has none."""

    of: Mapping[str, Judge] = field(default_factory=dict)
    features: Features | None = None
    missing: str = "its source has too few normal or diseased images for a judge"


def judges_of(dataset: Dataset, positive: Sequence[str], device: torch.device) -> Judges:
    """The judges of the sources that have both classes in train and in val."""
    try:
        sources = usable_sources(dataset, positive, splits=JUDGED)
    except DataError:
        return Judges()
    try:
        features = Pyramid()
    except CheckpointError as error:
        logger.warning("no healed images: %s", error)
        return Judges(missing=f"no judge: {error}")
    found = {}
    for source in sources:
        train, val = (part(dataset, source, split, positive) for split in JUDGED)
        found[source] = judge_of(train, val, features, positive, device)
    return Judges(found, features)


@torch.no_grad()
def healable(train: Batches, places: Sequence[int], generator: Generator, judges: Judges, making: Making) -> Healed:
    """Of the positives at `places` those that may be taught as normal when healed."""
    refused: Counter[str] = Counter()
    kept: list[int] = []
    there = [i for i in places if train.records[i].source in judges.of]
    refused[judges.missing] = len(places) - len(there)
    for start in range(0, len(there), CHUNK):
        some = there[start : start + CHUNK]
        batch, device = train.batch(some), device_of(generator)
        images, lungs = batch.images.to(device), batch.lungs.to(device)
        apart = disentangle(generator, images, lungs)
        healed = quantize16(apart.structure)
        before, left = (opacity_load(tau, lungs).nan_to_num() for tau in (apart.layer, generator.read(healed, lungs)))
        assert judges.features is not None
        features = judges.features(healed)
        for row, i in enumerate(some):
            judge = judges.of[train.records[i].source]
            if float(before[row]) < making.least_load:
                refused[LITTLE] += 1
            elif float(left[row]) > min(making.left, making.left_share * float(before[row])):
                refused[REMAINS] += 1
            elif judge.probability(features[row : row + 1])[0] >= judge.threshold:
                refused[DISEASED] += 1
            else:
                kept.append(i)
    return Healed(tuple(kept), {reason: count for reason, count in refused.items() if count})
