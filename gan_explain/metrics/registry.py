"""The registry of measures: what each is called, how it is aggregated and shown, and what computes it.

A module of this room (or anybody's) registers what it measures; `entry`, `entries` and `computations` know all of them. A measure
in JSON, CSV and tables goes by the text of its `Key`: NAME, NAME.VARIANT, NAME[OF] or NAME[OF].VARIANT, such as `rise`,
`rise.free`, `persistence[jpeg90].healed`, `kid[lite0].real`. Only this file reads such a text.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, TypeVar

import numpy as np
from torch import Tensor

from gan_explain.metrics.change import Change, Columns, Side
from gan_explain.metrics.measure import Measure, Statistic

TELLS = "Does the target tell the labels apart"
RESPONSE = "Response"
PLACES = "Lungs and outside"
BELIEF = "Can the counterfactual be believed"
READER = "What the generator reads and draws"
NULLS = "Nulls and controls"
AMOUNT = "How much changes, and how"
OTHER = "Other"
GROUPS = (TELLS, RESPONSE, PLACES, BELIEF, READER, NULLS, AMOUNT, OTHER)
STATISTICS: Mapping[str, Statistic] = {"mean": np.mean, "median": np.median, "max": np.max}
VARIANTS = {
    "free": "free map",
    "at_2": "λ = 2",
    "prior": "layers of the prior",
    "rises": "p rises",
    "healed": "positives, healed",
    "excess": "positive donors beyond negative ones",
    "positive": "positive donors",
    "negative": "negative donors",
    "agreed": "of those it calls negative",
    "pgd": "by adversarial noise",
    "minus_pgd": "beyond adversarial noise",
    "floor": "real against real",
    "with_healthy": "healthy ones too",
    "uncalibrated": "without its temperature",
}

Computed = TypeVar("Computed", bound=Callable[[Change], Any])


@dataclass(frozen=True)
class Entry:
    """One measure. label: what it is in a sentence; group: one of GROUPS; statistic: of the samples' numbers; better: where more,
    or less, is better for the target; of: what the parts in brackets are called. `raw`: a number of each sample that is no
    measure by itself."""

    name: str
    label: str
    group: str = OTHER
    statistic: Literal["mean", "median", "max"] = "mean"
    unit: str = ""
    better: Literal["higher", "lower"] | None = None
    of: Mapping[str, str] = field(default_factory=dict)
    raw: bool = False

    def __post_init__(self) -> None:
        if not self.name or set("[]") & set(self.name) or self.group not in GROUPS or self.statistic not in STATISTICS:
            raise ValueError(f"expected a measure with a plain name, a known group and statistic, got {self}")


@dataclass(frozen=True)
class Key:
    """What a number is of: a registered name; `of`: the judge, the extractor, the region, the class; `variant`: healed, free,
    ..."""

    name: str
    of: str = ""
    variant: str = ""

    def __str__(self) -> str:
        return self.name + (f"[{self.of}]" if self.of else "") + (f".{self.variant}" if self.variant else "")

    @classmethod
    def parse(cls, text: str) -> Key:
        """The key whose text this is; of a measure that nobody registered, a name alone."""
        head, bracket, rest = text.partition("[")
        if bracket and "]" in rest:
            of, _, variant = rest.rpartition("]")
            return cls(head, of, variant.removeprefix("."))
        parts = text.split(".")
        known = (end for end in range(len(parts), 0, -1) if ".".join(parts[:end]) in entries())
        end = next(known, len(parts))
        return cls(".".join(parts[:end]), variant=".".join(parts[end:]))

    @property
    def label(self) -> str:
        """What it is in a sentence; its text where nobody registered it."""
        found = entries().get(self.name)
        if found is None:
            return str(self)
        more = [found.of.get(self.of, self.of), *(VARIANTS.get(each, each) for each in self.variant.split("."))]
        rest = ", ".join(filter(None, more))
        return f"{found.label} ({rest})" if rest else found.label


@dataclass(frozen=True)
class Computation:
    """A function of a change, the sides that it is for, whether a quick audit takes it, and whether it is dear: for some only."""

    function: Callable[[Change], Columns]
    sides: tuple[Side, ...]
    quick: bool
    dear: bool


_entries: dict[str, Entry] = {}
_computations: dict[str, Computation] = {}


def register(*new: Entry) -> None:
    """Make measures known. ValueError for a name that is taken by another."""
    for each in new:
        if _entries.setdefault(each.name, each) != each:
            raise ValueError(f"a measure {each.name!r} is registered already: {_entries[each.name].label}")


def computes(
    *new: Entry, sides: tuple[Side, ...] = ("negative", "healed"), quick: bool = False, dear: bool = False
) -> Callable[[Computed], Computed]:
    """Register measures, and the function that takes them of a `Change`: `evaluate` and `audit` call it for these sides.

    It returns a number for each sample (N,), of a single measure, or `Columns`. NaN says that a sample has no value.
    """

    def add(function: Computed) -> Computed:
        register(*new)

        def columns(change: Change) -> Columns:
            found = function(change)
            return change.named({new[0].name: found}) if isinstance(found, Tensor) else found

        _computations[f"{function.__module__}.{function.__qualname__}"] = Computation(columns, sides, quick, dear)
        return function

    return add


def entries() -> Mapping[str, Entry]:
    """Every measure by name."""
    _load()
    return _entries


def computations(side: Side, *, quick: bool = False, dear: bool = False) -> list[Computation]:
    """What is computed of a side; with `quick` only what a quick audit takes."""
    _load()
    every = _computations.values()
    return [each for each in every if side in each.sides and each.dear == dear and (each.quick or not quick)]


def ordered(measures: Mapping[str, Measure]) -> dict[str, Measure]:
    """By group, then by name."""
    return {text: measures[text] for text in sorted(measures, key=place)}


def place(text: str) -> tuple[int, str, str, str]:
    """Where a text stands among others: by group, by name, by what it is of, by variant."""
    key = Key.parse(text)
    return GROUPS.index(group_of(text)), key.name, key.of, key.variant


def group_of(text: str) -> str:
    found = entries().get(Key.parse(text).name)
    return found.group if found else OTHER


def grouped(texts: Iterable[str]) -> dict[str, list[str]]:
    """Texts under the headings of GROUPS; empty headings are left out."""
    found: dict[str, list[str]] = {title: [] for title in GROUPS}
    for text in texts:
        found[group_of(text)].append(text)
    return {title: names for title, names in found.items() if names}


def statistic_of(text: str) -> Statistic | None:
    """The statistic of a column of samples; None for one that is no measure."""
    found = entries().get(Key.parse(text).name)
    return np.mean if found is None else None if found.raw else STATISTICS[found.statistic]


@cache
def _load() -> None:
    """Import every module of this room, so that all of them have registered."""
    package = sys.modules[__name__.rpartition(".")[0]]
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
