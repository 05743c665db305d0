"""Auditing a target over a dataset, patient by patient; whole or in shards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from tqdm.auto import tqdm

from gan_explain.audit.conclude import conclude
from gan_explain.audit.control import positive_control
from gan_explain.audit.donors import Donors
from gan_explain.audit.options import AuditOptions
from gan_explain.audit.result import AuditResult
from gan_explain.audit.sets import Transplants, audit_sets
from gan_explain.audit.shard import Shard
from gan_explain.counterfactual.checks import check_parts, check_target
from gan_explain.data import Dataset
from gan_explain.evaluate.engine import prepare
from gan_explain.evaluate.features import extractor_name
from gan_explain.evaluate.gathered import Gathered
from gan_explain.evaluate.inputs import is_positive
from gan_explain.evaluate.reasons import facts
from gan_explain.metrics.change import FreeLayer, Models
from gan_explain.metrics.inputs import seed_of
from gan_explain.nets.segmenter import load_segmenter
from gan_explain.types import DataError, Generator, Segmenter, Target

WHOLE = (1, 1)


def audit(
    generator: Generator,
    target: Target,
    dataset: Dataset,
    options: AuditOptions | None = None,
    *,
    segmenter: Segmenter | None = None,
    judges: Mapping[str, Target] | None = None,
    free: FreeLayer | None = None,
    compare: Target | None = None,
) -> AuditResult:
    """Audit a target on a dataset (a split, opened at the generator's resolution): measures, curves, what moves it, a verdict.

    segmenter: finds the lungs, by default the shipped one; judges: independent CNNs, for transfer; free: a map that was trained
    against the target; compare: a second target, under the same layers. Without a positive or a negative image much is missing,
    with the reason. DataError for a dataset without images, TypeError for what is no generator, target or dataset. `gather` and
    `conclude` are its two halves.
    """
    check_parts(generator, target)
    for each in (*(judges or {}).values(), *(() if compare is None else (compare,))):
        check_target(each)
    if not isinstance(dataset, Dataset):
        raise TypeError(f"expected a dataset (open_dataset), got {type(dataset).__name__}")
    models = Models(generator, target, segmenter or load_segmenter(), dict(judges or {}), free)
    second = None if compare is None else replace(models, target=compare, free=None)
    return conclude(gather(models, dataset, options or AuditOptions(), compare=second))


def gather(
    models: Models,
    dataset: Dataset,
    options: AuditOptions,
    *,
    shard: tuple[int, int] = WHOLE,
    compare: Models | None = None,
    about: Mapping[str, Any] | None = None,
) -> Shard:
    """Measure the patients of one shard (i of n, counted from 1); what is not of one patient is measured in the first.

    Every patient is one batch, and random numbers follow from the patient's name: what comes out for a patient does not depend
    on the shard. Memory grows by the numbers of an image and 17 kB of its features; `options.show` pictures are kept, no more.
    `about`: facts for the result's provenance, by name.
    """
    if not len(dataset):
        raise DataError(f"{dataset.root}: expected images to audit, got none")
    known = {**(about or {}), "images": _images(dataset), "plan": options.as_json()}
    found = _gather(models, dataset, options, shard, known, "target")
    return found if compare is None else replace(found, second=_gather(compare, dataset, options, shard, known, "compare"))


def _gather(
    models: Models, dataset: Dataset, options: AuditOptions, shard: tuple[int, int], about: Mapping[str, Any], which: str
) -> Shard:
    target, seed = models.asked, options.seed
    negative = len({r.patient_id for r in dataset.records if not is_positive(r, target)})
    donors = Donors(dataset, target, models.segmenter, options.donors, seed, models.device)
    sets = audit_sets(options.by, options.quick, Transplants(donors, options.transplanted / max(1, negative)))
    engine = prepare(models, dataset, options, sets, quick=options.quick, some_draw=" some")
    groups = tqdm(
        list(_patients(dataset, seed, shard)), desc="patients", unit="patient", disable=None, leave=False
    )  # one group a patient
    gathered = engine.stream(dataset, groups, Gathered(show=options.show))
    once = {}
    if shard[0] == 1 and options.marker and not options.quick:
        once = positive_control(target, dataset, models.segmenter, share=options.marker, seed=seed)
    spec = {"target": "the target", "compare": "the second target"}[which]
    extractor = engine.models.extractor
    described = {
        "target": {"spec": spec, "sha256": None, **about.get(which, {}), **facts(models)},
        "features": None if extractor is None else extractor_name(extractor),
    }
    return Shard({**about, **described}, gathered, shard, once)


def _patients(dataset: Dataset, seed: int, shard: tuple[int, int]) -> Iterator[list[int]]:
    """Places of the images of each patient that belongs to the shard, in the order of the dataset."""
    places: dict[str, list[int]] = {}
    for i, record in enumerate(dataset.records):
        places.setdefault(record.patient_id, []).append(i)
    number, count = shard
    return (each for name, each in places.items() if seed_of(f"{name} shard", seed) % count == number - 1)


def _images(dataset: Dataset) -> dict[str, Any]:
    records = dataset.records
    labels, sources = ([getattr(record, name) for record in records] for name in ("label", "source"))
    return {
        "fingerprint": dataset.fingerprint(),
        "images": len(records),
        "patients": len({record.patient_id for record in records}),
        "labels": {name: labels.count(name) for name in sorted(set(labels))},
        "sources": {name: sources.count(name) for name in sorted(set(sources))},
    }
