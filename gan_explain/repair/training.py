"""What a repair learns from, and one training of it: an arm, a depth, a seed."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from gan_explain.data import Dataset, coarse
from gan_explain.evaluate.inputs import is_positive
from gan_explain.evaluate.run import true_classes
from gan_explain.labels import canonical
from gan_explain.metrics.logistic import balanced
from gan_explain.repair.healed import Healed, healable, judges_of
from gan_explain.repair.material import Counterfactuals, Joined, Layers, Named
from gan_explain.repair.options import MADE, STRONG, Arm, Making, RepairOptions
from gan_explain.repair.plan import Recipe, exchanged, layered, normals, some, transplanted
from gan_explain.targets import ModuleTarget, Preparation, device_of
from gan_explain.train.head import fit_head
from gan_explain.train.loop import Interrupted, run
from gan_explain.train.masks import Batches, MaskedDataset
from gan_explain.train.objective import TargetObjective, Task
from gan_explain.train.supervised import SCARCE, SupervisedTrainer, SupervisedTraining
from gan_explain.train.target import calibrated, with_operating_point
from gan_explain.train.training import quiet, stream
from gan_explain.types import DataError, Generator, Segmenter

LEARNED = ("train", "val")
Cell = tuple[str, str, str]  # how an image was made, its source, its class


def known(dataset: Dataset, target: ModuleTarget) -> tuple[Dataset, dict[str, str]]:
    """The images whose class the target has, and the name of that class by path.

    A target of two classes whose negative one has the label of no image takes every image that is not positive for it.
    """
    classes, records = target.classes, dataset.records
    places = true_classes(records, classes)
    negative = [k for k, name in enumerate(classes) if name not in target.positive]
    if len(classes) == 2 and not (places == negative[0]).any():
        places = [negative[0] if not is_positive(r, target) else 1 - negative[0] for r in records]  # type: ignore[assignment]
    names = {record.path: classes[k] for record, k in zip(records, places, strict=True) if k >= 0}
    return dataset.where(lambda record: record.path in names), names


@dataclass(frozen=True)
class Material:
    """Real images, under the names of the target's classes, and places among those of `train`: of normals that get layers
    (`bases`), of positives that may give one (`donors`), and of those that may be healed (`healing`)."""

    train: Batches
    val: Batches
    task: Task
    bases: tuple[int, ...]
    donors: tuple[int, ...]
    healing: tuple[int, ...]

    @staticmethod
    def of(dataset: Dataset, names: Mapping[str, str], target: ModuleTarget, segmenter: Segmenter, making: Making) -> Material:
        """DataError for training or validation images without a positive or a negative."""
        for split in LEARNED:
            found = {is_positive(record, target) for record in dataset.split(split).records}
            for which, name in ((True, "positive"), (False, "negative")):
                if which not in found:
                    raise DataError(f"{dataset.root}: expected {name} images in the split {split!r} to repair on, got none")
        missing = sorted(set(target.classes) - {names[r.path] for r in dataset.split("train").records})
        if missing:
            raise DataError(f"{dataset.root}: expected training images of every class of the target, got none of {missing[0]}")
        device = device_of(target)

        def lungs(images: Tensor) -> Tensor:
            return segmenter(images.to(device)).cpu()

        train, val = (Named(MaskedDataset(dataset.split(split), lungs), names) for split in LEARNED)
        raw = dataset.split("train").records
        positives = [i for i, record in enumerate(raw) if is_positive(record, target)]
        return Material(
            train, val, Task(target.classes, grouped=False),
            tuple(normals(raw, lambda record: is_positive(record, target))),
            tuple(some(raw, positives, making.donors, seed=0)), tuple(some(raw, positives, making.healed, seed=0)),
        )  # fmt: skip

    @property
    def planned(self) -> dict[str, int]:
        """How many images of each kind there may be, at most."""
        return {"layers": len(self.bases), "transplants": len(self.train), "healed": len(self.healing)}


@dataclass(frozen=True)
class Ingredients:
    """What was read on training images, once for all seeds. donors: class of the positives whose layers are used; healed: places
    of the positives that may be taught as normal; refused: how many were not, by reason; prior: the class whose prior is drawn
    from, None for none."""

    material: Material
    making: Making
    layers: Layers
    donors: Mapping[int, str]
    healed: Sequence[int]
    refused: Mapping[str, int]
    negative: str
    prior: str | None

    @staticmethod
    def read(
        generator: Generator, dataset: Dataset, material: Material, target: ModuleTarget, options: RepairOptions
    ) -> Ingredients:
        """Read what the arms need. `dataset`: train and val, for the judges of healed images."""
        making, layers, records = options.making, Layers(generator, material.train), material.train.records
        kinds = {kind for arm in options.arms for kind in MADE[arm]}
        healed = Healed()
        if "layers" in kinds:
            layers.read(material.donors)
        if "healed" in kinds and material.healing:
            judges = judges_of(dataset, target.positive, layers.device)
            healed = healable(material.train, material.healing, generator, judges, making)
        donors = {i: records[i].label for i, load in layers.loads.items() if load >= making.least_load}
        negative = next(name for name in target.classes if name not in target.positive)
        prior = next((name for name in target.positive if prior_of(generator, name)), None)
        return Ingredients(material, making, layers, donors, healed.places, healed.refused, negative, prior)

    def recipes(self, arm: Arm, seed: int) -> list[Recipe]:
        """What an arm learns from beside the real images. Where it has layers and transplants, half of the layered images get
        the outside of another class or source: else a normal's outside would say "under a layer"."""
        records, making, kinds = self.material.train.records, self.making, MADE[arm]
        span, prior = (making.weakest, making.strongest), making.prior if self.prior else 0.0
        found: list[Recipe] = []
        if "layers" in kinds:
            found = layered(records, self.donors, self.material.bases, span=span, prior=prior, prior_label=self.prior, seed=seed)
        if "transplants" in kinds:
            found = [*exchanged(found, records, 0.5, seed), *transplanted(records, range(len(records)), seed)]
        if "healed" in kinds:
            found += [Recipe("healed", i, self.negative) for i in self.healed]
        return found


def prior_of(generator: Generator, label: str) -> bool:
    """Whether the generator has a prior for a class."""
    return canonical(label) in generator.labels or coarse(label) in generator.labels


def trained(target: ModuleTarget, given: Ingredients, arm: Arm, options: RepairOptions, *, seed: int) -> ModuleTarget:
    """One training of the target. An arm that has fewer images than another of `options.arms` sees them more often, so that all
    are trained for as long. Temperature and operating point are set on the validation images."""
    material, recipes = given.material, given.recipes(arm, seed)
    learned = Joined(material.train, Counterfactuals(material.train, given.layers, recipes)) if recipes else material.train
    kinds = ["real"] * len(material.train) + [recipe.kind for recipe in recipes]
    cells = [(kind, record.source, record.label) for kind, record in zip(kinds, learned.records, strict=True)]
    ranges = STRONG if arm == "classical" else options.head.ranges
    if options.depth == "head":
        most = len(material.train) + max(len(given.recipes(each, seed)) for each in options.arms)
        views = max(0, round((1 + options.head.views) * most / len(learned)) - 1)
        config = replace(options.head, seed=seed, views=views, ranges=ranges)
        found = fit_head(target, learned, material.val, material.task, config, weights=weights_of(cells))
    else:
        training = replace(options.training, seed=seed, device=str(device_of(target)))
        training = quiet(replace(training, ranges=STRONG) if arm == "classical" else training)
        found = between(target, _finetuned(target, learned, cells, material.task, training), options.share)
    objective = TargetObjective(found.network, Preparation(found.config), material.task)
    stored, _ = calibrated(found.config, found.network, objective, material.val)  # type: ignore[arg-type]
    point = with_operating_point(stored, ModuleTarget(found.network, stored, target.segmenter), material.val)  # type: ignore[arg-type]
    return ModuleTarget(found.network, point, target.segmenter).to(device_of(target))


def weights_of(cells: Sequence[Cell]) -> Tensor:
    """Weights (N,) of images by kind, source and class: kinds weigh the same, in one the pairs of source and class (a handful
    less), and then classes."""
    weights = torch.from_numpy(balanced(["/".join(cell) for cell in cells], SCARCE))
    for axis in (0, 2):
        names = [cell[axis] for cell in cells]
        totals = {name: float(sum(w for w, each in zip(weights.tolist(), names, strict=True) if each == name)) for name in names}
        weights = weights / torch.tensor([totals[name] for name in names])
    return weights / weights.mean()


def between(audited: ModuleTarget, trained: ModuleTarget, share: float) -> ModuleTarget:
    """A target whose weights lie `share` of the way from the audited to the trained ones; statistics of norms too."""
    network = copy.deepcopy(trained.network)
    old, new = audited.network.state_dict(), network.state_dict()
    mixed = {name: torch.lerp(old[name].to(v), v, share) if v.is_floating_point() else v for name, v in new.items()}
    network.load_state_dict(mixed)
    return ModuleTarget(network, trained.config, trained.segmenter)


def _finetuned(
    target: ModuleTarget, learned: Batches, cells: Sequence[Cell], task: Task, config: SupervisedTraining
) -> ModuleTarget:
    """Every weight trained further from those of the target."""
    network = copy.deepcopy(target.network).requires_grad_(True)
    keys, weights = ["/".join(cell) for cell in cells], weights_of(cells).tolist()
    shares: dict[str, float] = {}
    for key, weight in zip(keys, weights, strict=True):
        shares[key] = shares.get(key, 0.0) + weight
    trainer = SupervisedTrainer(
        TargetObjective(network, Preparation(target.config), replace(task, smoothing=0.05)), learned, keys, config, shares=shares
    )
    with tempfile.TemporaryDirectory() as folder, stream(config.seed):
        try:
            run(trainer, config, Path(folder))
        except Interrupted:
            raise KeyboardInterrupt from None  # nothing of it is kept
    stored = target.config.model_copy(update={"temperature": 1.0, "operating_point": 0.5})
    return ModuleTarget(trainer.averaged(), stored, target.segmenter)
