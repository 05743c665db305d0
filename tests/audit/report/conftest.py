"""An audit that is made up."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter

from gan_explain.audit.document import Document
from gan_explain.evaluate.gathered import Picture
from gan_explain.evaluate.samples import Sample
from gan_explain.types import Record


def _measure(
    value: float | None, half: float = 0.05, n: int = 60, reason: str = "it was not measured", **by: float
) -> dict[str, Any]:
    """A measure as the audit writes it."""
    if value is None:
        return {"value": None, "reason": reason}
    found: dict[str, Any] = {"value": value, "low": value - half, "high": value + half, "n": n}
    return found | {"by": {name: _measure(v, 2 * half, n // 2) for name, v in by.items()}}


def _curve(x: NDArray[np.float64], start: float, rise: float, half: float = 0.06, n: int = 60) -> dict[str, Any]:
    mean = start + rise / (1 + np.exp(-6 * (x / x.max() - 0.5)))
    low, high = (np.clip(mean + side, 0, 1).tolist() for side in (-half, half))
    return {"x": x.tolist(), "mean": mean.tolist(), "low": low, "high": high, "n": n, "patients": n - 5}


def _check(measure: str, found: dict[str, Any], relation: str, threshold: float, answer: str, words: str) -> dict[str, Any]:
    limit = {"measure": measure, "relation": relation, "threshold": threshold, "words": words}
    return {"limit": limit, "found": {key: each for key, each in found.items() if key != "by"}, "answer": answer, "reason": ""}


@dataclass(frozen=True)
class Audit:
    """What `render_report` takes; the document as JSON too."""

    json: dict[str, Any]
    rows: list[Sample]
    pictures: list[Picture]

    @property
    def document(self) -> Document:
        return made(self.json)


def made(document: dict[str, Any]) -> Document:
    """A document of its JSON."""
    return TypeAdapter(Document).validate_json(json.dumps(document), strict=True)


def make_audit(patients: int = 12, side: int = 32, shown: int | None = None, names: Sequence[str] = ()) -> Audit:
    """An audit that never was: procedural pictures, made-up numbers, and a null wherever a measure may be one.

    Every fourth patient is positive; the first three negatives never cross p*; `names` replace patients' names and file names.
    """
    rng = np.random.default_rng(0)
    x, doses = np.linspace(0, 1.5, 21), np.array([0, 0.25, 0.5, 1, 2.0])
    rows: list[Sample] = []
    pictures: list[Picture] = []
    grid = np.linspace(-1, 1, side)
    for i in range(patients):
        positive, rise = i % 4 == 3, 0.05 + 0.9 * ((i * 7) % patients) / patients
        never = not positive and i < 4
        p = 0.6 + 0.3 * float(rng.random()) if positive else 0.05 + 0.1 * float(rng.random())
        name = names[i] if i < len(names) else f"nih-{1000 + i}"
        lungs = sum(np.exp(-(((grid[None] - c) / 0.28) ** 2) - (grid[:, None] / 0.6) ** 2) for c in (-0.45, 0.45))
        structure = 0.75 - 0.55 * lungs + 0.06 * np.sin(9 * grid[:, None]) + 0.02 * rng.standard_normal((side, side))
        values = {
            "p": p,
            "rise": math.nan if positive else (0.1 if never else rise),
            "monotonicity.never_crosses": math.nan if positive else float(never),
            "crossing.lambda": math.nan if positive or never else 1.2 - rise / 2,
            "monotonicity.rho": math.nan if positive else 0.9 + rise / 10,
            "flip.healed": float(i % 3 > 0) if positive else math.nan,
        }
        record = Record(f"images/{name}.png", "covid" if positive else "normal", name, "", ("nih", "kermany")[i % 2])
        by = {"sex": "FM"[i % 2], "age": str(20 + i % 60)}
        rows.append(Sample(record, i, i, "positive" if positive else "negative", by, values))
        if shown is None or len(pictures) < shown:
            curve = (p + (0.1 if never else rise) / (1 + np.exp(-8 * (x - 0.7)))).clip(0, 1).tolist()
            pictures.append(
                Picture(
                    id=f"{i:06d}",
                    way="healed" if positive else "negative",
                    row=i,
                    structure=structure.clip(0, 1).astype(np.float32),
                    layer=(lungs * (grid[:, None] > -0.2) * (0.4 + rise)).astype(np.float32),
                    probability=curve,
                    p=p,
                )
            )
    measures = {
        "auroc": _measure(0.91, 0.03, 80, nih=0.9, kermany=0.95),
        "spread": _measure(0.4, 0.02),
        "specificity": _measure(0.5, 0.1, nih=0.2, kermany=0.8),
        "sensitivity": _measure(0.97, 0.02, nih=0.97),
        "rise": _measure(0.31, 0.06, nih=0.3, kermany=0.33),
        "rise.free": _measure(0.82, 0.04),
        "flip.negative": _measure(0.55, 0.1),
        "flip.negative.free": _measure(None, reason="no map was trained against this target"),
        "opacity_probe.rises": _measure(0.48, 0.09, 91, nih=0.4, kermany=0.55),
        "opacity_probe.slope": _measure(-0.02, 0.01),
        "monotonicity.rho": _measure(0.93, 0.05),
        "shortcut": _measure(0.2, 0.04),
        "transfer": _measure(None, reason="no judges were given"),
        "persistence[jpeg90]": _measure(1.0, 0.0),
        "null.random.flip": _measure(0.02, 0.01),
        "diversity.layers": {"value": 0.8, "low": None, "high": None, "n": 3},
        "control.marker.named": _measure(1.0, 0.0, 1),
        "something.new": _measure(1234.5, 10.0),
    }
    verdict = [
        {
            "id": "informed",
            "question": "Tells the labels apart?",
            "answer": "pass",
            "why": "AUROC is 0.91 [0.88, 0.94]",
            "checks": [_check("auroc", measures["auroc"], "at least", 0.6, "pass", "AUROC")],
        },
        {
            "id": "opacities",
            "question": "Responds to opacities in the lungs?",
            "answer": "fail",
            "why": "p rises in 48 % of images",
            "checks": [
                _check(
                    "opacity_probe.rises",
                    measures["opacity_probe.rises"],
                    "at least",
                    0.75,
                    "fail",
                    "share of images whose p rises",
                ),
                _check("opacity_probe.slope", measures["opacity_probe.slope"], "at least", 0.05, "fail", "slope of p per dose"),
            ],
        },
        {
            "id": "outside",
            "question": "Ignores what lies outside the lungs?",
            "answer": "fail",
            "why": "the outside of a positive adds 0.20",
            "checks": [_check("shortcut", measures["shortcut"], "within", 0.05, "fail", "what the outside adds")],
        },
        {
            "id": "explanation",
            "question": "Can this explanation be trusted?",
            "answer": "abstain",
            "why": "no judges were given",
            "checks": [
                _check("transfer", measures["transfer"], "at least", 0.6, "abstain", "flips that another network shares"),
                *(
                    _check(f"persistence[{k}]", measures["persistence[jpeg90]"], "at least", 0.9, "pass", k)
                    for k in ("png8", "jpeg90", "blur", "shift")
                ),
            ],
        },
    ]
    effects = [
        {
            "kind": kind,
            "name": name,
            "excess": _measure(v, 0.04),
            "positive": _measure(None if v is None else v + 0.06),
            "negative": _measure(None if v is None else 0.06),
        }
        for kind, name, v in (
            ("region", "whole", 0.7),
            ("region", "outside", 0.2),
            ("region", "border", 0.08),
            ("region", "lungs", 0.07),
            ("statistic", "sharpness", 0.02),
            ("statistic", "exposure", -0.03),
            ("region", "text", None),
        )
    ]
    curves = {
        "negative": _curve(x, 0.1, 0.4),
        "negative.free": _curve(x, 0.1, 0.85),
        "healed": _curve(x, 0.35, 0.5),
        "probe": _curve(doses, 0.1, -0.05),
    }
    provenance = {
        "target": {
            "spec": "checkpoint:made-up",
            "classes": ["normal", "covid"],
            "positive": ["covid"],
            "operating_point": 0.41,
            "sha256": None,
        },
        "generator": {
            "checkpoint": "made-up",
            "sha256": "0" * 64,
            "confine": "lungs",
            "own": False,
            "note": "The generator was trained with another target.",
        },
        "free": True,
        "data": {
            "name": "phantom",
            "fingerprint": "f" * 16,
            "split": "test",
            "images": patients,
            "patients": patients,
            "labels": {"normal": 9, "covid": 3},
            "sources": {"nih": 6, "kermany": 6},
        },
        "seed": 0,
        "strengths": x.tolist(),
        "judges": [],
        "versions": {"torch": "2"},
        "options": {"by": ["sex", "age"], "quick": False, "limit": None},
    }
    findings = {
        "summary": [
            "checkpoint:made-up does not respond to opacities in the lungs: p rises in 48 % [39, 57] of 91 images.",
            "It reads what lies outside the lungs: the outside of a positive adds 0.20 [0.16, 0.24] to p; most by: border.",
        ],
        "provenance": provenance,
        "measures": measures,
        "curves": curves,
        "subgroups": [
            {
                "column": "sex",
                "groups": {"F": _curve(x, 0.1, 0.5), "M": _curve(x, 0.1, 0.3)},
                "statistic": 0.02,
                "p": 0.01,
                "p_corrected": 0.02,
                "reason": None,
            },
            {
                "column": "age",
                "groups": {},
                "statistic": None,
                "p": None,
                "p_corrected": None,
                "reason": "no test: needs two groups",
            },
        ],
        "effects": effects,
        "controls": [
            {
                "name": "null.random.flip",
                "what": "a random layer",
                "expected": "at most 0.10",
                "measure": measures["null.random.flip"],
                "ok": True,
            },
            {
                "name": "null.shuffled.flip",
                "what": "shuffled weights",
                "expected": "at most 0.10",
                "measure": _measure(None),
                "ok": None,
            },
            {
                "name": "random.excess",
                "what": "beyond a random layer",
                "expected": "above 0",
                "measure": _measure(-0.1, 0.02),
                "ok": False,
            },
        ],
        "verdict": verdict,
    }
    other = {
        "provenance": {**provenance, "target": {**provenance["target"], "spec": "checkpoint:another"}},
        "summary": ["checkpoint:another responds to opacities in the lungs."],
        "measures": {"auroc": _measure(0.95, 0.02), "rise": _measure(0.8), "only.here": _measure(None)},
        "curves": {"negative": _curve(x, 0.05, 0.9), "negative.free": None, "healed": None, "probe": _curve(doses, 0.1, 0.8)},
        "effects": effects[:3],
        "controls": [],
        "verdict": [verdict[0], {**verdict[1], "answer": "pass", "why": "p rises in all images"}],
    }
    difference = {
        **_curve(x, -0.1, 0.4),
        "low": (np.linspace(-0.2, 0.2, 21)).tolist(),
        "high": np.linspace(0, 0.5, 21).tolist(),
    }
    return Audit({"findings": findings, "compare": {"findings": other, "difference": difference}}, rows, pictures)


@pytest.fixture
def audit() -> Audit:
    return make_audit()


@pytest.fixture
def document_of() -> Callable[..., Document]:
    """`made`, for a test that changes the JSON."""
    return made


@pytest.fixture
def audit_of() -> Callable[..., Audit]:
    """`make_audit`, for a test that wants another size or other names."""
    return make_audit
