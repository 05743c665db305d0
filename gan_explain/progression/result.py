"""A patient's progression as a result: numbers and pictures of each visit, and what CSV and JSON say of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gan_explain.files.pseudonyms import Pseudonyms
from gan_explain.files.text import csv_text
from gan_explain.metrics.measure import Measure
from gan_explain.progression.patients import DATES, DAY
from gan_explain.stats import spearman
from gan_explain.types import Brief, Record

OPACITY_ABOVE = 0.1  # alpha from which a pixel counts as affected: the layer hides a tenth of the light or more
HEAT_ABOVE = 0.5  # share of the patient's highest heat from which a pixel counts as hot
MEASURES = ("probability", "opacity_load", "opacity_area", "grad_cam_area")


@dataclass(frozen=True, repr=False)
class Visit(Brief):
    """One radiograph of a patient. Measures are numbers, NaN where they could not be taken; tensors are (1, H, W) on the CPU.

    probability of the positive set; class_probability (K,); opacity_load, mean tau over the lungs of the layer that the reader
    finds; opacity_area, the share of the lungs where its alpha passes OPACITY_ABOVE; grad_cam_area, the share of the lungs where
    the heat passes HEAT_ABOVE times the highest heat in all the patient's radiographs. `alpha` is the opacity of the layer,
    `heat` Grad-CAM in units of the log-odds.
    """

    record: Record
    day: float
    probability: float
    class_probability: tuple[float, ...]
    opacity_load: float
    opacity_area: float
    grad_cam_area: float
    image: Tensor
    lungs: Tensor
    alpha: Tensor
    heat: Tensor

    @property
    def values(self) -> dict[str, float]:
        return {name: float(getattr(self, name)) for name in MEASURES}


@dataclass(frozen=True)
class Progression:
    """A patient's visits in the order of their days, and what the target's answers mean. `no_heat`: why there is no Grad-CAM."""

    patient: str
    split: str
    visits: tuple[Visit, ...]
    classes: tuple[str, ...]
    positive: tuple[str, ...]
    operating_point: float
    no_heat: str = ""

    @property
    def days(self) -> tuple[float, ...]:
        return tuple(visit.day for visit in self.visits)

    def series(self, name: str) -> list[float]:
        return [visit.values[name] for visit in self.visits]

    def correlation(self, first: str, second: str) -> float:
        """Spearman's rho of two measures over the visits; NaN for fewer than three days, or where one does not change."""
        return spearman(self.series(first), self.series(second)) if len(set(self.days)) >= DATES else float("nan")

    def named(self, names: Pseudonyms) -> Progression:
        """The same under the patient's public name."""
        visits = tuple(replace(each, record=names.record(each.record)) for each in self.visits)
        return replace(self, patient=names.patient(self.patient), visits=visits)

    def without_pictures(self) -> Progression:
        """The same numbers with empty tensors, for keeping many patients."""
        nothing = torch.empty(1, 0, 0)
        visits = tuple(replace(each, image=nothing, lungs=nothing, alpha=nothing, heat=nothing) for each in self.visits)
        return replace(self, visits=visits)


def csv_table(progressions: Sequence[Progression]) -> str:
    """One row a radiograph: patient, split, path, label, day, every measure, the probability of every class."""
    classes = (f"p({name})" for name in progressions[0].classes)
    rows: list[list[object]] = [["patient_id", "split", "path", "label", DAY, *MEASURES, *classes]]
    for each in progressions:
        for visit in each.visits:
            numbers = [*visit.values.values(), *visit.class_probability]
            shown = ["" if math.isnan(value) else f"{value:.9g}" for value in numbers]
            rows.append([each.patient, each.split, visit.record.path, visit.record.label, f"{visit.day:g}", *shown])
    return csv_text(rows)


def as_json(progression: Progression, pairs: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """What JSON says of one patient; null, with the reason, for a correlation of `pairs` that could not be taken."""
    few = len(set(progression.days)) < DATES
    reason = f"fewer than {DATES} days" if few else "a measure does not change"
    correlations = {}
    for name, (first, second) in pairs.items():
        rho = progression.correlation(first, second)
        missing = progression.no_heat if "grad_cam_area" in (first, second) and progression.no_heat else reason
        found = {"value": rho, "n": len(progression.visits)}
        correlations[name] = Measure.missing(missing).as_json() if math.isnan(rho) else found
    return {
        "patient_id": progression.patient,
        "split": progression.split,
        "positive": list(progression.positive),
        "operating_point": progression.operating_point,
        "visits": [
            {"path": visit.record.path, "label": visit.record.label, DAY: visit.day}
            | {name: None if math.isnan(value) else value for name, value in visit.values.items()}
            | {"classes": dict(zip(progression.classes, visit.class_probability, strict=True))}
            for visit in progression.visits
        ],
        "spearman": correlations,
        "no_grad_cam": progression.no_heat or None,
    }


def facts() -> dict[str, Any]:
    """The thresholds and definitions that a saved result names."""
    return {
        "schema_version": 2,
        "opacity_load": "mean optical thickness over the lungs",
        "opacity_area": f"share of the lungs with alpha >= {OPACITY_ABOVE:g}",
        "grad_cam_area": f"share of the lungs with heat >= {HEAT_ABOVE:g} of the patient's highest",
        "least_days": DATES,
    }
