"""Training a target CNN, step by step: check the data, build, train, calibrate, set p*, save.

The architecture decides the losses (`make_objective`). Asked for: a backbone that is frozen at first (train/schedule.py), class
weights in place of balanced cells, early stopping on the validation patients (train/early.py), a calibrated temperature
(train/calibration.py), spectral augmentation (train/spectral.py).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.data import Dataset
from gan_explain.data.spectral import Transform
from gan_explain.files.checkpoints import CONFIG, load_part, save_part
from gan_explain.labels import belongs
from gan_explain.metrics.logistic import balanced
from gan_explain.nets.classifier import CXRNETS, MULTI_UNETS, PRETRAINED, ClassifierConfig, backbone_of, build
from gan_explain.nets.efficientnet_lite import imagenet_file, load_imagenet
from gan_explain.stats import best_operating_point
from gan_explain.targets import ModuleTarget, Preparation, TargetConfig, load_torchvision_weights, target_from_part
from gan_explain.targets.weights import check_digest, file_digest, head_name
from gan_explain.train.calibration import fit_temperature
from gan_explain.train.cxrnet import CxrNetObjective
from gan_explain.train.distributed import is_main
from gan_explain.train.early import EarlyStopping, Weights
from gan_explain.train.head import HeadTraining, fit_head
from gan_explain.train.loop import STATE, run
from gan_explain.train.masks import MaskedDataset, in_batches
from gan_explain.train.objective import TargetObjective, Task, class_of, clinical_classes, inverse_frequency
from gan_explain.train.options import TargetOptions
from gan_explain.train.spectral import SpectralOptions
from gan_explain.train.supervised import SCARCE, SupervisedTrainer, SupervisedTraining
from gan_explain.train.unet import Chosen, MultiObjective, teaching
from gan_explain.types import DataError, Segmenter

WHOLE_MEAN, WHOLE_STD = 0.5, 0.25  # of percentile-clipped radiographs, roughly
SPECTRUM = "spectrum"  # folder of the network that reads spectra, in that of the target


def train_target(
    dataset: Dataset,
    segmenter: Segmenter | None,
    out: Path,
    options: TargetOptions,
    training: SupervisedTraining,
    *,
    classified: Chosen | None = None,
    spectrum: ModuleTarget | None = None,
    resume: bool = False,
) -> ModuleTarget:
    """Train on the split "train", set p* by best balanced accuracy on "val" (0.5 where there is none), write checkpoint `out`.

    Where only some records are `classified`, classes and p* are theirs; a `MultiUNet` learns the lungs from the rest. For the
    importance filter a `spectrum` target is trained first (checkpoint `out`/spectrum) where none is given; resuming, a finished
    one is taken as it is.

    The part's `origin` says how it was made where that was asked for: starting weights, frozen steps, early stopping,
    calibration. Raises DataError when there are fewer than two classes, the positive set is not among them, or what is asked for
    needs validation images or lung masks and there are none.
    """
    material = Material.of(dataset, segmenter, options, classified)
    if options.spectral.filter == "importance":
        spectrum = spectrum or train_spectrum(dataset, segmenter, out / SPECTRUM, options, training, resume=resume)
        spectrum, resume = spectrum.to(training.device), resume and (out / STATE).is_file()
    transform = options.spectral.transform(spectrum)
    stored = described(options, material.task)
    objective = make_objective(built(options, stored), Preparation(stored), material.task, options, transform, classified)
    early = EarlyStopping(val_measure(objective, material.val), options.patience, options.monitor) if options.patience else None
    if options.views is None:
        head = "decoder" if options.arch in CXRNETS else head_name(objective.network)
        trainer = SupervisedTrainer(objective, material.train, material.keys, training, head=head, early=early)
        run(trainer, training, out, resume=resume)
        trained = trainer.averaged().cpu()
    else:
        trained = with_fitted_head(ModuleTarget(objective.network, stored, segmenter), material, options.views, training)
    origin = made_with(options, training, early)
    if options.calibrate:
        stored, origin["calibration"] = calibrated(stored, trained, objective, material.val)
    stored = with_operating_point(stored, ModuleTarget(trained, stored, segmenter), material.val)
    if is_main():
        save(trained, stored, out, options, origin)
    return ModuleTarget(trained, stored, segmenter)


@dataclass(frozen=True)
class Material:
    """What a training learns and learns from: images of two splits, with the segmenter's masks where the network is shown lungs,
    the classes, and the `keys` (one a training image) of the cells that are drawn equally often."""

    train: MaskedDataset
    val: MaskedDataset
    task: Task
    keys: list[str]

    @staticmethod
    def of(dataset: Dataset, segmenter: Segmenter | None, options: TargetOptions, classified: Chosen | None) -> Material:
        everything, grouped = teaching(dataset, classified) if options.arch in MULTI_UNETS else dataset, not options.keep_labels
        dataset = everything.where(classified) if classified else everything
        classes = clinical_classes(dataset.records, grouped)
        if len(classes) < 2 or not set(options.positive) < set(classes):
            came = f"classes {', '.join(classes)}, positive {'+'.join(options.positive)}"
            raise DataError(f"expected at least two classes and the positive set among them, got {came}")
        check_val(dataset, options)
        train = everything.split("train").records
        balanced = options.balance == "sampler"
        keys = [f"{r.source}/{class_of(r.label, grouped)}" if balanced else "" for r in train]
        weights = None
        if options.balance == "weights":
            weights = inverse_frequency([class_of(r.label, grouped) for r in train if not classified or classified(r)], classes)
        masks = segmenter if options.reads_lungs else None
        return Material(
            MaskedDataset(everything.split("train"), masks),
            MaskedDataset(dataset.split("val"), masks),
            Task(classes, grouped, options.smoothing, weights),
            keys,
        )


def check_val(dataset: Dataset, options: TargetOptions) -> None:
    """DataError where the validation images do not do for what is asked for."""
    val = dataset.split("val")
    if (options.patience or options.calibrate) and not len(val):
        raise DataError(f"{dataset.root}: early stopping and calibration need a split 'val', got none")
    classes = clinical_classes(val.records, not options.keep_labels)
    if options.calibrate and len(classes) < 2:
        raise DataError(f"{dataset.root}: calibration needs two classes in the split 'val', got {', '.join(classes)} alone")


def train_spectrum(
    dataset: Dataset,
    segmenter: Segmenter | None,
    out: Path,
    options: TargetOptions,
    training: SupervisedTraining,
    *,
    resume: bool = False,
) -> ModuleTarget:
    """A target that reads spectra, for as many steps as `options.spectral` says; a finished one in `out` when resuming."""
    spectral = options.spectral
    reading = replace(
        options, arch=spectral.spectrum_arch or options.arch, domain="spectrum", spectral=SpectralOptions(), part="target",
        weights=None, sha256=None, patience=0, calibrate=False,
    )  # fmt: skip
    if resume and (out / CONFIG).is_file():
        return target_from_part(load_part(out, reading.part), segmenter)
    brief = replace(training, steps=spectral.spectrum_steps, freeze_steps=0)
    return train_target(dataset, segmenter, out, reading, brief, resume=resume and (out / STATE).is_file())


def with_fitted_head(target: ModuleTarget, material: Material, views: int, training: SupervisedTraining) -> nn.Module:
    """The target's network with a last layer fitted to features of the training images, each with its weight."""
    config = HeadTraining(views=views, ranges=training.transforms, seed=training.seed, batch_size=training.batch_size)
    weights = balanced(material.keys, SCARCE)
    if material.task.weights is not None:
        weights = material.task.weights[material.task.indices([r.label for r in material.train.records])].numpy()
    found = fit_head(target.to(training.device), material.train, material.val, material.task, config, weights=weights)
    return found.network.cpu()


def built(options: TargetOptions, stored: TargetConfig) -> nn.Module:
    """The untrained network, or one with ImageNet's weights or those of a file."""
    if options.weights is not None and options.arch not in PRETRAINED:
        return load_torchvision_weights(options.arch, options.weights, options.sha256, len(stored.classes))
    network = build(ClassifierConfig(arch=stored.arch, classes=len(stored.classes), channels=stored.channels))
    if options.weights is not None:
        check_digest(load_imagenet(network, options.weights_file), options.sha256)
    return network


def make_objective(
    network: nn.Module,
    prepare: Preparation,
    task: Task,
    options: TargetOptions,
    transform: Transform | None,
    classified: Chosen | None,
) -> TargetObjective:
    """The losses of an architecture."""
    if options.arch in CXRNETS:
        return CxrNetObjective(network, prepare, task, transform, options.evidence)
    if options.arch in MULTI_UNETS:
        return MultiObjective(network, prepare, task, transform, classified)
    return TargetObjective(network, prepare, task, transform)


def described(options: TargetOptions, task: Task) -> TargetConfig:
    """What a checkpoint says of the target."""
    return TargetConfig(
        arch=options.arch, classes=task.classes, positive=options.positive, size=options.size, channels=options.channels,
        mean=(WHOLE_MEAN,), std=(WHOLE_STD,), lungs_only=options.lungs_only,
        segmenter=options.segmenter_name if options.reads_lungs else "", domain=options.domain, crop=options.crop,
    )  # fmt: skip


def made_with(options: TargetOptions, training: SupervisedTraining, early: EarlyStopping | None) -> dict[str, Any]:
    """What a checkpoint says of its making."""
    origin: dict[str, Any] = {"early_stopping": early.summary()} if early else {}
    if options.weights is not None:
        path = options.weights_file or imagenet_file(backbone_of(options.arch))
        origin["weights"] = {"file": path.name, "sha256": file_digest(path)}
    if options.balance != "sampler":
        origin["balance"] = options.balance
    if options.views is not None:
        origin["views"] = options.views
    elif training.freeze_steps:
        origin["freeze_steps"] = training.freeze_steps
    return origin


def calibrated(
    stored: TargetConfig, trained: nn.Module, objective: TargetObjective, val: MaskedDataset
) -> tuple[TargetConfig, dict[str, Any]]:
    """The configuration with the temperature that fits `val` best, and how it fits."""
    found = fit_temperature(*network_logits(trained, objective.cpu(), val))
    return stored.model_copy(update={"temperature": found.temperature}), asdict(found)


def with_operating_point(stored: TargetConfig, target: ModuleTarget, val: MaskedDataset) -> TargetConfig:
    """The configuration with the threshold of best balanced accuracy on `val`, where both sides are there."""
    if not len(val):
        return stored
    p, positive = predict(target, val)
    if not bool(positive.any()) or bool(positive.all()):
        return stored
    return stored.model_copy(update={"operating_point": min(max(best_operating_point(p.numpy(), positive.numpy()), 0.02), 0.98)})


def save(trained: nn.Module, stored: TargetConfig, out: Path, options: TargetOptions, origin: Mapping[str, Any]) -> None:
    """Write the target, in 16 bits."""
    save_part(out, options.part, "target", stored.model_dump(mode="json"), trained.state_dict(), half=True, origin=origin)


@torch.no_grad()
def predict(target: ModuleTarget, dataset: MaskedDataset, batch_size: int = 64) -> tuple[Tensor, Tensor]:
    """Probability (N,) of the positive set and whether each label is in it (N,) bool."""
    p, positive = [], []
    for batch in in_batches(dataset, batch_size):
        p.append(target.probability(batch.images, batch.lungs if target.uses_lungs else None))
        positive += [belongs(label, target.positive) for label in batch.labels]
    return torch.cat(p), torch.tensor(positive)


@torch.no_grad()
def network_logits(network: nn.Module, objective: TargetObjective, dataset: MaskedDataset) -> tuple[Tensor, Tensor]:
    """What a network in eval mode says of a dataset, prepared as the objective prepares: logits (N, K) and classes (N,), on the
    CPU, float32."""
    logits, labels = [], []
    device = next(network.parameters()).device
    for batch in in_batches(dataset):
        logits.append(network(objective.prepare(batch.images.to(device), batch.lungs.to(device))).float().cpu())
        labels.append(objective.task.indices(batch.labels))
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
