"""Every heat-map method on the same images, by the same measures: does it point where the evidence is, and is it the target's?

Images are positives: with a lesion mask where the dataset has them (the phantom), else with lungs (a human's mask where there is
one, else the segmenter's). Right or wrong calls count alike; each row says what the target answered.

    pointing, iou, mass       against the mask; of a signed map the positive part counts
    deletion, insertion, road what the target answers as pixels go in the order of the map; signed maps as they are
    likeness, ssim, changed   between the map and that of the same network with its weights drawn anew
    ms                        of one image, in batches

What differs between methods is the map alone: order of ties, noise and baseline belong to the image. Two maps
that no method made stand beside them: noise, which says nothing, and the mask itself.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from gan_explain.attribution import METHODS, Method, MethodOptions
from gan_explain.data import Dataset
from gan_explain.evaluate.inputs import is_positive, limited
from gan_explain.metrics.deletion import deletion_auc, insertion_auc, ranks
from gan_explain.metrics.inputs import ask, seed_of
from gan_explain.metrics.pointing import iou_equal_area, pointing_game, relevance_mass
from gan_explain.metrics.road import road
from gan_explain.metrics.sanity import reinitialised, sameness
from gan_explain.pixels import gaussian_blur
from gan_explain.targets import ModuleTarget, device_of
from gan_explain.types import DataError, Record, Segmenter, Target, TargetError

BASELINES = ("blurred", "mean", "negatives")
BLUR = 1 / 16  # standard deviation of a blurred baseline, of the side of an image
NEGATIVES = 256  # training images that a baseline of negatives is the mean of, at most
REFERENCES = ("noise", "mask")
Made = tuple[Tensor, Tensor | None, float]  # a map (N, 1, H, W), the same of the untrained network, seconds
Baseline = Callable[[Tensor, Tensor], Tensor]  # images, lungs (N, 1, H, W) -> what stands where a pixel is deleted


@dataclass(frozen=True)
class Asked:
    """Positives that every method is asked about. images, lungs (what the target and the methods are given) and masks (what their
    maps are held against) (N, 1, H, W); p (N,) of the positive set; `kinds` (N,) says whose mask it is."""

    images: Tensor
    lungs: Tensor
    masks: Tensor
    p: Tensor
    kinds: tuple[str, ...]
    records: tuple[Record, ...]

    def __len__(self) -> int:
        return len(self.records)


@dataclass(frozen=True)
class Row:
    """One map of one image, measured; NaN where a measure has no value. `p_baseline`: p of the image with every pixel deleted."""

    target: str
    method: str
    path: str
    patient_id: str
    source: str
    label: str
    mask: str
    p: float
    called: str
    p_baseline: float
    pointing: float
    iou: float
    mass: float
    deletion: float
    insertion: float
    road: float
    likeness: float
    ssim: float
    changed: float
    ms: float

    def as_dict(self) -> dict[str, str | float | None]:
        """As JSON: NaN is null."""
        return {name: None if value != value else value for name, value in asdict(self).items()}


def positives(dataset: Dataset, target: Target, limit: int | None, seed: int) -> Dataset:
    """The images that are asked about: those whose label is in the target's positive set, of them at most `limit`, drawn by seed;
    where the dataset has lesion masks, those with a lesion. DataError where there is none."""
    found = dataset.where(lambda record: is_positive(record, target))
    if len(found) and found[0]["has_lesion"]:
        with_lesion = {found.records[i].path for i in range(len(found)) if found[i]["lesion"].any()}
        found = found.where(lambda record: record.path in with_lesion)
    if not len(found):
        raise DataError(f"{dataset.root}: expected images of {' or '.join(target.positive)}, with a mask; got none")
    return limited(found, limit, seed)


def questions(dataset: Dataset, target: Target, segmenter: Segmenter, batch_size: int) -> Iterator[Asked]:
    """Batches of `positives`, in order, on the target's device. The lungs are the segmenter's, read once."""
    device = device_of(target)
    for start in range(0, len(dataset), batch_size):
        batch = dataset.batch(range(start, min(start + batch_size, len(dataset))))
        images = batch.images.to(device)
        lungs = segmenter(images).to(images)
        if batch.lesion is not None:
            masks, kinds = batch.lesion.to(images), ("lesion",) * len(batch)
        else:
            human = batch.has_lungs.tolist()
            masks = torch.where(batch.has_lungs.to(device).view(-1, 1, 1, 1), batch.lungs.to(images), lungs)
            kinds = tuple("lungs, by hand" if known else "lungs, segmented" for known in human)
        yield Asked(images, lungs, masks, ask(target, images, lungs), kinds, batch.records)


def usable(
    names: Sequence[str], options: MethodOptions, target: Target, asked: Asked
) -> tuple[dict[str, Method], dict[str, str]]:
    """The methods that have a map of a target, by name, and the reasons of those that do not: they raise a TargetError for it, or
    need a generator and there is none. One image is tried, which also warms them up."""
    found, reasons = dict[str, Method](), dict[str, str]()
    for name in names:
        try:
            method = METHODS[name].of(options)
            if method.uses_generator and options.generator is None:
                raise TargetError("needs a generator, and none was given")
            method.attribute(asked.images[:1], target, asked.lungs[:1])
        except TargetError as error:
            reasons[name] = str(error)
        else:
            found[name] = method
    return found, reasons


def baseline_of(name: str, target: Target, dataset: Dataset) -> Baseline:
    """What a deleted pixel becomes.

    blurred: the image under a Gaussian of 1/16 of its side; mean: the image's mean over what the target sees (the lungs, for a
    lungs-only one); negatives: the mean of the training negatives (of `dataset`, at most 256 of them, evenly among them).
    """
    if name == "blurred":
        return lambda images, lungs: gaussian_blur(images, BLUR * images.shape[-1])
    if name == "mean":
        return lambda images, lungs: _mean(images, lungs if target.uses_lungs else torch.ones_like(lungs))
    if name != "negatives":
        raise ValueError(f"expected a baseline of {', '.join(BASELINES)}, got {name!r}")
    negatives = dataset.split("train").where(lambda record: not is_positive(record, target))
    if not len(negatives):
        raise DataError(f"{dataset.root}: expected negatives in the training split for their mean, got none")
    step = math.ceil(len(negatives) / NEGATIVES)
    mean = torch.stack([negatives[i]["image"] for i in range(0, len(negatives), step)]).mean(0, keepdim=True)
    return lambda images, lungs: mean.to(images).expand_as(images)


def _mean(images: Tensor, seen: Tensor) -> Tensor:
    area = seen.sum((2, 3), keepdim=True)
    inside = (images * seen).sum((2, 3), keepdim=True) / area.clamp(min=1)
    return torch.where(area > 0, inside, images.mean((2, 3), keepdim=True)).expand_as(images)


def explained(
    methods: Mapping[str, Method],
    target: Target,
    batches: Iterator[Asked],
    baseline: Baseline,
    *,
    name: str = "target",
    steps: int = 50,
    seed: int = 0,
) -> Iterator[Row]:
    """A row for every image and map, as they come: of the methods, then of REFERENCES. `name` is what the rows call the target;
    `steps` of deletion and insertion."""
    fresh = reinitialised(target, torch.Generator().manual_seed(seed)) if isinstance(target, ModuleTarget) else None
    for asked in batches:
        stand_in = baseline(asked.images, asked.lungs)
        p_baseline = ask(target, stand_in, asked.lungs)
        maps = {each: _made(method, target, fresh, asked) for each, method in methods.items()}
        for each, (heat, other, seconds) in {**maps, **_references(asked, seed)}.items():
            columns = {
                "p_baseline": p_baseline,
                **_located(heat, asked.masks),
                **_faithful(target, asked, heat, stand_in, steps, seed),
                **_randomised(heat, other),
                "ms": torch.full((len(asked),), 1000 * seconds / len(asked)),
            }
            for i, record in enumerate(asked.records):
                numbers = {column: float(values[i]) for column, values in columns.items()}
                p = float(asked.p[i])
                called = "positive" if p >= target.operating_point else "negative"
                yield Row(
                    target=name, method=each, path=record.path, patient_id=record.patient_id, source=record.source,
                    label=record.label, mask=asked.kinds[i], p=p, called=called, **numbers,
                )  # fmt: skip


def _made(method: Method, target: Target, fresh: Target | None, asked: Asked) -> Made:
    """A method's map, that of the untrained network (None for a target whose weights are out of reach), and seconds."""
    started = time.perf_counter()
    heat = method.attribute(asked.images, target, asked.lungs)
    if heat.device.type == "cuda":
        torch.cuda.synchronize(heat.device)
    seconds = time.perf_counter() - started
    return heat, None if fresh is None else method.attribute(asked.images, fresh, asked.lungs), seconds


def _references(asked: Asked, seed: int) -> dict[str, Made]:
    """What no method made: noise, drawn by image, and the mask itself."""
    generators = [torch.Generator().manual_seed(seed_of(f"{record.path} noise", seed)) for record in asked.records]
    noise = torch.stack([torch.rand(asked.images.shape[1:], generator=each) for each in generators]).to(asked.images)
    return {"noise": (noise, None, math.nan), "mask": (asked.masks, None, math.nan)}


def _located(heat: Tensor, masks: Tensor) -> dict[str, Tensor]:
    positive = heat.clamp(min=0)
    return {
        "pointing": pointing_game(positive, masks).float(),
        "iou": iou_equal_area(positive, masks),
        "mass": relevance_mass(positive, masks),
    }


def _faithful(target: Target, asked: Asked, heat: Tensor, stand_in: Tensor, steps: int, seed: int) -> dict[str, Tensor]:
    seeds = [seed_of(record.path, seed) for record in asked.records]
    rank = ranks(heat, seeds)
    return {
        "deletion": deletion_auc(target, asked.images, rank, stand_in, asked.lungs, steps),
        "insertion": insertion_auc(target, asked.images, rank, stand_in, asked.lungs, steps),
        "road": road(target, asked.images, rank, seeds, asked.lungs).score,
    }


def _randomised(heat: Tensor, other: Tensor | None) -> dict[str, Tensor]:
    if other is None:
        return dict.fromkeys(("likeness", "ssim", "changed"), torch.full((len(heat),), math.nan))
    found = sameness(heat, other)
    return {"likeness": found.spearman, "ssim": found.ssim, "changed": found.changed}
