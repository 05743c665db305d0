"""Judges that had no part in training a generator: for each source a classifier of its diseased against its normal images.

No other scanner can help it: logistic regression on features of the whole image, fitted to the source's training split, penalty
and threshold from its validation split. The features are EfficientNet-Lite0's with its ImageNet weights.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gan_explain.data import Dataset, belongs
from gan_explain.labels import NORMAL
from gan_explain.metrics.inputs import seed_of
from gan_explain.metrics.logistic import Logistic, fit_logistic
from gan_explain.metrics.realism import ImageNet
from gan_explain.pixels import resize
from gan_explain.stats import Floats, best_operating_point
from gan_explain.types import SPLITS, DataError, Record

logger = logging.getLogger(__name__)

FEWEST = 5  # images of each class in each split that a source needs
KINDS = ("normal", "diseased")
Features = Callable[[Tensor], Tensor]  # images (N, 1, H, W) in [0, 1] -> (N, F)


class Pyramid(ImageNet):
    """Images (N, 1, H, W) in [0, 1] -> (N, 512): all levels of EfficientNet-Lite0 trained on ImageNet, each averaged over the
    image. CheckpointError where its weights are not installed."""

    @torch.no_grad()
    def __call__(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        levels: list[Tensor] = self.network.to(images.device)(resize(images, self.side))
        return torch.cat([level.mean((2, 3)) for level in levels], 1)


@dataclass(frozen=True)
class Judge:
    """The classifier of one source, diseased from `threshold` on, and how many images it was fitted to and its penalty and
    threshold were chosen on."""

    model: Logistic
    threshold: float
    train: int
    val: int

    def probability(self, features: Tensor) -> Floats:
        """Features (N, F) -> p of disease (N,)."""
        return self.model.probability(features.double().cpu().numpy())[:, 1]

    def as_dict(self) -> dict[str, float]:
        return {"train": self.train, "val": self.val, "penalty": self.model.penalty, "threshold": self.threshold}


def kind_of(record: Record, positive: Collection[str]) -> str | None:
    """ "normal", "diseased" (its label belongs to the positive set), or None for any other label."""
    return "diseased" if belongs(record.label, positive) else "normal" if record.label == NORMAL else None


def usable_sources(
    dataset: Dataset, positive: Collection[str], wanted: Sequence[str] = (), *, splits: Sequence[str] = SPLITS
) -> tuple[str, ...]:
    """The sources with at least FEWEST normal and FEWEST diseased images in each split; those `wanted`, where any are named.

    DataError where a wanted source has fewer, or there is none at all."""
    counts: dict[tuple[str, str, str | None], int] = {}
    for record in dataset.records:
        key = record.source, record.split, kind_of(record, positive)
        counts[key] = counts.get(key, 0) + 1
    found = []
    for source in dict.fromkeys(wanted or dataset.sources):
        least, kind, split = min((counts.get((source, split, kind), 0), kind, split) for kind in KINDS for split in splits)
        if least >= FEWEST:
            found.append(source)
        elif wanted:
            raise DataError(f"{source}: expected at least {FEWEST} {kind} images in {split}, got {least}")
        else:
            logger.info("%s: left out: %d %s images in %s, fewer than %d", source or "(no source)", least, kind, split, FEWEST)
    if not found:
        raise DataError(
            f"{dataset.root}: expected a source with {FEWEST} normal and {FEWEST} diseased images in each split, got none"
        )
    return tuple(found)


def part(
    dataset: Dataset, source: str, split: str, positive: Collection[str], limit: int | None = None, seed: int = 0
) -> Dataset:
    """The normal and diseased images of a source and split, at most `limit` of each, drawn by the seed; not kept in memory."""
    whole = dataset.split(split).where(lambda r: r.source == source and kind_of(r, positive) is not None).remembering(0)
    if limit is None:
        return whole
    kept: set[str] = set()
    for kind in KINDS:
        records = [r for r in whole.records if kind_of(r, positive) == kind]
        kept |= {r.path for r in sorted(records, key=lambda r: seed_of(r.path, seed))[:limit]}
    return whole.where(lambda r: r.path in kept)


def judge_of(
    train: Dataset, val: Dataset, features: Features, positive: Collection[str], device: torch.device, batch_size: int = 16
) -> Judge:
    """The classifier of diseased against normal images of `train`; `val` chooses its penalty and threshold."""
    (x, classes), (held, truth) = (
        (_features(each, features, device, batch_size), np.array([int(kind_of(r, positive) == "diseased") for r in each.records]))
        for each in (train, val)
    )
    model = fit_logistic(x, classes, held, truth)
    return Judge(model, best_operating_point(model.probability(held)[:, 1], truth), len(train), len(val))


@torch.no_grad()
def _features(dataset: Dataset, features: Features, device: torch.device, batch_size: int) -> Floats:
    starts = range(0, len(dataset), batch_size)
    parts = [dataset.batch(range(i, min(i + batch_size, len(dataset)))).images for i in starts]
    return np.concatenate([features(images.to(device)).double().cpu().numpy() for images in parts])
