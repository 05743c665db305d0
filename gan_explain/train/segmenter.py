"""Training the lung segmenter: cross-entropy plus soft Dice (Milletari et al., 3DV 2016, arXiv 1606.04797) on human masks."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_explain.data import Batch, Dataset
from gan_explain.data.augment import Ranges
from gan_explain.metrics.measure import Measure
from gan_explain.metrics.structure import dice
from gan_explain.nets.unet import UNet, UNetConfig
from gan_explain.train.loop import run
from gan_explain.train.masks import in_batches
from gan_explain.train.supervised import SupervisedTrainer, SupervisedTraining
from gan_explain.train.trainer import Objective, save_network
from gan_explain.types import DataError, Record, Segmenter

USUAL = SupervisedTraining(steps=900, batch_size=24, learning_rate=3e-3, ranges=Ranges(rotate=12, scale=0.2, shift=0.08))


class SegmenterObjective(Objective):
    """network(images) against masks (N, 1, H, W) in {0, 1}."""

    def forward(self, images: Tensor, masks: Tensor, batch: Batch) -> dict[str, Tensor]:
        return mask_losses(self.network(images).float(), masks)


def mask_losses(logits: Tensor, masks: Tensor) -> dict[str, Tensor]:
    """Cross-entropy and one minus soft Dice of lung logits (N, 1, H, W) against masks (N, 1, H, W) in {0, 1}."""
    p = logits.sigmoid()
    overlap = (p * masks).sum((1, 2, 3))
    dice = 1 - (2 * overlap + 1) / (p.sum((1, 2, 3)) + masks.sum((1, 2, 3)) + 1)
    return {"cross_entropy": F.binary_cross_entropy_with_logits(logits, masks), "dice": dice.mean()}


def has_mask(record: Record) -> bool:
    """Whether a record comes with a lung mask: a file, or the phantom's own."""
    return bool(record.mask) or record.source == "phantom"


def train_segmenter(
    dataset: Dataset, out: Path, network: UNetConfig, training: SupervisedTraining = USUAL, *, resume: bool = False
) -> None:
    """Train on the records of `dataset` that have a human mask and write the part "segmenter" of checkpoint `out`.

    Raises DataError when no record has a mask.
    """
    masked = dataset.split("train").where(has_mask)
    if not len(masked):
        raise DataError("expected training images with lung masks (manifest column `mask`), got none")
    trainer = SupervisedTrainer(SegmenterObjective(UNet(network)), masked, [r.source for r in masked.records], training)
    run(trainer, training, out, resume=resume)
    save_network(trainer.averaged(), out, "segmenter", "segmenter")


def dice_report(segmenter: Segmenter, dataset: Dataset) -> Measure:
    """Dice of hard masks against the human ones, per image, patient-bootstrap intervals: {value, low, high, n, by: {SOURCE}}."""
    masked = dataset.where(has_mask)
    if not len(masked):
        return Measure.missing("no human lung masks")
    found = [dice(segmenter(batch.images), batch.lungs) for batch in in_batches(masked)]
    records = masked.records
    return Measure.over(torch.cat(found), [r.patient_id for r in records], [r.source for r in records])
