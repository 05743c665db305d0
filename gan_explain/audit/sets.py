"""What an audit measures beyond an evaluation: curves, judges' answers, transplants, pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from gan_explain.audit.donors import Donors
from gan_explain.audit.pictures import on_grid
from gan_explain.evaluate.engine import Examined, MeasureSet
from gan_explain.evaluate.gathered import Picture
from gan_explain.evaluate.sets import answers, counterfactuals, findings, probe, reading
from gan_explain.metrics.change import Change, Columns, Part
from gan_explain.metrics.inputs import ask
from gan_explain.metrics.registry import Key
from gan_explain.metrics.transplant import effects
from gan_explain.types import Record

NEGATIVE, FREE, HEALED = "negative", "negative.free", "healed"  # curves
PERSON = ("source", "label")  # columns of a record that are not among its further ones


def audit_sets(by: tuple[str, ...], quick: bool, transplants: MeasureSet) -> list[MeasureSet]:
    """The sets of an audit, whose samples take the columns `by` along."""
    always = [answers, findings, columns(by), judges, counterfactuals, curves, probe, transplants]
    return always if quick else [*always, reading]


def columns(by: tuple[str, ...]) -> Callable[[Examined], None]:
    """Columns of the manifest, as text."""

    def take_along(examined: Examined) -> None:
        samples = examined.found.samples
        examined.found.samples = [replace(each, by={name: _column(each.record, name) for name in by}) for each in samples]

    return take_along


def _column(record: Record, name: str) -> str:
    return str(getattr(record, name)) if name in PERSON else record.extra.get(name, "")


def judges(examined: Examined) -> None:
    """p of every sample under the judges."""
    for name, judge in examined.engine.models.judges.items():
        p = ask(judge, examined.part.images, examined.part.lungs)
        examined.write(examined.part, {str(Key("judge.p", name)): p})


def curves(examined: Examined) -> None:
    """The response of every sample along its traversal, and pictures of those of real disease."""
    for name, change in ((NEGATIVE, examined.negative), (FREE, examined.free), (HEALED, examined.healed)):
        if change is not None and len(change):
            p = change.logits.sigmoid()
            examined.keep_curve(name, change.part, p)
            if name != FREE:
                start = change.images if name == NEGATIVE else change.counterfactual
                examined.found.pictures += [_picture(examined, name, change, start, i) for i in range(len(change))]


def _picture(examined: Examined, way: str, change: Change, start: torch.Tensor, i: int) -> Picture:
    place = examined.places[int(change.part.rows[i])]
    probability = change.logits[i].sigmoid().double().tolist()
    structure, layer = start[i, 0].cpu().numpy(), on_grid(change.tau[i, 0].cpu().numpy())
    return Picture(f"{place:06d}", way, place, structure, layer, probability, float(change.p[i]))


@dataclass(frozen=True)
class Transplants:
    """What other patients' regions and statistics do to some negatives that are called so; `share`: of patients."""

    donors: Donors
    share: float

    def __call__(self, examined: Examined) -> None:
        part = examined.clean
        some = [examined.engine.among(patient, self.share, " transplants") for patient in part.patients]
        if any(some):
            part = part.where(torch.tensor(some))
            examined.write(part, self._columns(examined, part))

    def _columns(self, examined: Examined, part: Part) -> Columns:
        """transplant[REGION] and statistic[NAME], .positive, .negative and .excess, one image at a time: the mean over donors."""
        rows: list[dict[Key, float]] = []
        for i, place in enumerate(part.rows.tolist()):
            record, row = part.batch.records[place], dict[Key, float]()
            pairs = {"positive": self.donors.positives(record), "negative": self.donors.negatives(record)}
            for kind, pair in pairs.items():
                if pair is not None:
                    image, lungs = part.images[i : i + 1], part.lungs[i : i + 1]
                    moved = effects(examined.engine.models.asked, image, lungs, *pair)
                    row |= {replace(key, variant=kind): float(values.double().mean()) for key, values in moved.items()}
            for key in [key for key in row if key.variant == "positive"]:
                row[replace(key, variant="excess")] = row[key] - row.get(replace(key, variant="negative"), np.nan)
            row[Key("shortcut")] = row.get(Key("transplant", "outside", "excess"), np.nan)
            rows.append(row)
        names = dict.fromkeys(key for row in rows for key in row)
        return {str(key): torch.tensor([row.get(key, np.nan) for row in rows], dtype=torch.float64) for key in names}
