"""From what was gathered of single patients to the audit's result: measures, curves, subgroups, evidence, verdict, summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from typing import Any

import numpy as np

from gan_explain.audit.curves import banded, patients_of, table
from gan_explain.audit.gathered import ORDER, Gathered
from gan_explain.audit.patient import FREE
from gan_explain.audit.result import KIND, AuditResult
from gan_explain.audit.subgroups import compare, correct, grouped
from gan_explain.audit.summary import compared
from gan_explain.audit.tables import SCHEMA_VERSION
from gan_explain.audit.verdict import controls, decide, evidence
from gan_explain.audit.verdict import summarise as put_in_words
from gan_explain.data import belongs
from gan_explain.evaluate.features import realism
from gan_explain.evaluate.result import Aggregator
from gan_explain.evaluate.table import BY, Row
from gan_explain.evaluate.totals import columns, relations
from gan_explain.metrics.classification import classification_report
from gan_explain.metrics.measure import Measure
from gan_explain.metrics.opacity_probe import DOSES

LEAST_JUDGE = 0.6  # AUROC that a judge's interval must lie above, for its calls to count
PACKAGES = ("gan_explain", "torch", "torchvision", "numpy", "scipy", "pillow")
NOT_MEASURES = ("image",)
OF_NEGATIVES = ("rise", "rises", "rise.excess", "flip.negative", "random.excess", "monotonicity.rho", "monotonicity.violation")
OF_POSITIVES = ("heal.fall", "heal.falls", "heal.excess", "flip.healed")
NOT_QUICK = ("exact.zero", "exact.one", "reread", "reader.veils.rho", "persistence", "transfer", "realism")


def summarise(gathered: Gathered) -> AuditResult:
    """The result of all patients of an audit. DataError where none was measured."""
    shown, gathered = gathered, _counted(gathered.ordered())
    document = {"schema_version": SCHEMA_VERSION, "kind": KIND, **_conclusions(gathered), "compare": None}
    if gathered.second is not None:
        second = {"target": gathered.second.about["target"], **_conclusions(gathered.second)}
        document["compare"] = {**second, "difference": _difference(gathered, gathered.second)}
        document["summary"] = [*document["summary"], *compared(document)]
    positions = {int(row["image"]): i for i, row in enumerate(gathered.rows)}
    pictures = [replace(picture, row=positions[picture.row]) for picture in gathered.pictures]
    document["pictures"] = [
        {"id": p.id, "row": p.row, "way": p.way, "scale": float(p.layer.max()), "p": p.p, "probability": list(p.probability)}
        for p in pictures
    ]
    return AuditResult(document, [_without_order(row) for row in shown.ordered().rows], gathered.curves, pictures)


def _counted(gathered: Gathered) -> Gathered:
    """The same with numbers in place of patients' names, in the order of their own ids: resampling takes patients in the order of
    their names, and no conclusion may depend on a salt."""
    rows = [
        {**_without_order(row), "patient_id": f"{int(row[ORDER]):09d}" if ORDER in row else row["patient_id"]}
        for row in gathered.rows
    ]
    return replace(gathered, rows=rows, second=_counted(gathered.second) if gathered.second else None)


def _without_order(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != ORDER}


def _conclusions(gathered: Gathered) -> dict[str, Any]:
    """What is concluded about one target."""
    plan, rows = gathered.about["plan"], gathered.rows
    total = Aggregator(rows, int(plan["bootstrap"]), int(plan["seed"]))
    measures = {name: found.as_json() for name, found in _measures(gathered, total).items()}
    judges = [str(name) for name in gathered.about["target"]["judges"]]
    target = gathered.about["target"]
    found: dict[str, Any] = {
        "provenance": _provenance(gathered),
        "measures": dict(sorted(measures.items())),
        "curves": _curves(gathered),
        "evidence": evidence(measures),
        "controls": controls(measures),
        "subgroups": _subgroups(gathered),
        "verdict": decide(measures, judges=judges, has_free=bool(target["free"])),
    }
    return {"summary": put_in_words(found), **found}


def _measures(gathered: Gathered, total: Aggregator) -> dict[str, Measure]:
    rows, about = gathered.rows, gathered.about
    positive = tuple(about["target"]["positive"])
    truth = [belongs(row["label"], positive) for row in rows]
    point = float(about["target"]["operating_point"])
    patients, sources = ([str(row[key]) for row in rows] for key in ("patient_id", "source"))
    every = columns(total)
    measures = {name: m for name, m in every.items() if name not in NOT_MEASURES and not _of_a_judge(name)}
    options = {"n_boot": total.n_boot, "seed": total.seed}
    measures.update(classification_report(total.column("p"), truth, patients, sources, point, **options))
    measures["spread"] = total.of("p", np.std)
    for judge in about["target"]["judges"]:
        _heard(
            measures,
            str(judge),
            classification_report(total.column(f"judge.{judge}.p"), truth, patients, sources, 0.5, **options),
        )
    if not about["plan"]["quick"]:
        measures.update(relations(total))
        pooled = gathered.pooled()
        measures.update({f"diversity.placement.{name}": pooled.placement(name) for name in ("added", "removed")})
        if pooled.sets:
            measures.update(realism(pooled, _Named(str(about["features"])), total.seed))
    measures.update(gathered.once)
    return {**_missing(gathered, measures), **measures}


class _Named:
    """Stands for the extractor whose features were kept: realism asks for no more than its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, images: Any, lungs: Any) -> Any:
        raise NotImplementedError("the features are there already")


def _of_a_judge(name: str) -> bool:
    return name.startswith("judge.")


def _heard(measures: dict[str, Measure], judge: str, report: Mapping[str, Measure]) -> None:
    """Note a judge's AUROC; one that does not tell these labels apart says nothing of whether evidence transfers."""
    auroc = report["auroc"]
    measures[f"judge.{judge}.auroc"] = auroc
    if auroc.low is not None and auroc.low > LEAST_JUDGE:
        return
    reason = f"judge {judge} does not tell these labels apart (AUROC above {LEAST_JUDGE:g} asked)"
    for name in [name for name in measures if name == f"transfer.{judge}" or name.startswith(f"transfer.{judge}.")]:
        measures[name] = Measure.missing(reason)


def _missing(gathered: Gathered, measures: Mapping[str, Measure]) -> dict[str, Measure]:
    """Reasons for what could not be measured."""
    about, calls = gathered.about, {row["called"] for row in gathered.rows}
    target, quick = about["target"], about["plan"]["quick"]
    missing: dict[str, Measure] = {}
    if "rise" not in measures:
        called = "negative" in calls
        reason = "no other patient is labelled positive" if called else "the target calls no image negative"
        for name in (*OF_NEGATIVES, "exact.zero", "null.shuffled.flip"):
            missing[name] = Measure.missing(reason)
    if "positive" not in calls:
        for name in (*OF_POSITIVES, "exact.one", "reread"):
            missing[name] = Measure.missing("the target calls no image positive")
    if "opacity_probe.rises" not in measures:
        for name in ("opacity_probe.rises", "opacity_probe.slope", "shortcut"):
            missing[name] = Measure.missing("the target calls no image negative that is labelled so")
    if "shortcut" not in measures:
        missing["shortcut"] = Measure.missing("too few other patients to give transplants")
    if not target["free"]:
        for name in ("flip.negative", "rise", "causal.outside_share"):
            missing[name + FREE] = Measure.missing("no map was trained against this target")
        missing["free.outside_share"] = Measure.missing("no map was trained against this target")
    if quick:
        for name in (*NOT_QUICK, "null.shuffled.flip"):
            missing[name] = Measure.missing("a quick audit does not measure it")
        return missing
    if not target["judges"]:
        missing["transfer"] = Measure.missing("no judges were given")
    elif not target["gradient"]:
        missing["transfer.minus_pgd"] = Measure.missing("the target has no gradient")
    if about["features"] is None:
        missing["realism"] = Measure.missing("neither a feature extractor nor a judge was given")
    if "null.shuffled.flip" not in {**measures, **missing}:
        missing["null.shuffled.flip"] = Measure.missing("the target's weights cannot be shuffled")
    return missing


def _axis(gathered: Gathered, name: str) -> Sequence[float]:
    return DOSES if name == "probe" else gathered.about["plan"]["strengths"]


def _curves(gathered: Gathered) -> dict[str, Any]:
    plan, who = gathered.about["plan"], patients_of(gathered.rows)
    found = {}
    for name in ("negative", "negative" + FREE, "healed", "probe"):
        places, values = table(gathered.curves, name)
        found[name] = banded(values, [who[i] for i in places], _axis(gathered, name), int(plan["bootstrap"]), int(plan["seed"]))
    return found


def _subgroups(gathered: Gathered) -> list[dict[str, Any]]:
    """Whether the curves of negatives differ between the groups of each column asked for."""
    plan = gathered.about["plan"]
    places, values = table(gathered.curves, "negative")
    row_of: dict[int, Row] = {int(row["image"]): row for row in gathered.rows}
    chosen = [row_of[i] for i in places]
    patients, sources = ([str(row[key]) for row in chosen] for key in ("patient_id", "source"))
    found = []
    for column in plan["by"]:
        groups = grouped([str(row[BY + column]) for row in chosen], column)
        strata = None if column == "source" else sources
        found.append(compare(values, patients, groups, plan["strengths"], column=column, seed=int(plan["seed"]), strata=strata))
    return correct(found)


def _difference(first: Gathered, second: Gathered) -> dict[str, Any] | None:
    """The second target's curve minus the first's, on the images that both call negative."""
    plan, who = first.about["plan"], patients_of(first.rows)
    a, b = first.curves.get("negative", {}), second.curves.get("negative", {})
    places = sorted(a.keys() & b.keys())
    values = np.array([np.subtract(b[i], a[i]) for i in places]) if places else np.empty((0, 0))
    return banded(values, [who[i] for i in places], plan["strengths"], int(plan["bootstrap"]), int(plan["seed"]))


def _provenance(gathered: Gathered) -> dict[str, Any]:
    about, plan = gathered.about, gathered.about["plan"]
    target = about["target"]
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
