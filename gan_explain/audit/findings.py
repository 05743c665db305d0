"""What moves a target, region by region and statistic by statistic, and what the audit's own controls gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gan_explain.audit.thresholds import CONTROL, LEAST_IMAGES, SHORTCUT

Measures = Mapping[str, Mapping[str, Any]]
MISSING: Mapping[str, Any] = {"value": None, "reason": "it was not measured"}
KINDS = {"transplant": "region", "statistic": "statistic"}
FLAT = 1e-6  # a curve that moves less is flat


def evidence(measures: Measures) -> list[dict[str, Any]]:
    """{"kind", "name", "excess", "positive", "negative"} for each region transplanted and each statistic matched, sorted by how
    much a positive donor raises p beyond what a negative one does, largest first; what could not be measured comes last."""
    found = []
    for key in measures:
        family, _, rest = key.partition(".")
        if family in KINDS and rest.endswith(".excess"):
            name = rest.removesuffix(".excess")
            parts = {part: _bare(measures.get(f"{family}.{name}.{part}", MISSING)) for part in ("excess", "positive", "negative")}
            found.append({"kind": KINDS[family], "name": name, **parts})
    return sorted(found, key=lambda each: (each["excess"]["value"] is None, -(each["excess"]["value"] or 0), each["name"]))


def controls(measures: Measures) -> list[dict[str, Any]]:
    """{"name", "what", "expected", "measure", "ok"} for each control that ran; `ok` is None where the interval leaves
    it open or it could not be run."""
    return [
        {"name": name, "what": what, "expected": expected, "measure": _bare(measures[name]), "ok": _ok(measures[name], ok)}
        for name, what, expected, ok in _controls(measures)
        if name in measures
    ]


Test = Callable[[float, float], bool | None]


def _above(threshold: float) -> Test:
    return lambda low, high: True if low > threshold else False if high <= threshold else None


def _below(threshold: float) -> Test:
    return lambda low, high: True if high <= threshold else False if low > threshold else None


def _not_above(threshold: float) -> Test:
    return lambda low, high: low <= threshold


def _controls(measures: Measures) -> list[tuple[str, str, str, Test]]:
    """Name, what it does, what should come of it, and the test on its interval."""
    judged = sorted(name for name in measures if name.startswith("transfer.") and name.endswith(".minus_pgd"))
    at = SHORTCUT.threshold
    own = max(at, measures.get("shortcut", {}).get("high") or 0.0)  # the target's own shortcut stays in the control
    return [
        (
            "null.constant.range",
            "a target that always gives the same p: how far its curve moves",
            "0: the curve is flat",
            _below(FLAT),
        ),
        ("null.shuffled.flip", "the target with its weights in random order: flips", "at most 0.10", _below(0.10)),
        ("random.excess", "flips of real patients' layers less those of random ones of equal load", "above 0", _above(0.0)),
        ("exact.zero", "largest difference of strength 0 of a negative from the image", "0", _below(FLAT)),
        ("exact.one", "largest difference of strength 1 of a positive from the image", "0", _below(FLAT)),
        ("outside.change", "largest change of a pixel by a layer, away from the lungs", "0", _below(FLAT)),
        *(
            (name, f"flips under {name.split('.')[1]} less those of adversarial noise of equal norm", "above 0", _above(0.0))
            for name in judged
        ),
        ("control.marker.shortcut", "this target with a planted marker as a shortcut: its score", f"above {at:.2f}", _above(at)),
        ("control.marker.corners", "the same, of the corners alone", "above 0: that is where the marker lies", _above(0.0)),
        (
            "control.marker.clean",
            "the same target where the marker says nothing of the class",
            "at most its own shortcut score",
            _not_above(own),
        ),
        (CONTROL, "the audit names the planted marker", "1: it does", _above(0.5)),
    ]


def _ok(found: Mapping[str, Any], test: Test) -> bool | None:
    value, n = found.get("value"), found.get("n")
    if value is None or (n is not None and 1 < n < LEAST_IMAGES):
        return None
    low, high = (value if found.get(side) is None else found[side] for side in ("low", "high"))
    return test(low, high)


def _bare(found: Mapping[str, Any]) -> dict[str, Any]:
    """A measure without its sources."""
    return {key: value for key, value in found.items() if key != "by"}
