"""Training a target CNN: balanced cells of (source, class), augmentation, label smoothing; the operating point is set on val.

Asked for: a backbone that is frozen at first (train/schedule.py), class weights in place of balanced cells, early stopping on the
validation patients (train/early.py), a calibrated temperature (train/calibration.py).
"""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.data import Batch, Dataset
from gan_explain.files.checkpoints import save_part
from gan_explain.labels import belongs, coarse
from gan_explain.nets.classifier import THREE_CHANNELS, ClassifierConfig, build
from gan_explain.stats import best_operating_point
from gan_explain.targets import ModuleTarget, Preparation, TargetConfig, load_torchvision_weights
from gan_explain.targets.config import Domain
from gan_explain.targets.weights import head_name
from gan_explain.train.calibration import fit_temperature
from gan_explain.train.distributed import is_main
from gan_explain.train.early import EarlyStopping, Monitor, Weights
from gan_explain.train.loop import LoopConfig, run
from gan_explain.train.masks import MaskedDataset
from gan_explain.train.supervised import SupervisedConfig, SupervisedTrainer
from gan_explain.types import DataError, Record, Segmenter

WHOLE_MEAN, WHOLE_STD = 0.5, 0.25  # of percentile-clipped radiographs, roughly


class TargetObjective(nn.Module):
    """Cross-entropy of network(prepare(images, lungs)) with the batch's labels, `class_weights` (K,) on the classes."""

    def __init__(
        self,
        network: nn.Module,
        prepare: Preparation,
        classes: Sequence[str],
        group: bool,
        smoothing: float,
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.network, self.prepare, self.smoothing = network, prepare, smoothing
        self.classes, self.group = list(classes), group

    def forward(self, images: Tensor, masks: Tensor, batch: Batch) -> dict[str, Tensor]:
        labels = class_indices(batch.labels, self.classes, self.group).to(images.device)
        logits = self.network(self.prepare(images, masks).contiguous(memory_format=torch.channels_last))
        return {"cross_entropy": F.cross_entropy(logits.float(), labels, self.class_weights, label_smoothing=self.smoothing)}


# (network, prepare, classes, group, smoothing, class weights) -> the objective
MakeObjective = Callable[[nn.Module, Preparation, Sequence[str], bool, float, Tensor | None], TargetObjective]


@dataclass(frozen=True)
class TargetOptions:
    """arch: a name in nets.classifier.ARCHITECTURES; group: bacterial, viral and other pneumonia are one class; positive: the
    positive set; segmenter_name: stored with a lungs-only target; weights: a local file of torchvision weights to start from;
    sha256: what that file's must be, where it is to be checked; domain: what the network is shown (`targets.Preparation`); crop:
    of the square round the lungs that it is shown, 0: the whole image.

    balance: "sampler" draws every (source, class) equally often; "weights" draws images as they come and weights the classes in
    the loss by inverse frequency, N / (K n_k); "none" does neither. patience: checks without a better one after which training
    stops (0: never), by `monitor`. calibrate: a temperature is fitted on val before the operating point is set.
    """

    arch: str = "small"
    size: int = 128
    group: bool = True
    positive: tuple[str, ...] = ("covid",)
    lungs_only: bool = False
    segmenter_name: str = "lungs128"
    smoothing: float = 0.05
    weights: Path | None = None
    sha256: str | None = None
    part: str = "target"
    balance: Literal["sampler", "weights", "none"] = "sampler"
    patience: int = 0
    monitor: Monitor = "balanced_accuracy"
    calibrate: bool = False
    domain: Domain = "image"
    crop: float = 0.0


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
    make_objective: MakeObjective = TargetObjective,
    classified: Callable[[Record], bool] | None = None,
) -> ModuleTarget:
    """Train on the split "train", set p* by best balanced accuracy on "val" (0.5 where there is none), write checkpoint `out`.

    `make_objective` gives the losses of a network that does more than classify: a `TargetObjective` with a forward of its own.
    Where only some records are `classified`, classes and p* are theirs; the objective learns other things from the rest.

    The part's `origin` there says how it was made where that was asked for: starting weights, frozen steps, early stopping,
    calibration. Raises DataError when there are fewer than two classes, the positive set is not among them, or what is asked for
    needs validation images and there are none.
    """
    everything, dataset = dataset, dataset.where(classified) if classified else dataset
    classes = dataset_classes(dataset, options.group)
    if len(classes) < 2 or not set(options.positive) < set(classes):
        came = f"classes {', '.join(classes)}, positive {'+'.join(options.positive)}"
        raise DataError(f"expected at least two classes and the positive set among them, got {came}")
    if (options.patience or options.calibrate) and not len(dataset.split("val")):
        raise DataError(f"{dataset.root}: early stopping and calibration need a split 'val', got none")
    channels = 3 if options.arch in THREE_CHANNELS else 1
    classifier = ClassifierConfig(arch=options.arch, classes=len(classes), channels=channels)
    network = build(classifier)
    if options.weights is not None:
        network = load_torchvision_weights(options.arch, options.weights, options.sha256, len(classes))
    reads_lungs = options.lungs_only or options.crop > 0
    stored = TargetConfig(
        arch=options.arch, classes=classes, positive=options.positive, size=options.size, channels=channels, mean=(WHOLE_MEAN,),
        std=(WHOLE_STD,), lungs_only=options.lungs_only, segmenter=options.segmenter_name if reads_lungs else "",
        domain=options.domain, crop=options.crop,
    )  # fmt: skip
    prepare = Preparation(stored)
    train = MaskedDataset(everything.split("train"), segmenter if reads_lungs else None)
    val = MaskedDataset(dataset.split("val"), segmenter if reads_lungs else None)
    labels = [coarse(r.label) if options.group else r.label for r in train.records]
    counted = [label for r, label in zip(train.records, labels, strict=True) if classified is None or classified(r)]
    weights = inverse_frequency(counted, classes) if options.balance == "weights" else None
    objective = make_objective(network, prepare, classes, options.group, options.smoothing, weights)
    balanced = options.balance == "sampler"
    keys = [f"{r.source}/{label}" if balanced else "" for r, label in zip(train.records, labels, strict=True)]
    early = EarlyStopping(val_measure(objective, val), options.patience, options.monitor) if options.patience else None
    trainer = SupervisedTrainer(objective, train, keys, config, head=head_name(network), early=early)
    run(trainer, loop, out, resume=resume, stopper=trainer)
    origin: dict[str, Any] = {"early_stopping": early.summary()} if early else {}
    if options.weights is not None:
        with options.weights.open("rb") as file:
            origin["weights"] = {"file": options.weights.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    if options.balance != "sampler":
        origin["balance"] = options.balance
    if config.freeze_steps:
        origin["freeze_steps"] = config.freeze_steps
    trained = trainer.averaged().cpu()
    if options.calibrate:
        found = fit_temperature(*network_logits(trained, objective.cpu(), val))
        stored = stored.model_copy(update={"temperature": found.temperature})
        origin["calibration"] = found.summary()
    if len(val):
        p, positive = predict(ModuleTarget(trained, stored, segmenter), val)
        if bool(positive.any()) and not bool(positive.all()):
            point = min(max(best_operating_point(p.numpy(), positive.numpy()), 0.02), 0.98)
            stored = stored.model_copy(update={"operating_point": point})
    if is_main():
        save_part(out, options.part, "target", stored.model_dump(mode="json"), trained.state_dict(), half=True, origin=origin)
    return ModuleTarget(trained, stored, segmenter)


@torch.no_grad()
def predict(target: ModuleTarget, dataset: MaskedDataset, batch_size: int = 64) -> tuple[Tensor, Tensor]:
    """Probability (N,) of the positive set and whether each label is in it (N,) bool."""
    p, positive = [], []
    for start in range(0, len(dataset), batch_size):
        batch = dataset.batch(range(start, min(start + batch_size, len(dataset))))
        p.append(target.probability(batch.images, batch.lungs if target.uses_lungs else None))
        positive += [belongs(label, target.positive) for label in batch.labels]
    return torch.cat(p), torch.tensor(positive)


def inverse_frequency(labels: Sequence[str], classes: Sequence[str]) -> Tensor:
    """Weights (K,) of the classes: N / (K n_k), whose mean over the labels is 1. DataError for a class without images."""
    counts = Counter(labels)
    missing = [name for name in classes if not counts[name]]
    if missing:
        raise DataError(f"expected training images of every class, got none of {', '.join(missing)}")
    return torch.tensor([len(labels) / (len(classes) * counts[name]) for name in classes])


@torch.no_grad()
def network_logits(
    network: nn.Module, objective: TargetObjective, dataset: MaskedDataset, batch_size: int = 64
) -> tuple[Tensor, Tensor]:
    """What a network in eval mode says of a dataset, prepared as the objective prepares: logits (N, K) and classes (N,), on the
    CPU, float32."""
    logits, labels = [], []
    device = next(network.parameters()).device
    for start in range(0, len(dataset), batch_size):
        batch = dataset.batch(range(start, min(start + batch_size, len(dataset))))
        logits.append(network(objective.prepare(batch.images.to(device), batch.lungs.to(device))).float().cpu())
        labels.append(class_indices(batch.labels, objective.classes, objective.group))
    return torch.cat(logits), torch.cat(labels)


def val_measure(objective: TargetObjective, val: MaskedDataset) -> Callable[[Weights], tuple[float, float]]:
    """A function of weights: balanced accuracy and loss on `val`, each the mean over its classes, of a copy of the network."""
    probe: list[nn.Module] = []

    def measure(weights: Weights) -> tuple[float, float]:
        if not probe:
            probe.append(copy.deepcopy(objective.network).eval())  # the network in training keeps its weights and mode
        probe[0].load_state_dict(dict(weights))
        logits, labels = network_logits(probe[0], objective, val)
        loss, right = F.cross_entropy(logits, labels, reduction="none"), (logits.argmax(1) == labels).float()
        present = [labels == k for k in labels.unique()]
        recall = torch.stack([right[among].mean() for among in present]).mean()
        return float(recall), float(torch.stack([loss[among].mean() for among in present]).mean())

    return measure
