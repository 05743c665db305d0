"""Drawing sources, making positives of them, keeping what passes: synthetic images of one class for a training split."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gan_explain.augment.makers import Maker
from gan_explain.augment.quality import Duplicates, Rule, contrast_of, tally
from gan_explain.data import Dataset, belongs
from gan_explain.data.manifest import is_synthetic
from gan_explain.targets import device_of
from gan_explain.types import Brief, DataError, Record, Segmenter, Target

logger = logging.getLogger(__name__)
BATCH = 32  # images made at once
TRIES = 6  # images made for each one asked for, at most


@dataclass(frozen=True, repr=False)
class Synthetic(Brief):
    """One synthetic positive: image (1, H, W) on the 8-bit grid, its source, lambda, and the record whose layer it wears."""

    image: Tensor
    lungs: Tensor
    source: Record
    strength: float
    generator: str
    seed: int
    donor: Record | None = None


@dataclass(frozen=True)
class Synthesis:
    """What was kept, how many were asked for and made, why others were dropped, and the distance of a near copy."""

    images: tuple[Synthetic, ...]
    asked: int
    made: int
    dropped: dict[str, int] = field(default_factory=dict)
    threshold: float = 0.0


def sides(dataset: Dataset, positive: Sequence[str]) -> tuple[list[int], list[int]]:
    """Indices of real negatives and positives of a training split.

    DataError where there are none of either, or where a record is not of the training split: synthetic images of held-out
    patients would leak them.
    """
    foreign = [record for record in dataset.records if record.split != "train"]
    if foreign:
        at = f"{foreign[0].path} of {foreign[0].split}"
        raise DataError(f"{dataset.root}: synthetic images are made of the training split only; expected no other, got {at}")
    real = [i for i, record in enumerate(dataset.records) if not is_synthetic(record)]
    positives = [i for i in real if belongs(dataset.records[i].label, positive)]
    negatives = [i for i in real if not belongs(dataset.records[i].label, positive)]
    for name, found in (("+".join(positive), positives), ("negative", negatives)):
        if not found:
            raise DataError(f"{dataset.root}: expected {name} images in the training split, found none")
    return negatives, positives


def shortfall(dataset: Dataset, positive: Sequence[str]) -> int:
    """How many positives the training split lacks to have as many as negatives; 0 where it lacks none."""
    negatives, positives = sides(dataset, positive)
    return max(0, len(negatives) - len(positives))


@torch.no_grad()
def synthesise(
    dataset: Dataset,
    maker: Maker,
    count: int,
    *,
    positive: Sequence[str] = ("covid",),
    judge: Target | None = None,
    segmenter: Segmenter,
    least_dice: float = 0.9,
    seed: int = 0,
) -> Synthesis:
    """Make up to `count` positives of a training split; sources are drawn in rounds, each once before any comes again.

    At most 6 are made for each one asked for: what is then missing is missing (the rule says why). The same seed gives the same
    images. DataError for records outside the training split, for a class without images, and where nothing passed.
    """
    negatives, positives = sides(dataset, positive)
    batch = dataset.batch(positives)
    duplicates = Duplicates(batch.images, batch.patients)
    rule = Rule(judge, segmenter, contrast_of(batch.images), least_dice)
    pool = negatives if maker.sources == "negatives" else positives
    random, device = torch.Generator().manual_seed(seed), device_of(segmenter)
    kept: list[Synthetic] = []
    faults: list[str] = []
    queue: list[int] = []
    while len(kept) < count and len(faults) < TRIES * count:
        if not queue:
            queue = [pool[i] for i in torch.randperm(len(pool), generator=random).tolist()]
        size = min(BATCH, TRIES * count - len(faults))
        chosen, queue = queue[:size], queue[size:]
        sources = dataset.batch(chosen)
        images = sources.images.to(device)
        lungs = segmenter(images).to(images)
        result = maker(images, lungs, random)
        written = (result.images * 255).round() / 255  # what is checked is what is written
        for i, fault in enumerate(rule.faults(written, images, lungs)):
            if len(kept) == count:
                break
            fault = fault or duplicates(written[i : i + 1].cpu())
            faults.append(fault)
            if fault:
                continue
            donor = int(result.donors[i])
            worn = batch.records[donor] if donor >= 0 else None
            image, strength = written[i].cpu(), float(result.strengths[i])
            kept.append(Synthetic(image, lungs[i].cpu(), sources.records[i], strength, maker.name, seed, worn))
    dropped = tally(faults)
    if count and not kept:
        raise DataError(f"{dataset.root}: none of {len(faults)} synthetic images passed the rule: {dropped}")
    if len(kept) < count:
        logger.warning("kept %d of %d images asked for, of %d made: %s", len(kept), count, len(faults), dropped)
    return Synthesis(tuple(kept), count, len(faults), dropped, duplicates.threshold)
