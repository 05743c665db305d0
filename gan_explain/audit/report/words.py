"""How the audit's report says things: numbers, intervals, what a measure is called, and which group it belongs to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

MISSING = "–"

# What a measure is called in a sentence. A name is looked up whole, then without its last parts, which SUFFIXES put into words.
LABELS = {
    "auroc": "AUROC of p against the labels",
    "auroc.within": "AUROC of p against the labels, within a source",
    "spread": "standard deviation of p over the images",
    "ece": "expected calibration error",
    "specificity": "specificity at p*",
    "sensitivity": "sensitivity at p*",
    "rise": "rise of p under real patients' disease, λ = 0 to 1",
    "rises": "negatives whose p rises under real patients' disease",
    "rise.excess": "rise of p beyond that under a random layer of equal load",
    "heal.fall": "fall of p when the disease is taken off",
    "heal.falls": "positives whose p falls when the disease is taken off",
    "heal.excess": "fall of p beyond that when a random layer of equal load is taken off",
    "flip.negative": "negatives that turn positive under real patients' disease",
    "flip.healed": "positives that turn negative when healed",
    "cv80.negative": "negatives whose p changes by more than 0.8",
    "cv80.healed": "positives whose p changes by more than 0.8",
    "monotonicity.rho": "Spearman ρ of the logit along λ",
    "monotonicity.violation": "share of the movement of p that falls",
    "monotonicity.never_crosses": "images that never cross p*",
    "crossing.lambda": "λ* at which p passes p*",
    "crossing.slope": "slope of p at λ*",
    "opacity_probe.rises": "images whose p rises with rendered opacities",
    "opacity_probe.slope": "slope of p per dose of rendered opacities",
    "shortcut": "shortcut score: the outside of a positive, beyond that of a negative",
    "random.excess": "flips beyond those by a random layer of equal load",
    "causal.outside_share": "share of the effect from outside the lungs",
    "free.outside_share": "share of the effect from outside the lungs, free map",
    "causal.e_in": "effect of the lungs alone",
    "causal.e_out": "effect of the outside alone",
    "causal.interaction": "interaction of lungs and outside",
    "causal.region": "effect of the change in one region",
    "transfer": "flips that another CNN shares",
    "persistence": "flips that survive",
    "reread": "share of the load taken off that is read again",
    "reader": "what is read of rendered disease",
    "reader.auroc": "AUROC of the load within a source",
    "null.random.flip": "flips by a random layer of equal load",
    "null.random.rise": "rise of p under a random layer of equal load",
    "null.random.fall": "fall of p when a random layer of equal load is taken off",
    "null.shuffled.flip": "flips of a target with shuffled weights",
    "control.marker.shortcut": "shortcut score of a target that does read a planted marker",
    "control.marker.corners": "corners of that target",
    "control.marker.clean": "shortcut score of that target where markers tell nothing",
    "control.marker.named": "the planted marker was named",
    "transplant": "change of p with a part of another patient put in",
    "statistic": "change of p with a statistic of another patient put in",
    "pgd.flip": "flips by adversarial noise of equal norm",
    "cout": "COUT: p gained less p lost as pixels are pasted in",
    "exact.zero": "largest difference of λ = 0 of a negative from the image",
    "exact.one": "largest difference of λ = 1 of a positive from the image",
    "outside.change": "largest change away from the lungs",
    "sparsity": "share of pixels that change",
}
SUFFIXES = {
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
    "png8": "an 8-bit save",
    "jpeg": "JPEG 90",
    "blur": "1 px of blur",
    "shift": "2 px of shift",
}
GROUPS = {
    "Does the target tell the labels apart": (
        "auroc",
        "accuracy",
        "balanced_accuracy",
        "specificity",
        "sensitivity",
        "ece",
        "spread",
    ),
    "Response": ("rise", "rises", "heal", "flip", "cv80", "monotonicity", "crossing", "opacity_probe"),
    "Lungs and outside": ("shortcut", "transplant", "statistic", "causal", "free", "outside"),
    "Can the counterfactual be believed": (
        "transfer",
        "judge",
        "pgd",
        "persistence",
        "exact",
        "reread",
        "reader",
        "severity",
    ),
    "Nulls and controls": ("random", "null", "control"),
    "How much changes, and how": ("proximity", "sparsity", "structure", "cout", "diversity", "realism"),
}
OTHER = "Other"
REGIONS = {
    "whole": "whole image",
    "lungs": "inside the lungs",
    "outside": "outside the lungs",
    "corners": "corners",
    "border": "border",
    "text": "burned-in text and markers",
    "lung_darkness": "mean of the lungs",
    "lung_contrast": "contrast in the lungs",
    "exposure": "exposure of the image",
    "sharpness": "sharpness",
}
ANSWERS = {"pass": ("✓", "pass"), "fail": ("✗", "fail"), "abstain": ("?", "abstains")}


def finite(value: object) -> float | None:
    """A number, or text that is one; None for None, "", NaN, infinities and anything else. True is 1."""
    if isinstance(value, (int, float, str)):
        try:
            found = float(value)
        except ValueError:
            return None
        return found if math.isfinite(found) else None
    return None


def number(value: object, digits: int = 3) -> str:
    """A number for reading: 3 decimals, fewer for large ones, a true minus sign; a dash for none."""
    found = finite(value)
    if found is None:
        return MISSING
    size = abs(found)
    text = f"{found:,.0f}" if size >= 1000 else f"{found:.{min(digits, 1)}f}" if size >= 100 else f"{found:.{digits}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def p_value(p: object) -> str:
    """ "= 0.012", or "< 0.001" where three decimals would claim 0."""
    found = finite(p)
    return "< 0.001" if found is not None and found < 0.001 else f"= {number(p)}"


def interval(measure: Mapping[str, Any] | None) -> str:
    """The bounds of a measure in brackets; empty where it has none."""
    if measure is None or finite(measure.get("value")) is None:
        return ""
    low, high = finite(measure.get("low")), finite(measure.get("high"))
    return f"[{number(low)}, {number(high)}]" if low is not None and high is not None else ""


def label(name: str) -> str:
    """What a measure is called; the name itself where nothing better is known."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        found = LABELS.get(".".join(parts[:end]))
        if found is not None:
            rest = [REGIONS.get(part, SUFFIXES.get(part, part)) for part in parts[end:]]
            return f"{found} ({', '.join(rest)})" if rest else found
    return name


def asked(check: Mapping[str, Any]) -> str:
    """What a check asks for: "at least 0.750", "within ±0.050"."""
    relation, at = check.get("relation", ""), number(check.get("threshold"))
    return f"within ±{at}" if relation == "within" else f"{relation} {at}"


def groups(measures: Mapping[str, Any]) -> dict[str, list[str]]:
    """Names of measures under the headings of GROUPS, in the order in which they came; empty headings are left out."""
    of = {head: title for title, heads in GROUPS.items() for head in heads}
    found: dict[str, list[str]] = {title: [] for title in (*GROUPS, OTHER)}
    for name in measures:
        found[of.get(name.split(".")[0], OTHER)].append(name)
    return {title: names for title, names in found.items() if names}


def sources(measures: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """The sources that any of these measures is split by."""
    return sorted({source for name in names for source in (measures[name].get("by") or {})})


def sentence(items: Sequence[str], last: str = "and") -> str:
    """["a", "b", "c"] -> "a, b and c"."""
    return f" {last} ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else list(items))
