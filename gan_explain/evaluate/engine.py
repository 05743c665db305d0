"""The engine: samples stream by in batches, are asked what several sets of measures want to know, and are forgotten.

A set is a function of an `Examined` batch. What several sets need (the counterfactuals, their curves) is made once. Random
numbers follow from names, so what comes out for a batch does not depend on the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from gan_explain.counterfactual import disentangle, laid
from gan_explain.data import Batch, Dataset
from gan_explain.evaluate.donors import PatientLayers
from gan_explain.evaluate.features import Features, judge_features
from gan_explain.evaluate.gathered import Gathered
from gan_explain.evaluate.inputs import is_positive, read_batch
from gan_explain.evaluate.samples import Sample
from gan_explain.metrics.change import Change, Columns, Models, Part, Settings, Side
from gan_explain.metrics.inputs import ask, seed_of
from gan_explain.metrics.nulls import shuffled_target
from gan_explain.pixels import quantize16
from gan_explain.targets import ModuleTarget

SOME = 32  # patients on whom dear measures are taken


@dataclass(frozen=True)
class Engine:
    """What every batch is examined with. donors: layers of real patients, for negatives; ranks: of patients among the sorted ids;
    quick: only what a quick audit takes; some: the share of patients on whom dear measures are taken, `some_draw` draws them."""

    models: Models
    settings: Settings
    sets: Sequence[MeasureSet]
    donors: PatientLayers | None
    ranks: Mapping[str, int]
    quick: bool = False
    some: float = 1.0
    some_draw: str = ""

    def among(self, patient: str, share: float, draw: str) -> bool:
        """Whether a patient belongs to a share of them, by name alone."""
        return seed_of(patient + draw, self.settings.seed) < share * 2**63

    def examine(self, batch: Batch, places: Sequence[int]) -> Gathered:
        """The images of a batch; `places` are theirs in the dataset."""
        examined = Examined(self, read_part(self.models, batch), list(places))
        for measure in self.sets:
            measure(examined)
        return examined.found

    def stream(self, dataset: Dataset, groups: Iterable[Sequence[int]], gathered: Gathered) -> Gathered:
        """Examine the images at these places, a group at a time; `gathered` takes in what is kept of them."""
        for places in groups:
            batch = read_batch(dataset, places, self.models.segmenter, self.models.device)
            gathered.add(self.examine(batch, places))
        return gathered.ordered()


def prepare(
    models: Models, dataset: Dataset, settings: Settings, sets: Sequence[MeasureSet], *, quick: bool = False, some_draw: str = ""
) -> Engine:
    """An engine for a dataset, whose positives give their layers. What the models leave out is filled in where it can be: the
    null target, and features for realism, those of the first judge."""
    donors, target, generator = None, models.target, models.generator
    if target is not None and generator is not None:
        donors = PatientLayers(generator, dataset, target, models.segmenter, settings.seed)
        shuffled = shuffled_target(target, settings.seed) if isinstance(target, ModuleTarget) and not quick else None
        extractor = None if quick else models.extractor or judge_features(models.judges)
        models = replace(models, shuffled=shuffled, extractor=extractor)
        settings = replace(settings, label=settings.label or generator.labels[0])
    patients = sorted({record.patient_id for record in dataset.records})
    ranks = {patient: rank for rank, patient in enumerate(patients)}
    return Engine(models, settings, sets, donors, ranks, quick, SOME / max(1, len(patients)), some_draw)


def read_part(models: Models, batch: Batch) -> Part:
    """Every sample of a batch, taken apart into layer and structure, and asked of the target."""
    count, images = len(batch), batch.images
    p = torch.full((count,), torch.nan) if models.target is None else ask(models.target, images, batch.lungs)
    if models.generator is None:
        return Part(batch, torch.arange(count), images, batch.lungs, torch.zeros_like(images), images, p)
    found = disentangle(models.generator, images, batch.lungs)
    return Part(batch, torch.arange(count), found.image, batch.lungs, found.layer, found.structure, p)


@dataclass
class Examined:
    """One batch under examination, and what is kept of it."""

    engine: Engine
    part: Part
    places: list[int]
    found: Gathered = field(default_factory=Gathered)

    def __post_init__(self) -> None:
        records, ranks = self.part.batch.records, self.engine.ranks
        self.found.samples = [
            Sample(r, place, ranks[r.patient_id], self.calls[i])
            for i, (r, place) in enumerate(zip(records, self.places, strict=True))
        ]

    def write(self, part: Part, columns: Columns) -> None:
        """Note columns of a part, one number a sample."""
        for name, values in columns.items():
            for row, value in zip(part.rows.tolist(), values.float().cpu().tolist(), strict=True):
                self.found.samples[row].values[name] = value

    def keep_curve(self, name: str, part: Part, p: Tensor) -> None:
        """Note curves (N, L) of a part."""
        kept = self.found.curves.setdefault(name, {})
        for row, values in zip(part.rows.tolist(), p.double().tolist(), strict=True):
            kept[self.places[row]] = tuple(values)

    @property
    def features(self) -> Features:
        return self.found.features.setdefault(self.places[0], Features())

    @property
    def calls(self) -> list[str]:
        """What the target makes of each sample: negative or positive, nothing without a target."""
        if self.engine.models.target is None:
            return [""] * len(self.part)
        return [("negative", "positive")[called] for called in self.called.tolist()]

    @cached_property
    def called(self) -> Tensor:
        """(N,) bool."""
        return self.part.p >= self.engine.models.asked.operating_point

    @cached_property
    def truth(self) -> Tensor:
        """Whether the label is in the positive set: (N,) bool."""
        return torch.tensor([is_positive(record, self.engine.models.asked) for record in self.part.batch.records])

    @cached_property
    def clean(self) -> Part:
        """Negatives that are called so."""
        return self.part.where(~self.called & ~self.truth)

    @cached_property
    def negative(self) -> Change:
        """Negatives under the layers of real patients, those for whom there is one."""
        assert self.engine.donors is not None
        donors, negatives = self.engine.donors, self.part.where(~self.called)
        records = [self.part.batch.records[i] for i in negatives.rows]
        given = negatives.where(torch.tensor([donors.has(record) for record in records], dtype=torch.bool))
        return self._under("negative", given, donors.moved([self.part.batch.records[i] for i in given.rows], given.lungs))

    @cached_property
    def free(self) -> Change | None:
        """Negatives under the map that was trained against the target, where there is one."""
        free, negatives = self.engine.models.free, self.part.where(~self.called)
        if free is None or not len(negatives):
            return None
        with torch.no_grad():
            return self._under("free", negatives, free.layer(negatives.images))

    @cached_property
    def healed(self) -> Change:
        """Positives with what was read on them taken off."""
        part = self.part.where(self.called)
        made = quantize16(part.structure)
        return Change(self.engine.models, self.engine.settings, "healed", part, part.structure, part.layer, made)

    def _under(self, side: Side, part: Part, tau: Tensor) -> Change:
        made = laid(part.images, tau)
        return Change(self.engine.models, self.engine.settings, side, part, part.images, tau, made)


MeasureSet = Callable[[Examined], None]
