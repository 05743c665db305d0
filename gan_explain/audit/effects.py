"""What moves a target, region by region and statistic by statistic, and what the audit's own controls gave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from gan_explain.audit.checks import UNKNOWN, Measures
from gan_explain.audit.document import Control, Effect
from gan_explain.audit.thresholds import CONTROL, LEAST_IMAGES, SHORTCUT
from gan_explain.metrics.measure import Measure
from gan_explain.metrics.registry import Key

KINDS: dict[str, Literal["region", "statistic"]] = {"transplant": "region", "statistic": "statistic"}
FLAT = 1e-6  # a curve that moves less is flat


def effects(measures: Measures) -> tuple[Effect, ...]:
    """Each region transplanted and each statistic matched, sorted by how much a positive donor raises p beyond what a negative
    one does, largest first; what could not be measured comes last."""
    found = []
    for key in map(Key.parse, measures):
        if key.name in KINDS and key.variant == "excess":
            donors = (measures.get(str(replace(key, variant=variant)), UNKNOWN) for variant in ("excess", "positive", "negative"))
            found.append(Effect(KINDS[key.name], key.of, *map(_bare, donors)))
    return tuple(sorted(found, key=lambda each: (each.excess.value is None, -(each.excess.value or 0), each.name)))


def controls(measures: Measures) -> tuple[Control, ...]:
    """Each control that ran."""
    return tuple(
        Control(name, what, expected, _bare(measures[name]), _ok(measures[name], ok))
        for name, what, expected, ok in _controls(measures)
        if name in measures
    )


Test = Callable[[float, float], bool | None]


def _above(threshold: float) -> Test:
    return lambda low, high: True if low > threshold else False if high <= threshold else None


def _below(threshold: float) -> Test:
    return lambda low, high: True if high <= threshold else False if low > threshold else None


def _not_above(threshold: float) -> Test:
    return lambda low, high: low <= threshold


def _controls(measures: Measures) -> list[tuple[str, str, str, Test]]:
    """Name, what it does, what should come of it, and the test on its interval."""
    keys = (Key.parse(name) for name in measures)
    judged = sorted((key for key in keys if key.name == "transfer" and key.of and key.variant == "minus_pgd"), key=str)
    at = SHORTCUT.threshold
    own = max(at, measures.get("shortcut", UNKNOWN).high or 0.0)  # the target's own shortcut stays in the control
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
            (str(key), f"flips under {key.of} less those of adversarial noise of equal norm", "above 0", _above(0.0))
            for key in judged
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


def _ok(found: Measure, test: Test) -> bool | None:
    value, n = found.value, found.n
    if value is None or (n is not None and 1 < n < LEAST_IMAGES):
        return None
    return test(value if found.low is None else found.low, value if found.high is None else found.high)


def _bare(found: Measure) -> Measure:
    """A measure without its sources."""
    return replace(found, by={})
