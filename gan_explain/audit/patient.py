"""One patient under audit: everything that is measured of their images, as one batch, whatever else is audited."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import torch
from torch import Tensor

from gan_explain.audit.donors import Donors
from gan_explain.audit.pictures import on_grid
from gan_explain.audit.report.page import Picture
from gan_explain.audit.setup import FreeLayer, Plan
from gan_explain.data import Batch
from gan_explain.evaluate.features import Extractor, Features
from gan_explain.evaluate.inputs import ask, is_positive, seed_of
from gan_explain.evaluate.planted import Columns, answers_to_doses, dosed, is_healthy, rendered
from gan_explain.evaluate.samples import causes, logits_along, shape_of_curves
from gan_explain.evaluate.setup import Change, Part, Setup, from_patients, healed, read_part, under
from gan_explain.evaluate.sides import (
    asked_rows,
    briefly_of_negatives,
    briefly_of_positives,
    of_negatives,
    of_positives,
    of_some_negatives,
    write,
)
from gan_explain.evaluate.table import BY, Row
from gan_explain.metrics.causal import region_effects
from gan_explain.metrics.flip import flips
from gan_explain.metrics.nulls import ConstantTarget
from gan_explain.metrics.transplant import effects, regions
from gan_explain.types import Record, Target

FREE = ".free"
OUTSIDE = ("outside", "corners", "border")
PERSON = ("source", "label")  # columns of a record that are not among its further ones


@dataclass
class Found:
    """What is kept of one patient: rows of numbers, one an image; curves by name of the images, by their place in the dataset;
    features for realism; pictures for the report."""

    rows: list[Row] = field(default_factory=list)
    curves: dict[str, dict[int, tuple[float, ...]]] = field(default_factory=dict)
    features: Features = field(default_factory=Features)
    pictures: list[Picture] = field(default_factory=list)


@dataclass(frozen=True)
class Examiner:
    """What every patient is examined with. `some` and `many`: shares of patients on whom dear measures and transplants are
    taken; a patient is among them, or not, by name alone."""

    setup: Setup
    free: FreeLayer | None
    donors: Donors
    extractor: Extractor | None
    plan: Plan
    some: float
    many: float

    def among(self, patient: str, share: float, purpose: str) -> bool:
        return seed_of(f"{patient} {purpose}", self.plan.seed) < share * 2**63

    def examine(self, batch: Batch, places: list[int]) -> Found:
        """All images of one patient; `places` are theirs in the dataset."""
        setup = self.setup
        part = read_part(setup.generator, batch, ask(setup.target, batch.images, batch.lungs))
        called = part.p >= setup.target.operating_point
        truth = torch.tensor([is_positive(record, setup.target) for record in batch.records])
        found = Found(asked_rows(part, called))
        for row, place, record in zip(found.rows, places, batch.records, strict=True):
            row["image"] = float(place)
            row.update({f"{BY}{name}": _column(record, name) for name in self.plan.by})
        for name, judge in setup.judges.items():
            write(found.rows, part, {f"judge.{name}.p": ask(judge, part.images, part.lungs)})
        negatives, positives, clean = part.where(~called), part.where(called), part.where(~called & ~truth)
        given = negatives.with_donors(setup.donors)
        if len(given):
            self._negatives(found, given, places)
        if len(negatives) and self.free is not None:
            self._freely(found, negatives, places, self.free)
        if len(positives):
            self._positives(found, positives, places)
        if len(clean):
            self._clean(found, clean, places)
        if not self.plan.quick:
            healthy = part.where(torch.tensor([is_healthy(record) for record in batch.records]))
            if len(healthy):
                write(found.rows, healthy, rendered(setup.generator, healthy, setup.seed))
            for name, chosen in (("real negative", ~truth), ("real positive", truth)):
                some = part.where(chosen)
                found.features.add(self.extractor, name, some.images, some.lungs)
        return found

    def _negatives(self, found: Found, part: Part, places: list[int]) -> None:
        """Under the layers of real patients."""
        setup, change = self.setup, from_patients(self.setup, part)
        logits = logits_along(setup, part, part.images, change.tau)
        p = logits.sigmoid()
        _keep(found, "negative", part, places, p)
        found.pictures += [_picture(part, i, places, "negative", part.images, change.tau, p) for i in range(len(part))]
        if self.plan.quick:
            write(found.rows, part, briefly_of_negatives(setup, part, change, logits))
            return
        write(found.rows, part, of_negatives(setup, part, change, logits))
        found.features.add(self.extractor, "counterfactual negative", change.counterfactual, part.lungs)
        found.features.add_layer("added", change.tau, part.lungs)
        if self.among(part.patients[0], self.some, "some"):
            write(found.rows, part, of_some_negatives(setup, part, change, self.plan.codes))
            write(found.rows, part, {"null.constant.range": _constant_range(setup, part, change)})

    def _freely(self, found: Found, part: Part, places: list[int], free: FreeLayer) -> None:
        """Under the map that was trained against the target."""
        with torch.no_grad():
            change = under(part, free.layer(part.images))
        logits = logits_along(self.setup, part, part.images, change.tau)
        p = logits.sigmoid()
        _keep(found, "negative" + FREE, part, places, p)
        after = ask(self.setup.target, change.counterfactual, part.lungs)
        named = {
            "rise": after - part.p,
            "flip.negative": torch.from_numpy(flips(part.p, after, self.setup.target.operating_point)),
            **shape_of_curves(self.setup, logits),
            **causes(self.setup, part, change),
            **_regions(self.setup, part, change),
        }
        write(found.rows, part, {name + FREE: values for name, values in named.items()})
        write(found.rows, part, {"free.outside_share": named["causal.outside_share"]})

    def _positives(self, found: Found, part: Part, places: list[int]) -> None:
        """Healed, and on the way back to the image itself."""
        setup, change = self.setup, healed(part)
        p = logits_along(setup, part, part.structure, change.tau).sigmoid()
        _keep(found, "healed", part, places, p)
        found.pictures += [_picture(part, i, places, "healed", change.counterfactual, change.tau, p) for i in range(len(part))]
        if self.plan.quick:
            write(found.rows, part, briefly_of_positives(setup, part, change))
            return
        write(found.rows, part, of_positives(setup, part, change))
        found.features.add(self.extractor, "counterfactual healed", change.counterfactual, part.lungs)
        found.features.add_layer("removed", part.layer, part.lungs)

    def _clean(self, found: Found, part: Part, places: list[int]) -> None:
        """Negatives that are called so: what opacities that no generator made do to them, and what other patients' regions do."""
        answers = answers_to_doses(self.setup, part)
        _keep(found, "probe", part, places, torch.from_numpy(answers))
        write(found.rows, part, dosed(answers))
        if self.among(part.patients[0], self.many, "transplants"):
            write(found.rows, part, self._transplants(part))

    def _transplants(self, part: Part) -> Columns:
        """transplant.R and statistic.S, .positive, .negative and .excess, one image at a time: the mean over donors."""
        rows: list[dict[str, float]] = []
        for i, place in enumerate(part.rows.tolist()):
            record, row = part.batch.records[place], {}
            pairs = {"positive": self.donors.positives(record), "negative": self.donors.negatives(record)}
            for kind, pair in pairs.items():
                if pair is not None:
                    moved = effects(self.setup.target, part.images[i : i + 1], part.lungs[i : i + 1], *pair)
                    row.update({f"{name}.{kind}": float(values.double().mean()) for name, values in moved.items()})
            for name in [key.removesuffix(".positive") for key in row if key.endswith(".positive")]:
                row[f"{name}.excess"] = row[f"{name}.positive"] - row.get(f"{name}.negative", np.nan)
            row["shortcut"] = row.get("transplant.outside.excess", np.nan)
            rows.append(row)
        return {name: torch.tensor([row.get(name, np.nan) for row in rows], dtype=torch.float64) for name in _names(rows)}


def _column(record: Record, name: str) -> str:
    return str(getattr(record, name)) if name in PERSON else record.extra.get(name, "")


def _names(rows: list[dict[str, float]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _keep(found: Found, name: str, part: Part, places: list[int], p: Tensor) -> None:
    """Note curves (N, L) of a part by the places of its images in the dataset."""
    kept = found.curves.setdefault(name, {})
    for row, values in zip(part.rows.tolist(), p.double().tolist(), strict=True):
        kept[places[row]] = tuple(values)


def _picture(part: Part, i: int, places: list[int], way: str, structure: Tensor, tau: Tensor, p: Tensor) -> Picture:
    place = places[int(part.rows[i])]
    return Picture(
        id=f"{place:06d}", way=way, row=place, structure=structure[i, 0].cpu().numpy(), layer=on_grid(tau[i, 0].cpu().numpy()),
        probability=p[i].double().tolist(), p=float(part.p[i]),
    )  # fmt: skip


@torch.no_grad()
def _constant_range(setup: Setup, part: Part, change: Change) -> Tensor:
    """How far the response of a constant target moves along the traversal: 0."""
    constant = replace(setup, target=cast(Target, ConstantTarget()))
    p = logits_along(constant, part, part.images, change.tau).sigmoid()
    return p.amax(1) - p.amin(1)


def _regions(setup: Setup, part: Part, change: Change) -> Columns:
    """causal.region.R: what of a change reaches the target through one part of the outside alone."""
    weights = regions(part.lungs, part.lungs)
    chosen = {name: weights[name] for name in OUTSIDE}
    found = region_effects(setup.target, change.reference, change.counterfactual, part.lungs, chosen)
    return {f"causal.region.{name}": values for name, values in found.items()}
