"""One limit against one measure: the interval decides.

A limit is kept when the whole 95 % interval keeps it, broken when the whole interval breaks it, and left open when the interval
contains the threshold, when there is no interval, too few images, or no measure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gan_explain.audit.thresholds import LEAST_IMAGES, SLOPE, SPREAD, Limit

Measures = Mapping[str, Mapping[str, Any]]
Check = dict[str, Any]  # {"measure", "value", "low", "high", "n", "relation", "threshold", "answer", "words", "reason", "share"}
TAIL = 0.025  # outside a 95 % interval on one side


def check(limit: Limit, measure: Mapping[str, Any] | None) -> Check:
    """One limit against one measure; the interval is the one that decided."""
    found = measure or {"value": None, "reason": "it was not measured"}
    low, high = _bounds(found, limit.share)
    n, at = found.get("n"), limit.threshold
    answer, reason = "abstain", None
    if found.get("value") is None:
        reason = str(found.get("reason", "undefined"))
    elif low is None or high is None:
        reason = "it has no interval"
    elif n is not None and n < LEAST_IMAGES:
        reason = f"it rests on {n} images, at least {LEAST_IMAGES} are needed"
    elif limit.relation == "at most":
        answer = "pass" if high <= at else "fail" if low > at else "abstain"
    elif limit.relation == "within":
        answer = "pass" if -at <= low and high <= at else "fail" if low > at or high < -at else "abstain"
    elif limit.relation == "at least":
        answer = "pass" if low >= at else "fail" if high < at else "abstain"
    else:
        answer = "pass" if low > at else "fail" if high <= at else "abstain"
    if answer == "abstain" and reason is None:
        reason = "the interval contains the threshold"
    shown = {"value": found.get("value"), "low": low, "high": high, "n": n}
    rule = {"relation": limit.relation, "threshold": at, "answer": answer}
    return {"measure": limit.measure, **shown, **rule, "words": limit.words, "reason": reason, "share": limit.share}


def movement(measures: Measures) -> tuple[bool, str]:
    """Whether the target's answer depends on what it is shown: over the images, or with opacities rendered into them. If not, why
    nothing can be said of it."""
    spread, slope = (check(limit, measures.get(limit.measure)) for limit in (SPREAD, SLOPE))
    if "pass" in (spread["answer"], slope["answer"]):
        return True, ""
    if spread["answer"] == "fail":
        return False, "the target gives nearly the same answer to every image: there is nothing to judge or to explain"
    return False, f"whether the target's answer depends on the image at all is open: {spread['words']}: {spread['reason']}"


def _bounds(found: Mapping[str, Any], share: bool) -> tuple[float | None, float | None]:
    """The interval that decides. No resample of nothing but ones has a zero in it: there the bound is exact (Clopper & Pearson,
    1934): 0.025^(1/n), over patients where their number is known."""
    low, high, value, n = (found.get(key) for key in ("low", "high", "value", "n"))
    n = found.get("patients", n)
    if share and n and value == low == high and value in (0, 1):
        edge = float(TAIL ** (1 / n))
        return (edge, 1.0) if value == 1 else (0.0, 1 - edge)
    return low, high
