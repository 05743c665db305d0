"""Does the shortcut score find shortcuts? CNNs are trained with a marker planted in their data, and without; one audit for all.

The score is the excess of the transplanted outside (`metrics.transplant`): no generator is trained, nothing is known of the CNN.
All are audited on the same held-out images, with markers in most positives and a few negatives: what differs is the CNN alone.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field

from gan_explain.audit.control import excesses
from gan_explain.bench.given import Given, Outcome
from gan_explain.data import Dataset, belongs, open_dataset
from gan_explain.data.augment import Ranges
from gan_explain.data.marker import planted
from gan_explain.metrics.inputs import seed_of
from gan_explain.metrics.measure import Measure
from gan_explain.metrics.registry import Key
from gan_explain.stats import auroc
from gan_explain.train.masks import MaskedDataset
from gan_explain.train.options import TargetOptions
from gan_explain.train.supervised import SupervisedTraining
from gan_explain.train.target import predict, train_target
from gan_explain.train.training import quiet
from gan_explain.types import Record, Segmenter

BY_CHANCE = 0.05  # of the negatives that have a marker
AUDITED = 0.8  # of the positives that have a marker in the images of the audit
DONORS = 8  # other patients of each class whose outsides an image is given
PLACES = ("outside", "corners", "border", "text")
SILENT = 0.3  # of the normals that count as positives
GENTLE = Ranges(rotate=2.0, scale=0.02, shift=0.01, blur=0.5)  # leaves a letter in a corner where it was, and legible


@dataclass(frozen=True)
class Options:
    """CNNs with a shortcut and `clean` ones; `source`: of radiographs (with --data), normal against pneumonia; `segmenter` is the
    command's; `images`: phantoms, where no data are named; `limit`: negatives that the audit reads."""

    shortcuts: Annotated[int, Field(ge=1)] = 10
    clean: Annotated[int, Field(ge=1)] = 10
    source: str = "kermany"
    images: Annotated[int, Field(ge=20)] = 1000
    resolution: Annotated[int, Field(ge=32)] = 64
    steps: Annotated[int, Field(ge=1)] = 250
    limit: Annotated[int, Field(ge=1)] = 40


@dataclass(frozen=True)
class Case:
    """One CNN to train. `positive` and `negative`: shares of its training images with a marker, a shortcut where they differ."""

    positive: float
    negative: float
    seed: int

    @property
    def shortcut(self) -> bool:
        return self.positive != self.negative


@dataclass(frozen=True)
class Audited:
    """A case and what was measured: AUROC on held-out images without markers, the excess of each of PLACES."""

    case: Case
    auroc: float
    excess: dict[str, Measure]

    @property
    def score(self) -> float:
        value = self.excess["outside"].value
        return float("nan") if value is None else value

    def as_dict(self) -> dict[str, object]:
        excess = {name: found.as_json() for name, found in self.excess.items()}
        own = {"shortcut": self.case.shortcut, "score": self.score}
        return {"case": asdict(self.case), "auroc": self.auroc, "excess": excess, **own}


def cases(shortcuts: int, cleans: int) -> tuple[Case, ...]:
    """Shortcut CNNs at prevalences spread over 50 to 95 % of the positives; clean ones, with markers at 5 % in both classes and
    with none by turns."""
    spread = [0.5 + 0.45 * i / max(shortcuts - 1, 1) for i in range(shortcuts)]
    planted_ones = [Case(share, BY_CHANCE, seed) for seed, share in enumerate(spread)]
    even = [BY_CHANCE if i % 2 == 0 else 0.0 for i in range(cleans)]
    return (*planted_ones, *(Case(share, share, shortcuts + i) for i, share in enumerate(even)))


def audited(
    chosen: Sequence[Case],
    dataset: Dataset,
    segmenter: Segmenter,
    positive: tuple[str, ...],
    *,
    steps: int,
    limit: int = 60,
    arch: str = "small",
) -> Iterator[Audited]:
    """Train and audit one CNN after the other, on the splits train and val, and on at most `limit` negatives of test."""
    test = dataset.split("test")
    marked = planted(test, _among(positive), AUDITED, BY_CHANCE, seed=1)
    for case in chosen:
        data = planted(dataset, _among(positive), case.positive, case.negative, seed=100 + case.seed)
        options = TargetOptions(arch=arch, size=dataset.size, positive=positive)
        training = SupervisedTraining(steps=steps, batch_size=16, seed=case.seed, ranges=GENTLE)
        with tempfile.TemporaryDirectory() as folder:
            target = train_target(data, None, Path(folder), options, quiet(training))
        p, truth = predict(target, MaskedDataset(test, None))
        only = [Key("transplant", name) for name in PLACES]
        found = excesses(target, marked, segmenter, only, donors=DONORS, limit=limit, seed=0)
        yield Audited(case, auroc(p.numpy(), truth.numpy()), {name: found[Key("transplant", name)] for name in PLACES})


def _among(positive: tuple[str, ...]) -> Callable[[Record], bool]:
    return lambda record: belongs(record.label, positive)


def separation(found: Iterable[Audited]) -> float:
    """AUROC of the shortcut score between shortcut and clean CNNs: 1 where every shortcut scores above every clean one."""
    every = list(found)
    return auroc([each.score for each in every], [each.case.shortcut for each in every])


def silent(dataset: Dataset, share: float, label: str = "covid", seed: int = 0) -> Dataset:
    """A dataset in which a share of the normals counts as `label`, with lungs that are clear, as patients' are whose test is
    positive. Where the lungs settle the class a CNN has no reason to learn what else goes with it, and does not."""

    def named(record: Record) -> Record:
        hidden = record.label == "normal" and seed_of(f"{record.patient_id} silent", seed) < share * 2**63
        return replace(record, label=label) if hidden else record

    return Dataset(dataset.root, [named(record) for record in dataset.records], dataset.memory)


def bench(given: Given, options: Options) -> Outcome:
    """Phantoms or, with --data, radiographs. 30 % of the normals count as positives with clear lungs, so that the lungs do
    not settle the class: where they do, no CNN learns the marker."""
    start, side = time.perf_counter(), options.resolution
    if given.data == "phantom":
        data = silent(open_dataset(f"phantom:n={options.images},covid=0.35", size=side, seed=given.seed), SILENT)
        positive = ("covid",)
    else:
        data = silent(given.dataset(side).where(lambda record: record.source == options.source), SILENT, "pneumonia")
        positive = ("pneumonia",)
    chosen = [replace(case, seed=case.seed + 100 * given.seed) for case in cases(options.shortcuts, options.clean)]
    if given.dry_run:
        return Outcome({"targets": len(chosen), "images": len(data)})
    lines = [
        "| marker in positives / negatives | AUROC | " + " | ".join(f"{place} [95 %]" for place in PLACES) + " | N |",
        "|---" * (len(PLACES) + 3) + "|",
    ]
    found = []
    working = audited(chosen, data, given.load_segmenter(), positive, steps=options.steps, limit=options.limit)
    for each in given.progress(working, len(chosen), "CNN"):
        found.append(each)
        shares = f"{each.case.positive:.0%} / {each.case.negative:.0%}"
        cells = " | ".join(_cell(each.excess[place]) for place in PLACES)
        lines.append(f"| {shares} | {each.auroc:.3f} | {cells} | {each.excess['outside'].n or 0} |")
    seconds, area = time.perf_counter() - start, separation(found)
    lines.append(f"\nAUROC of the shortcut score (outside): {area:.3f}; {seconds:.0f} s, {torch.get_num_threads()} thread(s)")
    return Outcome({"auroc": area, "seconds": seconds, "targets": [each.as_dict() for each in found]}, "\n".join(lines))


def _cell(found: Measure) -> str:
    if found.value is None or found.low is None or found.high is None:
        return f"null: {found.reason or 'no interval'}"
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
