"""What is said of models in a result, and why a measure is missing: the one place that says so."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

from gan_explain.metrics.change import Models
from gan_explain.metrics.measure import Measure
from gan_explain.metrics.registry import Key
from gan_explain.targets import ModuleTarget

OF_NEGATIVES = ("rise", "rises", "rise.excess", "flip.negative", "random.excess", "monotonicity.rho", "monotonicity.violation")
OF_POSITIVES = ("heal.fall", "heal.falls", "heal.excess", "flip.healed", "exact.one", "reread")
OF_THE_PROBE = ("opacity_probe.rises", "opacity_probe.slope")
OF_THE_FREE = ("rise.free", "flip.negative.free", "causal.outside_share.free")
NOT_QUICK = ("exact.zero", "exact.one", "reread", "reader.rho[veils]", "persistence", "transfer", "realism", "null.shuffled.flip")


def facts(models: Models) -> dict[str, Any]:
    """What a result says of its target and of who looks at it."""
    target = models.asked
    return {
        "classes": list(target.classes),
        "positive": list(target.positive),
        "operating_point": target.operating_point,
        "fit": target.config.fit if isinstance(target, ModuleTarget) else None,
        "judges": list(models.judges),
        "free": models.free is not None,
        "resolution": None if models.generator is None else models.generator.resolution,
        "gradient": target.differentiable,
        "perceptual": models.perceptual is not None,
    }


def missing(
    target: Mapping[str, Any], extractor: str | None, quick: bool, called: Container[str], there: Container[str]
) -> dict[str, Measure]:
    """Reasons for what could not be measured. target: its `facts`; extractor: its name; called: what the target called any
    sample; there: the measures that were taken."""
    every = {name: reason for reason, names in _reasons(target, extractor, quick, called, there) for name in names}
    return {name: Measure.missing(reason) for name, reason in every.items() if name not in there}


def _reasons(
    target: Mapping[str, Any], extractor: str | None, quick: bool, called: Container[str], there: Container[str]
) -> Iterator[tuple[str, Iterable[str]]]:
    """A reason, and what is missing for it; a later one holds."""
    if "null.shuffled.flip" not in there:
        yield "the target's weights cannot be shuffled", ("null.shuffled.flip",)
    if "rise" not in there:
        judges = (str(Key("transfer", judge)) for judge in target["judges"])
        reason = "no other patient is labelled positive" if "negative" in called else "the target calls no image negative"
        yield reason, (*OF_NEGATIVES, *judges, "exact.zero", "null.shuffled.flip")
    if "positive" not in called:
        yield "the target calls no image positive", OF_POSITIVES
    if "opacity_probe.rises" not in there:
        yield "the target calls no image negative that is labelled so", OF_THE_PROBE
    if not target["free"]:
        yield "no map was trained against this target", OF_THE_FREE
    if quick:
        yield "a quick audit does not measure it", NOT_QUICK
        return
    if not target["judges"]:
        yield "no judges were given", ("transfer",)
    elif not target["gradient"]:
        yield "the target has no gradient", ("transfer.minus_pgd",)
    if extractor is None:
        yield "neither a feature extractor nor a judge was given", ("realism",)
    if not target["perceptual"]:
        yield "no local weights of an LPIPS backbone were given", ("proximity.lpips",)
