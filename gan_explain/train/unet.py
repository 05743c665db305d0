"""Training the multi-output U-Net: lung masks and classes in one network, at once.

The images with a human mask teach the decoder (cross-entropy plus soft Dice, as in train/segmenter.py), the images that are to be
classified teach the head, and the encoder learns from both. Few images need to do both: a source without masks can be classified,
and a source that would confound the classes can teach the lungs alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gan_explain.data import Batch, Dataset
from gan_explain.data.spectral import Transform
from gan_explain.nets.multi_unet import MultiUNet
from gan_explain.targets import Preparation
from gan_explain.train.objective import TargetObjective, Task
from gan_explain.train.segmenter import has_mask, mask_losses
from gan_explain.types import DataError, Record

Chosen = Callable[[Record], bool]


class MultiObjective(TargetObjective):
    """Losses of a `MultiUNet`: "cross_entropy" of the classes over the records that are `classified`, "mask_cross_entropy" and
    "mask_dice" over those with a human mask. A batch without any of a kind gives zeros."""

    network: MultiUNet

    def __init__(
        self,
        network: nn.Module,
        prepare: Preparation,
        task: Task,
        transform: Transform | None = None,
        classified: Chosen | None = None,
    ) -> None:
        super().__init__(network, prepare, task, transform)
        self.classified = classified

    def losses(self, images: Tensor, masks: Tensor, batch: Batch) -> dict[str, Tensor]:
        lungs, logits = self.network.outputs(self.prepare(images).contiguous(memory_format=torch.channels_last))
        lungs, logits = lungs.float(), logits.float()
        terms = {"cross_entropy": 0 * logits.sum(), "mask_cross_entropy": 0 * lungs.sum(), "mask_dice": 0 * lungs.sum()}
        chosen = [i for i, record in enumerate(batch.records) if self.classified is None or self.classified(record)]
        if chosen:
            truth = self.task.indices(batch.labels[i] for i in chosen).to(logits.device)
            terms["cross_entropy"] = self.task.cross_entropy(logits[chosen], truth)
        known = batch.has_lungs.nonzero().flatten().tolist()
        if known:
            found = mask_losses(lungs[known], masks[known])
            terms |= {f"mask_{name}": value for name, value in found.items()}
        return terms


def teaching(dataset: Dataset, classified: Chosen | None) -> Dataset:
    """The records that teach a network of this kind anything. DataError when no training image has a mask."""
    useful = dataset.where(lambda record: classified is None or classified(record) or has_mask(record))
    if not any(has_mask(record) for record in useful.split("train").records):
        raise DataError(f"{dataset.root}: expected training images with lung masks (manifest column `mask`), got none")
    return useful
