"""What is to be made of the training images: one recipe an image, drawn by seed and name. Nothing is read here.

layers       a normal under the layer of a real patient of any source, or of the prior: of the donor's class
transplants  the outside of the lungs of an image of another class or source: the label stays with the lungs
healed       a positive with its layer taken off: normal
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from gan_explain.labels import NORMAL
from gan_explain.metrics.inputs import seed_of
from gan_explain.types import Record

Kind = Literal["layers", "transplants", "healed"]
KINDS: tuple[Kind, ...] = ("layers", "transplants", "healed")
NONE = -1


@dataclass(frozen=True)
class Recipe:
    """How one image is made. base, donor (of a layer), outside: places among the training images, NONE for none; a layer without
    a donor is of the prior for `label`; label: what the image is taught as."""

    kind: Kind
    base: int
    label: str
    donor: int = NONE
    outside: int = NONE
    strength: float = 1.0
    seed: int = 0


def layered(
    records: Sequence[Record],
    donors: Mapping[int, str],
    bases: Sequence[int],
    *,
    span: tuple[float, float],
    prior: float,
    prior_label: str | None,
    seed: int,
) -> list[Recipe]:
    """Each of `bases` under one layer, its strength even in `span`. `donors`: places of images that have a layer, with their
    class; a source is drawn first, then a donor, never of the same patient. A share `prior` is of the prior for `prior_label`,
    all of them where there is no donor; none of these where that is None."""
    by_source: dict[str, list[int]] = {}
    for i in donors:
        by_source.setdefault(records[i].source, []).append(i)
    found = []
    for base in bases:
        record, random = records[base], _random(records[base], "layers", seed)
        strength, drawn = float(random.uniform(*span)), bool(random.random() < prior)
        others = {s: [i for i in of if records[i].patient_id != record.patient_id] for s, of in sorted(by_source.items())}
        sources = [source for source, of in others.items() if of]
        donor = NONE
        if sources:
            among = others[sources[random.integers(len(sources))]]
            donor = among[random.integers(len(among))]
        if prior_label is not None and (drawn or donor == NONE):
            found.append(Recipe("layers", base, prior_label, strength=strength, seed=int(random.integers(2**31))))
        elif donor != NONE:
            found.append(Recipe("layers", base, donors[donor], donor, strength=strength))
    return found


def transplanted(records: Sequence[Record], places: Sequence[int], seed: int) -> list[Recipe]:
    """Each image with the outside of one of another class or source: the pair of both is drawn first, each as often, then an
    image of another patient."""
    return [
        Recipe("transplants", i, records[i].label, outside=outside)
        for i, outside in zip(places, _partners(records, places, "transplants", seed), strict=True)
        if outside != NONE
    ]


def exchanged(recipes: Sequence[Recipe], records: Sequence[Record], share: float, seed: int) -> list[Recipe]:
    """A share of the recipes with the outside of another class or source than their base's, as in `transplanted`."""
    outsides = _partners(records, [recipe.base for recipe in recipes], "layers outside", seed)
    chosen = [_random(records[recipe.base], "exchanged", seed).random() < share for recipe in recipes]
    return [
        replace(recipe, outside=outside) if yes else recipe
        for recipe, outside, yes in zip(recipes, outsides, chosen, strict=True)
    ]


def normals(records: Sequence[Record], positive: Callable[[Record], bool]) -> list[int]:
    """Places of the normal images; of all that are not positive where none is called normal."""
    found = [i for i, record in enumerate(records) if record.label == NORMAL]
    return found or [i for i, record in enumerate(records) if not positive(record)]


def some(records: Sequence[Record], places: Sequence[int], most: int, seed: int) -> list[int]:
    """At most `most` of the places from each source, drawn by name, in their order."""
    kept: list[int] = []
    for source in sorted({records[i].source for i in places}):
        of = [i for i in places if records[i].source == source]
        kept += sorted(of, key=lambda i: seed_of(f"{records[i].path} drawn for repair", seed))[:most]
    return sorted(kept)


def cell(record: Record) -> tuple[str, str]:
    """What transplants exchange outsides between: source and class."""
    return record.source, record.label


def _partners(records: Sequence[Record], places: Sequence[int], purpose: str, seed: int) -> list[int]:
    """For each of the places an image of another cell and patient, NONE where there is none."""
    cells: dict[tuple[str, str], list[int]] = {}
    for i, record in enumerate(records):
        cells.setdefault(cell(record), []).append(i)
    found = []
    for place in places:
        record, random = records[place], _random(records[place], purpose, seed)
        others = [name for name in sorted(cells) if name != cell(record)]
        outside = NONE
        if others:
            among = [i for i in cells[others[random.integers(len(others))]] if records[i].patient_id != record.patient_id]
            outside = among[random.integers(len(among))] if among else NONE
        found.append(outside)
    return found


def _random(record: Record, purpose: str, seed: int) -> np.random.Generator:
    """Random numbers that stay with an image."""
    return np.random.default_rng(seed_of(f"{record.patient_id} {record.path} repair {purpose}", seed))
