"""Training the multi-output U-Net: lung masks and classes in one network, at once.

The images with a human mask teach the decoder (cross-entropy plus soft Dice, as in train/segmenter.py), the images that are to be
classified teach the head, and the encoder learns from both. Few images need to do both: a source without masks can be classified,
and a source that would confound the classes can teach the lungs alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_explain.data import Batch, Dataset
from gan_explain.files.checkpoints import save_part
from gan_explain.nets.multi_unet import MultiUNet
from gan_explain.targets import ModuleTarget, Preparation
from gan_explain.train.distributed import is_main
from gan_explain.train.loop import LoopConfig
from gan_explain.train.segmenter import has_mask, mask_losses
from gan_explain.train.supervised import SupervisedConfig
from gan_explain.train.target import TargetObjective, TargetOptions, class_indices, train_target
from gan_explain.types import DataError, Record


class MultiObjective(TargetObjective):
    """Losses of a `MultiUNet`: "cross_entropy" of the classes over the records that are `classified`, "mask_cross_entropy" and
    "mask_dice" over those with a human mask. A batch without any of a kind gives zeros."""

    def __init__(
        self,
        network: MultiUNet,
        prepare: Preparation,
        classes: Sequence[str],
        group: bool,
        smoothing: float,
        class_weights: Tensor | None = None,
        *,
        classified: Callable[[Record], bool],
    ) -> None:
        super().__init__(network, prepare, classes, group, smoothing, class_weights)
        self.network: MultiUNet
        self.classified = classified

    def forward(self, images: Tensor, masks: Tensor, batch: Batch) -> dict[str, Tensor]:
        lungs, logits = self.network.outputs(self.prepare(images).contiguous(memory_format=torch.channels_last))
        lungs, logits = lungs.float(), logits.float()
        terms = {"cross_entropy": 0 * logits.sum(), "mask_cross_entropy": 0 * lungs.sum(), "mask_dice": 0 * lungs.sum()}
        chosen = [i for i, record in enumerate(batch.records) if self.classified(record)]
        if chosen:
            labels = class_indices([batch.labels[i] for i in chosen], self.classes, self.group).to(logits.device)
            terms["cross_entropy"] = F.cross_entropy(logits[chosen], labels, self.class_weights, label_smoothing=self.smoothing)
        known = batch.has_lungs.nonzero().flatten().tolist()
        if known:
            found = mask_losses(lungs[known], masks[known])
            terms |= {f"mask_{name}": value for name, value in found.items()}
        return terms


def train_unet(
    dataset: Dataset,
    out: Path,
    options: TargetOptions,
    config: SupervisedConfig,
    loop: LoopConfig,
    *,
    classified: Callable[[Record], bool] = lambda record: True,
    resume: bool = False,
) -> ModuleTarget:
    """Train on the records that are `classified` or have a human mask; write the parts `options.part` and "segmenter" of `out`.

    The first is the target, as `train_target` makes it; the second is its U-Net alone, which every command takes as a segmenter.
    `options` say what the target is, but the architecture. Raises DataError when no training image has a mask, and as
    `train_target` does.
    """
    useful = dataset.where(lambda record: classified(record) or has_mask(record))
    if not any(has_mask(record) for record in useful.split("train").records):
        raise DataError(f"{dataset.root}: expected training images with lung masks (manifest column `mask`), got none")
    target = train_target(
        useful, None, out, replace(options, arch="multi_unet", lungs_only=False), config, loop, resume=resume,
        make_objective=partial(MultiObjective, classified=classified), classified=classified,
    )  # fmt: skip
    assert isinstance(target.network, MultiUNet)
    unet = target.network.unet
    if is_main():
        stored = unet.config.model_copy(update={"resolution": options.size}).model_dump(mode="json")
        save_part(out, "segmenter", "segmenter", stored, unet.state_dict(), half=True)
    return target
