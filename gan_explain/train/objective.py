"""What a target CNN learns: the classes of a dataset, and the loss of a network on a batch of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.data import Batch
from gan_explain.data.spectral import Transform
from gan_explain.labels import coarse
from gan_explain.targets import Preparation
from gan_explain.types import DataError, Record


@dataclass(frozen=True)
class Task:
    """The classes that a network tells apart; `grouped`: bacterial, viral and other pneumonia are one; `weights` (K,) of the
    classes in the loss."""

    classes: tuple[str, ...]
    grouped: bool = True
    smoothing: float = 0.0
    weights: Tensor | None = None

    def indices(self, labels: Iterable[str]) -> Tensor:
        """Labels -> (N,) indices into the classes."""
        return torch.tensor([self.classes.index(class_of(label, self.grouped)) for label in labels])

    def cross_entropy(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Logits (N, K) and classes (N,), or shares of them (N, K) -> (), with label smoothing."""
        weights = None if self.weights is None else self.weights.to(logits.device)
        return F.cross_entropy(logits.float(), truth, weights, label_smoothing=self.smoothing)


class TargetObjective(nn.Module):
    """forward(images, lungs, batch) -> named losses of network(prepare(images, lungs)) against the batch's labels.

    `transform`, where given, is what every other image goes through before: the 2nd, 4th, ... of a batch.
    """

    def __init__(self, network: nn.Module, prepare: Preparation, task: Task, transform: Transform | None = None) -> None:
        super().__init__()
        self.network, self.prepare, self.task, self.transform = network, prepare, task, transform

    def forward(self, images: Tensor, masks: Tensor, batch: Batch) -> dict[str, Tensor]:
        if self.transform is not None:
            images = alternated(images, masks, self.transform)
        return self.losses(images, masks, batch)

    def losses(self, images: Tensor, masks: Tensor, batch: Batch) -> dict[str, Tensor]:
        """images and masks (N, 1, H, W) -> the named terms; what networks that learn more than to classify override."""
        truth = self.task.indices(batch.labels).to(images.device)
        logits = self.network(self.prepare(images, masks).contiguous(memory_format=torch.channels_last))
        return {"cross_entropy": self.task.cross_entropy(logits, truth)}


@torch.no_grad()
def alternated(images: Tensor, masks: Tensor, transform: Transform) -> Tensor:
    """Images (N, 1, H, W), the 2nd, 4th, ... transformed."""
    images = images.clone()
    images[1::2] = transform(images[1::2], masks[1::2]).to(images)
    return images


def class_of(label: str, grouped: bool) -> str:
    return coarse(label) if grouped else label


def clinical_classes(records: Iterable[Record], grouped: bool) -> tuple[str, ...]:
    """Class names in clinical order where they are known: normal first, covid last."""
    order = {"normal": 0, "covid": 2}
    return tuple(sorted({class_of(r.label, grouped) for r in records}, key=lambda name: (order.get(name, 1), name)))


def inverse_frequency(labels: Sequence[str], classes: Sequence[str]) -> Tensor:
    """Weights (K,) of the classes: N / (K n_k), whose mean over the labels is 1. DataError for a class without images."""
    counts = Counter(labels)
    missing = [name for name in classes if not counts[name]]
    if missing:
        raise DataError(f"expected training images of every class, got none of {', '.join(missing)}")
    return torch.tensor([len(labels) / (len(classes) * counts[name]) for name in classes])
