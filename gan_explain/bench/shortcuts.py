"""Does the shortcut score find shortcuts? CNNs are trained with a marker planted in their data, and without; one audit for all.

The score is the excess of the transplanted outside (`metrics.transplant`): no generator is trained, nothing is known of the CNN.
All are audited on the same held-out images, with markers in most positives and a few negatives: what differs is the CNN alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from gan_explain.audit.control import excesses
from gan_explain.data import Dataset, belongs
from gan_explain.data.augment import Ranges
from gan_explain.data.marker import planted
from gan_explain.evaluate.inputs import seed_of
from gan_explain.metrics.measure import Measure
from gan_explain.stats import auroc
from gan_explain.train.masks import MaskedDataset
from gan_explain.train.options import TargetOptions
from gan_explain.train.supervised import SupervisedTraining
from gan_explain.train.target import predict, train_target
from gan_explain.types import Record, Segmenter

BY_CHANCE = 0.05  # of the negatives that have a marker
AUDITED = 0.8  # of the positives that have a marker in the images of the audit
PLACES = ("outside", "corners", "border", "text")
STILL = Ranges(
    rotate=2.0, scale=0.02, shift=0.01, blur=0.5
)  # augmentation that leaves a letter in a corner where it was, and legible


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
    batch_size: int = 16,
    donors: int = 8,
    limit: int = 60,
    arch: str = "small",
) -> Iterator[Audited]:
    """Train and audit one CNN after the other, on the splits train and val, and on at most `limit` negatives of test."""
    test = dataset.split("test")
    marked = planted(test, _among(positive), AUDITED, BY_CHANCE, seed=1)
    for case in chosen:
        data = planted(dataset, _among(positive), case.positive, case.negative, seed=100 + case.seed)
        options = TargetOptions(arch=arch, size=dataset.size, positive=positive)
        training = SupervisedTraining(
            steps=steps, batch_size=batch_size, seed=case.seed, ranges=STILL, save_every=steps + 1, log_every=steps
        )
        with tempfile.TemporaryDirectory() as folder:
            target = train_target(data, None, Path(folder), options, training)
        p, truth = predict(target, MaskedDataset(test, None))
        only = tuple(f"transplant.{name}" for name in PLACES)
        found = excesses(target, marked, segmenter, only, donors=donors, limit=limit, seed=0)
        yield Audited(case, auroc(p.numpy(), truth.numpy()), {name: found[f"transplant.{name}"] for name in PLACES})


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
