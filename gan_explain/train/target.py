"""Training a target CNN: balanced cells of (source, class), augmentation, label smoothing; the operating point is set on val."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.checkpoints import save_part
from gan_explain.data import Batch, Dataset
from gan_explain.data.labels import belongs, coarse
from gan_explain.nets.classifier import THREE_CHANNELS, ClassifierConfig, build
from gan_explain.stats import best_operating_point
from gan_explain.targets import ModuleTarget, Preparation, TargetConfig, load_torchvision_weights
from gan_explain.targets.module import module_target
from gan_explain.train.distributed import is_main
from gan_explain.train.loop import LoopConfig, run
from gan_explain.train.masks import MaskedDataset
from gan_explain.train.supervised import SupervisedConfig, SupervisedTrainer
from gan_explain.types import DataError, Segmenter

WHOLE_MEAN, WHOLE_STD = 0.5, 0.25  # of percentile-clipped radiographs, roughly


class TargetObjective(nn.Module):
    """Cross-entropy of network(prepare(images, lungs)) with the batch's labels."""

    def __init__(self, network: nn.Module, prepare: Preparation, classes: Sequence[str], group: bool, smoothing: float) -> None:
        super().__init__()
        self.network, self.prepare, self.smoothing = network, prepare, smoothing
        self.classes, self.group = list(classes), group

    def forward(self, images: Tensor, masks: Tensor, batch: Batch) -> dict[str, Tensor]:
        labels = class_indices(batch.labels, self.classes, self.group).to(images.device)
        logits = self.network(self.prepare(images, masks).contiguous(memory_format=torch.channels_last))
        return {"cross_entropy": F.cross_entropy(logits.float(), labels, label_smoothing=self.smoothing)}


@dataclass(frozen=True)
class TargetOptions:
    """arch: a name in nets.classifier.ARCHITECTURES; group: bacterial, viral and other pneumonia are one class; positive: the
    positive set; segmenter_name: stored with a lungs-only target; weights: a local file of torchvision weights to start from."""

    arch: str = "small"
    size: int = 128
    group: bool = True
    positive: tuple[str, ...] = ("covid",)
    lungs_only: bool = False
    segmenter_name: str = "lungs128"
    smoothing: float = 0.05
    weights: Path | None = None
    part: str = "target"


def class_indices(labels: Sequence[str], classes: Sequence[str], group: bool) -> Tensor:
    """Labels -> (N,) indices into classes, after grouping."""
    return torch.tensor([classes.index(coarse(label) if group else label) for label in labels])


def dataset_classes(dataset: Dataset, group: bool) -> tuple[str, ...]:
    """Class names in clinical order where they are known: normal first, covid last."""
    names = {coarse(r.label) if group else r.label for r in dataset.records}
    order = {"normal": 0, "covid": 2}
    return tuple(sorted(names, key=lambda name: (order.get(name, 1), name)))


def train_target(
    dataset: Dataset,
    segmenter: Segmenter | None,
    out: Path,
    options: TargetOptions,
    config: SupervisedConfig,
    loop: LoopConfig,
    *,
    resume: bool = False,
) -> ModuleTarget:
    """Train on the split "train", set p* by best balanced accuracy on "val" (0.5 where there is none), write checkpoint `out`.

    Raises DataError when there are fewer than two classes or the positive set is not among them.
    """
    classes = dataset_classes(dataset, options.group)
    if len(classes) < 2 or not set(options.positive) < set(classes):
        came = f"classes {', '.join(classes)}, positive {'+'.join(options.positive)}"
        raise DataError(f"expected at least two classes and the positive set among them, got {came}")
    channels = 3 if options.arch in THREE_CHANNELS else 1
    classifier = ClassifierConfig(arch=options.arch, classes=len(classes), channels=channels)
    network = build(classifier)
    if options.weights is not None:
        network = load_torchvision_weights(options.arch, options.weights, num_classes=len(classes))
    prepare = Preparation(options.size, channels, (WHOLE_MEAN,), (WHOLE_STD,), options.lungs_only)
    objective = TargetObjective(network, prepare, classes, options.group, options.smoothing)
    train = MaskedDataset(dataset.split("train"), segmenter if options.lungs_only else None)
    keys = [f"{r.source}/{coarse(r.label) if options.group else r.label}" for r in train.records]
    trainer = SupervisedTrainer(objective, train, keys, config)
    run(trainer, loop, out, resume=resume)
    stored = TargetConfig(
        arch=options.arch, classes=classes, positive=options.positive, size=options.size, channels=channels, mean=(WHOLE_MEAN,),
        std=(WHOLE_STD,), lungs_only=options.lungs_only, segmenter=options.segmenter_name if options.lungs_only else "",
    )  # fmt: skip

    trained = trainer.averaged().cpu()
    val = MaskedDataset(dataset.split("val"), segmenter if options.lungs_only else None)
    if len(val):
        p, positive = predict(module_target(trained, stored, segmenter), val)
        if bool(positive.any()) and not bool(positive.all()):
            point = min(max(best_operating_point(p.numpy(), positive.numpy()), 0.02), 0.98)
            stored = stored.model_copy(update={"operating_point": point})
    if is_main():
        save_part(out, options.part, "target", stored.model_dump(mode="json"), trained.state_dict(), half=True)
    return module_target(trained, stored, segmenter)


@torch.no_grad()
def predict(target: ModuleTarget, dataset: MaskedDataset, batch_size: int = 64) -> tuple[Tensor, Tensor]:
    """Probability (N,) of the positive set and whether each label is in it (N,) bool."""
    p, positive = [], []
    for start in range(0, len(dataset), batch_size):
        batch = dataset.batch(range(start, min(start + batch_size, len(dataset))))
        p.append(target.probability(batch.images, batch.lungs if target.uses_lungs else None))
        positive += [belongs(label, target.positive) for label in batch.labels]
    return torch.cat(p), torch.tensor(positive)
