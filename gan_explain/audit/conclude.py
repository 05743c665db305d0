"""From what was gathered of single patients to the audit's result: measures, curves, subgroups, effects, verdict, summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from typing import Any

import numpy as np

from gan_explain.audit.document import Beside, Comparison, Curve, Document, Findings
from gan_explain.audit.effects import controls, effects
from gan_explain.audit.result import AuditResult
from gan_explain.audit.sets import FREE, HEALED, NEGATIVE
from gan_explain.audit.shard import Shard
from gan_explain.audit.subgroups import Resampling, banded, compare, correct, grouped
from gan_explain.audit.summary import compared, summarise
from gan_explain.audit.verdict import decide
from gan_explain.evaluate.gathered import Gathered
from gan_explain.evaluate.reasons import missing
from gan_explain.evaluate.samples import Table
from gan_explain.evaluate.sets import PROBE
from gan_explain.evaluate.totals import calls, of_sets, relations
from gan_explain.metrics.measure import Measure
from gan_explain.metrics.opacity_probe import DOSES
from gan_explain.metrics.registry import Key, ordered
from gan_explain.stats import Floats

LEAST_JUDGE = 0.6  # AUROC that a judge's interval must lie above, for its calls to count
PACKAGES = ("gan_explain", "torch", "torchvision", "numpy", "scipy", "pillow")


def conclude(shard: Shard) -> AuditResult:
    """The result of all patients of an audit."""
    shard = replace(shard, gathered=shard.gathered.ordered())
    findings, beside = _findings(shard), None
    if shard.second is not None:
        second = replace(shard.second, gathered=shard.second.gathered.ordered())
        beside = Beside(_findings(second), _difference(shard, second))
        findings = replace(findings, summary=(*findings.summary, *compared(findings, beside)))
    gathered = shard.gathered
    rows = {sample.place: i for i, sample in enumerate(gathered.samples)}
    pictures = [replace(picture, row=rows[picture.row]) for picture in gathered.pictures]
    return AuditResult(Document(findings, beside), gathered.samples, gathered.curves, pictures)


def _findings(shard: Shard) -> Findings:
    """What is concluded about one target."""
    about, gathered = shard.about, shard.gathered
    plan, target = about["plan"], about["target"]
    table = Table(gathered.samples, int(plan["bootstrap"]), int(plan["seed"]))
    measures = _measures(shard, table)
    found = Findings(
        provenance=_provenance(shard),
        measures=measures,
        curves={name: _curve(gathered, name, plan) for name in (NEGATIVE, FREE, HEALED, PROBE)},
        effects=effects(measures),
        controls=controls(measures),
        subgroups=tuple(_subgroups(gathered, plan)),
        verdict=decide(measures, judges=[str(name) for name in target["judges"]], has_free=bool(target["free"])),
    )
    return replace(found, summary=summarise(found))


def _measures(shard: Shard, table: Table) -> dict[str, Measure]:
    about = shard.about
    target, quick, extractor = about["target"], bool(about["plan"]["quick"]), about["features"]
    positive, point = tuple(target["positive"]), float(target["operating_point"])
    measures = table.measures() | calls(table, positive, point) | {"spread": table.of("p", np.std)}
    for judge in map(str, target["judges"]):
        auroc = calls(table, positive, 0.5, str(Key("judge.p", judge)))["auroc"]
        measures[str(Key("judge.auroc", judge))] = auroc
        if auroc.low is None or auroc.low <= LEAST_JUDGE:
            measures |= _unheard(judge, measures)
    if not quick:
        measures |= relations(table) | of_sets(shard.gathered.pooled(), extractor, table.seed)
    measures |= shard.once
    if "shortcut" not in measures:
        reason = "too few other patients to give transplants"
        if "opacity_probe.rises" not in measures:
            reason = "the target calls no image negative that is labelled so"
        measures["shortcut"] = Measure.missing(reason)
    called = {sample.called for sample in table.samples}
    return ordered(measures | missing(target, extractor, quick, called, measures))


def _unheard(judge: str, measures: dict[str, Measure]) -> dict[str, Measure]:
    """A judge that does not tell these labels apart says nothing of whether evidence transfers."""
    reason = f"judge {judge} does not tell these labels apart (limit: AUROC above {LEAST_JUDGE:g})"
    keys = map(Key.parse, measures)
    return {str(key): Measure.missing(reason) for key in keys if key.name == "transfer" and key.of == judge}


def _places(gathered: Gathered, name: str) -> tuple[list[int], Floats]:
    """Places (N,) and curves (N, L) of one name, in the order of the dataset."""
    each = gathered.curves.get(name, {})
    return list(each), np.array(list(each.values()), dtype=np.float64) if each else np.empty((0, 0))


def _patients(gathered: Gathered, places: Sequence[int]) -> list[str]:
    who = dict(zip((sample.place for sample in gathered.samples), Table(gathered.samples).patients, strict=True))
    return [who[place] for place in places]


def _curve(gathered: Gathered, name: str, plan: dict[str, Any]) -> Curve | None:
    places, values = _places(gathered, name)
    x = DOSES if name == PROBE else plan["strengths"]
    return _band(values, _patients(gathered, places), x, plan)


def _band(values: Floats, patients: Sequence[str], x: Sequence[float], plan: dict[str, Any]) -> Curve | None:
    return banded(values, patients, x, int(plan["bootstrap"]), int(plan["seed"])) if len(values) else None


def _subgroups(gathered: Gathered, plan: dict[str, Any]) -> list[Comparison]:
    """Whether the curves of negatives differ between the groups of each column asked for."""
    places, values = _places(gathered, NEGATIVE)
    at = {sample.place: sample for sample in gathered.samples}
    chosen, patients = [at[place] for place in places], _patients(gathered, places)
    sources = [sample.record.source for sample in chosen]
    found = []
    for column in plan["by"]:
        groups = grouped([sample.by[column] for sample in chosen], column)
        strata = None if column == "source" else sources
        found.append(
            compare(
                values,
                patients,
                groups,
                plan["strengths"],
                column=column,
                strata=strata,
                resampling=Resampling(seed=int(plan["seed"])),
            )
        )
    return correct(found)


def _difference(first: Shard, second: Shard) -> Curve | None:
    """The second target's curve minus the first's, on the images that both call negative."""
    a, b = (shard.gathered.curves.get(NEGATIVE, {}) for shard in (first, second))
    places = sorted(a.keys() & b.keys())
    values = np.array([np.subtract(b[i], a[i]) for i in places]) if places else np.empty((0, 0))
    plan = first.about["plan"]
    return _band(values, _patients(first.gathered, places), plan["strengths"], plan)


def _provenance(shard: Shard) -> dict[str, Any]:
    about, plan, target = shard.about, shard.about["plan"], shard.about["target"]
    return {
        "target": {key: target.get(key) for key in ("spec", "classes", "positive", "operating_point", "fit", "sha256")},
        "generator": dict(about.get("generator", {})),
        "free": target["free"],
        "data": {**about.get("data", {}), **about["images"]},
        "seed": plan["seed"],
        "strengths": plan["strengths"],
        "judges": target["judges"],
        "options": {key: value for key, value in plan.items() if key not in ("seed", "strengths")},
        "versions": {name: metadata.version(name) for name in PACKAGES},
    }
