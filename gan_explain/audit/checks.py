"""One limit against one measure: the interval decides.

A limit is kept when the whole 95 % interval keeps it, broken when the whole interval breaks it, and left open when the interval
contains the threshold, when there is no interval, too few images, or no measure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gan_explain.audit.document import Check, Outcome
from gan_explain.audit.thresholds import LEAST_IMAGES, SLOPE, SPREAD, Limit
from gan_explain.metrics.measure import Measure

Measures = Mapping[str, Measure]
UNKNOWN = Measure.missing("it was not measured")
TAIL = 0.025  # outside a 95 % interval on one side


def check(limit: Limit, measure: Measure | None) -> Check:
    """One limit against one measure; the interval is the one that decided."""
    found = _exact(replace(measure or UNKNOWN, by={}), limit.share)
    if found.value is None:
        return Check(limit, found, "abstain", found.reason or "undefined")
    if found.low is None or found.high is None:
        return Check(limit, found, "abstain", "it has no interval")
    if found.n is not None and found.n < LEAST_IMAGES:
        return Check(limit, found, "abstain", f"it rests on {found.n} images, at least {LEAST_IMAGES} are needed")
    answer = _answer(limit, found.low, found.high)
    return Check(limit, found, answer, "the interval contains the threshold" if answer == "abstain" else "")


def _answer(limit: Limit, low: float, high: float) -> Outcome:
    at = limit.threshold
    kept, broken = {
        "at most": (high <= at, low > at),
        "within": (-at <= low and high <= at, low > at or high < -at),
        "at least": (low >= at, high < at),
        "more than": (low > at, high <= at),
    }[limit.relation]
    return "pass" if kept else "fail" if broken else "abstain"


def movement(measures: Measures) -> tuple[bool, str]:
    """Whether the target's answer depends on what it is shown: over the images, or with opacities rendered into them. If not, why
    nothing can be said of it."""
    spread, slope = (check(limit, measures.get(limit.measure)) for limit in (SPREAD, SLOPE))
    if "pass" in (spread.answer, slope.answer):
        return True, ""
    if spread.answer == "fail":
        return False, "the target gives nearly the same answer to every image: there is nothing to judge or to explain"
    return False, f"whether the target's answer depends on the image at all is open: {spread.limit.words}: {spread.reason}"


def _exact(found: Measure, share: bool) -> Measure:
    """With the interval that decides. No resample of nothing but ones has a zero in it: there the bound is exact (Clopper &
    Pearson, 1934): 0.025^(1/n), over patients where their number is known."""
    n = found.n if found.patients is None else found.patients
    if not (share and n and found.value == found.low == found.high and found.value in (0, 1)):
        return found
    edge = float(TAIL ** (1 / n))
    return replace(found, low=edge, high=1.0) if found.value == 1 else replace(found, low=0.0, high=1 - edge)
