"""`gan-explain audit`: how a CNN responds, how sure that is, and what it must not respond to; `merge` joins shards."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import click
from pydantic import Field

from gan_explain.cli import common
from gan_explain.cli.datasets import open_included
from gan_explain.cli.models import judge, load_models, named_judges
from gan_explain.cli.names import Salt, shown_data
from gan_explain.cli.options import ARGUMENT
from gan_explain.cli.words import DataOptions, Judges, Lpips, Shard, TargetedOptions, shard_of

if TYPE_CHECKING:
    from gan_explain.audit import AuditResult, Subject
    from gan_explain.cli.models import Models

logger = logging.getLogger(__name__)

JUDGES = "judges"  # shipped checkpoint
MEMORY = 256 << 20  # bytes of images kept
FailOn = Annotated[
    tuple[str, ...],
    Field(title="QUESTION", description="Exit 7 where this question fails: any, abstain or a name. May be repeated."),
]


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """What is asked of the target."""

    TITLE: ClassVar = "Audit"
    free: Annotated[
        str | None,
        Field(
            title="NAME",
            description="Checkpoint of a free map trained against this target. [default: the target's own, if it has one]",
        ),
    ] = None
    judges: Judges = (f"checkpoint:{JUDGES}",)
    by: Annotated[
        tuple[str, ...], Field(title="A,B", description="Columns of the manifest to compare subgroups by: sex,view,age,source.")
    ] = ()
    compare: Annotated[
        str | None, Field(title="SPEC", description="A second CNN, under the same layers: the difference with its band.")
    ] = None
    plant_marker: Annotated[float, Field(ge=0, le=1, description="Share of positives with a marker, in the control.")] = 0.8
    strengths: Annotated[int, Field(ge=21, title="N", description="Strengths along a traversal.")] = 31
    max_strength: Annotated[float, Field(ge=1, title="λ", description="Largest strength.")] = 1.5
    quick: Annotated[bool, Field(description="Curves, flips, shares, transplants and the opacity probe only.")] = False
    show: Annotated[int, Field(ge=0, le=500, title="N", description="Patients in the report's viewer.")] = 200
    shard: Shard = None
    lpips: Lpips = None
    fail_on: FailOn = ()

    def __post_init__(self) -> None:
        shard_of(self.shard)
        _check_questions(self.fail_on)
        if self.shard and self.fail_on:
            raise ValueError("--fail-on: a shard has no verdict; give it to `gan-explain merge`")


@common.command("audit", out="out/audit")
def audit(run: common.Run, data: DataOptions, models: TargetedOptions, options: AuditOptions) -> dict[str, Any]:
    """Audit a CNN: does it respond to pathology inside the lungs, or is it right for the wrong reason?

    Writes report.html (opens offline), audit.json, per_sample.csv and curves.csv. Every number has a patient-bootstrap interval
    of 95 %, and the verdict abstains where that leaves a question open. Patients have pseudonyms; who holds the salt can tell who
    they are (progression --salt FILE --patient PSEUDONYM), so keep it when the rest is passed on.
    """
    from gan_explain.audit import Plan, gather, summarise
    from gan_explain.counterfactual import even_strengths
    from gan_explain.evaluate.run import limited
    from gan_explain.metrics.proximity import perceptual
    from gan_explain.types import DataError

    part, quick = shard_of(options.shard), options.quick
    secret = Salt(run, beside=part is not None and run.salt is None)
    loaded = load_models(run, models)
    distance = perceptual(options.lpips) if options.lpips else None
    subject = replace(_subject(loaded, models.target, options.free, options, models.trust_code), perceptual=distance)
    every = open_included(run, data.data, loaded.generator.resolution, data.include)
    dataset = every.split(data.split).remembering(MEMORY)
    if not len(dataset):
        raise DataError(f"{data.data}: no images in split {data.split!r}")
    dataset = limited(dataset, data.limit, run.seed)
    _check_columns(options.by, dataset.records, data.data)
    about: dict[str, Any] = {
        "data": {
            "name": shown_data(run, data.data, dataset.fingerprint()),
            "split": data.split,
            "include": list(data.include),
        },
        "generator": _generator(models.generator),
        "target": _facts(loaded, models.target),
    }
    second = None
    if options.compare:
        other = load_models(run, replace(models, target=options.compare))
        second = replace(_subject(other, options.compare, None, options, models.trust_code), perceptual=distance)
        about["compare"] = _facts(other, options.compare)
    run.record(images=len(dataset))
    if run.dry_run:
        run.say(f"{len(dataset)} images, {len(subject.judges)} judges")
        return {"images": len(dataset), "judges": list(subject.judges)}
    plan = Plan(
        strengths=tuple(even_strengths(0.0, options.max_strength, options.strengths).tolist()), seed=run.seed, by=options.by,
        quick=quick, show=options.show, marker=options.plant_marker or None,
    )  # fmt: skip
    gathered = gather(subject, dataset, plan, shard=part or (1, 1), compare=second, about=about)
    gathered = gathered.named(secret.names(every.records))
    if part is not None:
        with run.staging() as folder:
            gathered.save(folder)
        run.say(f"shard {options.shard} written to {run.out}; join all with: gan-explain merge SHARD ... --out DIR")
        return {"shard": list(part), "images": len(gathered.rows)}
    return _finish(run, summarise(gathered), options.fail_on, secret)


@dataclass(frozen=True, kw_only=True)
class MergeOptions:
    """The shards, and what counts as a failure."""

    TITLE: ClassVar = "Audit"
    shards: Annotated[tuple[Path, ...], Field(), ARGUMENT]
    fail_on: FailOn = ()

    def __post_init__(self) -> None:
        _check_questions(self.fail_on)


@common.command("merge", out="out/audit")
def merge(run: common.Run, options: MergeOptions) -> dict[str, Any]:
    """Join the shards of one audit: the result is that of the audit in one piece, to the bit."""
    from gan_explain.audit import Gathered, summarise, union

    shards = options.shards
    joined = union([Gathered.load(folder) for folder in shards], [str(folder) for folder in shards])
    if joined.ids:
        run.record(patient_ids={"method": "HMAC-SHA256", "salt": joined.ids})
    if run.dry_run:
        return {"images": len(joined.rows)}
    return _finish(run, summarise(joined), options.fail_on)


def _finish(run: common.Run, result: AuditResult, fail_on: Sequence[str], salt: Salt | None = None) -> dict[str, Any]:
    """Write the result, say what it concludes, and hold it against --fail-on."""
    from gan_explain.audit.verdict import failing

    with run.staging() as folder:
        result.save(folder)
        if salt is not None:
            salt.keep(folder)
    for sentence in result.summary:
        run.say(sentence)
    for each in result.verdict:
        run.say(f"{each['answer']:>8}  {each['question']}")
    run.say(f"{len(result.rows)} images; report: {run.out / 'report.html'}")
    failed = failing(result.verdict, fail_on) if fail_on else []
    if failed:
        raise common.ThresholdError(f"failed: {', '.join(failed)} (--fail-on {' '.join(fail_on)}); written to {run.out}")
    return {"summary": result.summary, "verdict": result.verdict, "measures": result.measures}


def _subject(models: Models, spec: str, free: str | None, options: AuditOptions, trust_code: bool) -> Subject:
    """The target with the generator, the free map that was trained against it where there is one, and the judges."""
    from gan_explain.audit import Subject
    from gan_explain.evaluate.features import usual_features
    from gan_explain.nets.load import load_free

    name = free or _own_free(spec)
    against = load_free(name).to(models.device) if name else None
    specs = [] if options.quick or options.judges == ("none",) else named_judges(options.judges)
    jury = {short: judge(spec, models, trust_code) for short, spec in specs}
    features = None if options.quick else usual_features(jury)
    label = models.generator.labels[0]
    return Subject(models.target, models.generator, models.segmenter, against, jury, label, extractor=features)


def _own_free(spec: str) -> str | None:
    """The checkpoint that holds a target of ours, where it holds a free map too."""
    from gan_explain.files.checkpoints import find_checkpoint, read_config

    scheme, _, rest = spec.partition(":")
    name, _, part = rest.partition("#")
    if scheme != "checkpoint" or part not in ("", "target"):
        return None
    return name if "free" in read_config(find_checkpoint(name))["parts"] else None


def _facts(models: Models, spec: str) -> dict[str, Any]:
    """What a result says of its target."""
    from gan_explain.targets import weights_digest

    return {"spec": spec, "sha256": weights_digest(models.target)}


def _generator(name: str) -> dict[str, Any]:
    """What a result says of its generator."""
    from gan_explain.files.checkpoints import find_checkpoint, read_config

    return {"checkpoint": Path(name).name, "sha256": read_config(find_checkpoint(name))["sha256"]}


def _check_questions(fail_on: Sequence[str]) -> None:
    from gan_explain.audit.verdict import failing

    try:
        failing([], fail_on)
    except ValueError as error:
        raise ValueError(f"--fail-on: {error}") from None


def _check_columns(columns: Sequence[str], records: Sequence[Any], data: str) -> None:
    """UsageError for a column that no record has."""
    known = {"source", "label", *(key for record in records for key in record.extra)}
    for column in columns:
        if column not in known:
            raise click.UsageError(f"--by {column}: expected a column of {data}: {', '.join(sorted(known))}")
