"""Auditing a target over a dataset, patient by patient; whole or in shards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from tqdm.auto import tqdm

from gan_explain.audit.control import positive_control
from gan_explain.audit.donors import Donors
from gan_explain.audit.gathered import ORDER, Gathered
from gan_explain.audit.patient import Examiner
from gan_explain.audit.result import AuditResult
from gan_explain.audit.setup import Plan, Subject
from gan_explain.audit.summarise import summarise
from gan_explain.data import Dataset
from gan_explain.evaluate.features import extractor_name, judge_features
from gan_explain.evaluate.inputs import is_positive, read_batch, seed_of
from gan_explain.evaluate.run import SOME
from gan_explain.targets import ModuleTarget, device_of
from gan_explain.types import DataError, Target

WHOLE = (1, 1)


def audit(
    subject: Subject,
    dataset: Dataset,
    plan: Plan | None = None,
    *,
    compare: Subject | None = None,
    about: Mapping[str, Any] | None = None,
) -> AuditResult:
    """Audit a target on a dataset (a split, opened at the generator's resolution): measures, curves, evidence and verdict.

    `compare`: a second target, under the same layers; `about`: facts for the result's provenance, by name. Without a positive or
    a negative image much is null, with the reason. DataError for a dataset without images.
    """
    plan = plan or Plan()
    return summarise(gather(subject, dataset, plan, compare=compare, about=about))


def gather(
    subject: Subject,
    dataset: Dataset,
    plan: Plan,
    *,
    shard: tuple[int, int] = WHOLE,
    compare: Subject | None = None,
    about: Mapping[str, Any] | None = None,
) -> Gathered:
    """Measure the patients of one shard (i of n, counted from 1); what is not of one patient is measured in the first.

    Every patient is one batch, and random numbers follow from the patient's name: what comes out for a patient does not depend
    on the shard. Memory grows by the numbers of an image and 17 kB of its features; `plan.show` pictures are kept, no more.
    """
    if not len(dataset):
        raise DataError(f"{dataset.root}: expected images to audit, got none")
    facts = {**(about or {}), **_facts(dataset, plan)}
    found = _gather(subject, dataset, plan, shard, {**facts, "target": _described(subject, facts, "target")})
    if compare is not None:
        described = {**facts, "target": _described(compare, facts, "compare")}
        found.second = _gather(compare, dataset, plan, shard, described)
    return found


def _gather(subject: Subject, dataset: Dataset, plan: Plan, shard: tuple[int, int], about: Mapping[str, Any]) -> Gathered:
    device = device_of(subject.generator)
    extractor = None if plan.quick else subject.extractor or judge_features(subject.judges)
    about = {**about, "features": extractor_name(extractor) if extractor else None}
    count = len({record.patient_id for record in dataset.records})
    negative = len({r.patient_id for r in dataset.records if not is_positive(r, subject.target)})
    examiner = Examiner(
        setup=subject.setup(plan, dataset),
        free=subject.free,
        donors=Donors(dataset, subject.target, subject.segmenter, plan.donors, plan.seed, device),
        extractor=extractor,
        plan=plan,
        some=SOME / count,
        many=plan.transplanted / max(1, negative),
    )
    gathered = Gathered(about, shard)
    order = {patient: i for i, patient in enumerate(sorted({record.patient_id for record in dataset.records}))}
    chosen = list(_patients(dataset, plan.seed, shard))
    for places in tqdm(chosen, desc="patients", unit="patient", disable=None, leave=False):
        found = examiner.examine(read_batch(dataset, places, subject.segmenter, device), places)
        for row in found.rows:
            row[ORDER] = float(order[row["patient_id"]])
        gathered.add(places[0], found)
    if shard[0] == 1 and plan.marker is not None and not plan.quick:
        gathered.once = positive_control(subject.target, dataset, subject.segmenter, share=plan.marker, seed=plan.seed)
    return gathered.ordered()


def _patients(dataset: Dataset, seed: int, shard: tuple[int, int]) -> Iterator[list[int]]:
    """Places of the images of each patient that belongs to the shard, in the order of the dataset."""
    places: dict[str, list[int]] = {}
    for i, record in enumerate(dataset.records):
        places.setdefault(record.patient_id, []).append(i)
    number, count = shard
    return (each for name, each in places.items() if seed_of(f"{name} shard", seed) % count == number - 1)


def _facts(dataset: Dataset, plan: Plan) -> dict[str, Any]:
    records = dataset.records
    labels, sources = ([getattr(record, name) for record in records] for name in ("label", "source"))
    return {
        "images": {
            "fingerprint": dataset.fingerprint(),
            "images": len(records),
            "patients": len({record.patient_id for record in records}),
            "labels": {name: labels.count(name) for name in sorted(set(labels))},
            "sources": {name: sources.count(name) for name in sorted(set(sources))},
        },
        "plan": {**asdict(plan), "by": list(plan.by), "strengths": list(plan.strengths)},
    }


def _described(subject: Subject, facts: Mapping[str, Any], key: str) -> dict[str, Any]:
    target: Target = subject.target
    return {
        "spec": {"target": "the target", "compare": "the second target"}[key],
        "sha256": None,
        **facts.get(key, {}),
        "classes": list(target.classes),
        "positive": list(target.positive),
        "operating_point": target.operating_point,
        "fit": target.config.fit if isinstance(target, ModuleTarget) else None,
        "judges": list(subject.judges),
        "free": subject.free is not None,
        "resolution": subject.generator.resolution,
        "gradient": target.differentiable,
    }
