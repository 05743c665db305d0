"""Samples: one image each, who it is and its numbers; a table of them, and how it lies on disk, to the bit."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gan_explain.files.pseudonyms import Pseudonyms
from gan_explain.files.text import csv_text, plain
from gan_explain.metrics.measure import Measure, Statistic
from gan_explain.metrics.registry import place, statistic_of
from gan_explain.stats import Floats, spearman
from gan_explain.types import Record

TEXTS = ("path", "patient_id", "source", "label", "called")
BY = "by."  # prefix of columns of the manifest that a table takes along, as text
PLACE, RANK = "image", "patient"


@dataclass(frozen=True)
class Sample:
    """One image. place: in the dataset; rank: of the patient among the sorted ids, whatever name is shown; called: what the
    target made of it; by: columns of the manifest; values: its numbers, by the text of their `Key`."""

    record: Record
    place: int = 0
    rank: int = 0
    called: str = ""
    by: Mapping[str, str] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)

    def __getitem__(self, name: str) -> float:
        """A number, NaN where the sample has none of this name."""
        return self.values.get(name, math.nan)

    def named(self, names: Pseudonyms) -> Sample:
        """The same under public names."""
        record = self.record
        return replace(self, record=replace(record, path=names.image(record.path), patient_id=names.patient(record.patient_id)))


@dataclass(frozen=True)
class Table:
    """Samples and how to make measures of them: patients are resampled, over all and by source."""

    samples: Sequence[Sample]
    n_boot: int = 1000
    seed: int = 0

    @property
    def patients(self) -> list[str]:
        """By rank: resampling takes them in the order of their names, and no conclusion may depend on a salt."""
        return [f"{sample.rank:09d}" for sample in self.samples]

    @property
    def sources(self) -> list[str]:
        return [sample.record.source for sample in self.samples]

    def column(self, name: str) -> Floats:
        """(N,), NaN where a sample lacks it."""
        return np.array([sample[name] for sample in self.samples])

    def of(self, name: str, statistic: Statistic = np.mean) -> Measure:
        """A statistic of one column; values that are not finite are left out."""
        return Measure.over(
            self.column(name), self.patients, self.sources, statistic=statistic, n_boot=self.n_boot, seed=self.seed
        )

    def relation(self, first: str, second: str, of: Callable[[Floats, Floats], float] = spearman) -> Measure:
        """A statistic of two columns (Spearman's rho) over the samples that have both."""
        columns = self.column(first), self.column(second)
        return Measure.related(*columns, self.patients, self.sources, of=of, n_boot=self.n_boot, seed=self.seed)

    def measures(self) -> dict[str, Measure]:
        """A measure of every column that is one."""
        statistics = {name: statistic_of(name) for sample in self.samples for name in sample.values}
        return {name: self.of(name, statistic) for name, statistic in statistics.items() if statistic is not None}


def to_csv(samples: Sequence[Sample], *, ranks: bool = False) -> str:
    """A row for each sample; what is missing or not finite is empty. `ranks`: the patients' places too."""
    by = dict.fromkeys(name for sample in samples for name in sample.by)
    numbers = sorted({name for sample in samples for name in sample.values}, key=place)
    head = [*TEXTS, *(BY + name for name in by), PLACE, *([RANK] if ranks else []), *numbers]
    rows: list[list[object]] = [list(head)]
    for each in samples:
        texts = [each.record.path, each.record.patient_id, each.record.source, each.record.label, each.called]
        values = [each[name] if math.isfinite(each[name]) else None for name in numbers]
        rows.append([*texts, *(each.by.get(name, "") for name in by), each.place, *([each.rank] if ranks else []), *values])
    return csv_text(rows)


def from_csv(lines: Iterable[str]) -> list[Sample]:
    """What `to_csv` wrote. ValueError for a cell that is no number, KeyError for a column that is missing."""
    found = []
    for row in csv.DictReader(lines):
        named = {plain(name): text for name, text in row.items()}
        path, patient, source, label, called = (plain(named.pop(name)) for name in TEXTS)
        by = {name.removeprefix(BY): plain(named.pop(name)) for name in list(named) if name.startswith(BY)}
        at, rank = int(named.pop(PLACE)), int(named.pop(RANK, "0"))
        values = {name: float(text) if text else math.nan for name, text in named.items()}
        found.append(Sample(Record(path, label, patient, "", source), at, rank, called, by, values))
    return found
