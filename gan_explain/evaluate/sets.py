"""The sets of measures that an engine can be asked for: of a reader, of a classifier, of counterfactuals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch

from gan_explain.evaluate.engine import Examined, MeasureSet
from gan_explain.metrics.change import Change
from gan_explain.metrics.opacity_probe import DOSES, opacity_probe, rises, slopes
from gan_explain.metrics.reader import is_healthy, read_off, rendered
from gan_explain.metrics.registry import computations
from gan_explain.targets import masks_for
from gan_explain.types import Target

Name = Literal["classifier", "reader", "counterfactual"]
PROBE = "probe"  # curve of the answers to rendered opacities


def answers(examined: Examined) -> None:
    """p of every sample."""
    examined.write(examined.part, {"p": examined.part.p})


def findings(examined: Examined) -> None:
    """What is read on every sample: load, severity, lesions."""
    examined.write(examined.part, read_off(examined.part))


def reading(examined: Examined) -> None:
    """What is read of disease that is rendered on healthy samples."""
    engine, part = examined.engine, examined.part
    healthy = part.where(torch.tensor([is_healthy(record) for record in part.batch.records]))
    if len(healthy):
        examined.write(healthy, rendered(engine.models.drawing, healthy, engine.settings.seed))


def layers(examined: Examined) -> None:
    """Layers of patients, and of the prior in the same lungs."""
    examined.found.layers.draw(examined.engine.models.drawing, examined.part, examined.engine.settings.seed)


def probe(examined: Examined) -> None:
    """What opacities that no generator made do to negatives."""
    part, target = examined.clean, examined.engine.models.asked
    if len(part):
        p = opacity_probe(target, part.images, part.lungs, part.patients, DOSES)
        examined.keep_curve(PROBE, part, torch.from_numpy(p))
        found = {"opacity_probe.rises": rises(p, DOSES), "opacity_probe.slope": slopes(p, DOSES)}
        examined.write(part, {name: torch.from_numpy(values) for name, values in found.items()})


@torch.no_grad()
def classes(examined: Examined) -> None:
    """The class that a target of several calls each sample, and p without its temperature where it has one."""
    part, target = examined.part, examined.engine.models.asked
    temperature = temperature_of(target)
    if len(target.classes) > 2 or temperature != 1:
        logits = target.logits(part.batch.images, masks_for(target, part.lungs)).float().cpu()  # (N, K)
        chosen = [target.classes.index(name) for name in target.positive]
        plain = (logits * temperature).softmax(1)[:, chosen].sum(1)
        examined.write(part, {"class.called": logits.argmax(1), "p.uncalibrated": plain})


def temperature_of(target: Target) -> float:
    return float(getattr(target, "temperature", 1.0))


def counterfactuals(examined: Examined) -> None:
    """Everything registered of negatives under real patients' layers, of negatives under the free map, of healed positives."""
    engine, features = examined.engine, examined.features
    negative, healed = examined.negative, examined.healed
    for change in (negative, examined.free, healed):
        if change is not None and len(change):
            _compute(examined, change)
    if engine.quick:
        return
    extractor = engine.models.extractor
    if len(negative):
        features.add(extractor, "counterfactual negative", negative.counterfactual, negative.lungs)
        features.add_layer("added", negative.tau, negative.lungs)
        some = [engine.among(patient, engine.some, engine.some_draw) for patient in negative.part.patients]
        if any(some):
            _compute(examined, negative.where(torch.tensor(some)), dear=True)
    if len(healed):
        features.add(extractor, "counterfactual healed", healed.counterfactual, healed.lungs)
        features.add_layer("removed", healed.tau, healed.lungs)
    for name, chosen in (("real negative", ~examined.truth), ("real positive", examined.truth)):
        real = examined.part.where(chosen)
        features.add(extractor, name, real.images, real.lungs)


def _compute(examined: Examined, change: Change, dear: bool = False) -> None:
    for computation in computations(change.side, quick=examined.engine.quick, dear=dear):
        examined.write(change.part, computation.function(change))


SETS: Mapping[str, Sequence[MeasureSet]] = {
    "classifier": (answers, classes, probe),
    "reader": (findings, reading, layers),
    "counterfactual": (answers, findings, probe, counterfactuals),
}


def chosen(names: Sequence[str]) -> list[MeasureSet]:
    """The parts of several sets, each once."""
    unknown = sorted(set(names) - set(SETS))
    if unknown or not names:
        raise ValueError(f"expected measures of {', '.join(SETS)}, got {', '.join(unknown) or 'none'}")
    return list(dict.fromkeys(part for name in SETS if name in names for part in SETS[name]))
