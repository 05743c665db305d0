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
from gan_explain.cli.words import DataOptions, HighStrength, Judges, Lpips, Shard, Strengths, TargetedOptions, shard_of

if TYPE_CHECKING:
    from gan_explain.audit import AuditResult
    from gan_explain.audit import Shard as Measured
    from gan_explain.cli.models import Models as Loaded
    from gan_explain.metrics.change import Models
    from gan_explain.types import Record

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
    strengths: Strengths = 31
    max_strength: HighStrength = 1.5
    quick: Annotated[bool, Field(description="Curves, flips, shares, transplants and the opacity probe only.")] = False
    shard: Shard = None
    lpips: Lpips = None
    fail_on: FailOn = ()

    def __post_init__(self) -> None:
        shard_of(self.shard)
        if self.strengths < 21 or (self.max_strength or 0) < 1:
            raise ValueError("expected --strengths of at least 21 and a --max-strength of at least 1")
        _check_questions(self.fail_on)
        if self.shard and self.fail_on:
            raise ValueError("--fail-on: a shard has no verdict; give it to `gan-explain merge`")


@common.command("audit", out="out/audit")
def audit(run: common.Run, data: DataOptions, models: TargetedOptions, options: AuditOptions) -> dict[str, Any]:
    """Audit a CNN: does it respond to pathology inside the lungs, or is it right for the wrong reason?

    Writes report.html (opens offline), audit.json, per_sample.csv and curves.csv. Every number has a patient-bootstrap interval
    of 95 %, and the verdict abstains where that leaves a question open. Patients have pseudonyms; who holds the salt can tell who
    they are (progression --salt FILE --patient PSEUDONYM), so keep it when the rest is passed on. Under torchrun each process
    takes a part of the patients, and the result is the same.
    """
    from gan_explain.audit import conclude, union
    from gan_explain.audit.ranks import ranks

    part = shard_of(options.shard)
    with ranks() as processes:
        if part is not None and processes.count > 1:
            raise click.UsageError("--shard: under torchrun each process takes its part; expected none")
        secret = Salt(run, beside=part is not None and run.salt is None)
        number = part or processes.shard
        shard, every = processes.together(lambda: _measure(run, data, models, options, number))
        if run.dry_run:
            return {"images": shard.about["images"]["images"], "judges": shard.about["target"]["judges"]}
        shards = processes.collect(shard)

        def write() -> dict[str, Any]:
            if not run.is_main:
                return {}
            whole = shards[0] if part else union(shards, [f"process {i}" for i in range(len(shards))])
            found = whole.named(secret.names(every))
            return _write_shard(run, found) if part else _finish(run, conclude(found), options.fail_on, secret)

        return processes.together(write)


def _measure(
    run: common.Run, data: DataOptions, models: TargetedOptions, options: AuditOptions, number: tuple[int, int]
) -> tuple[Measured, Sequence[Record]]:
    """One shard, and the records of the whole dataset."""
    from gan_explain.audit import AuditOptions as HowToAudit
    from gan_explain.audit import Shard, gather
    from gan_explain.counterfactual import even_strengths
    from gan_explain.evaluate.gathered import Gathered
    from gan_explain.evaluate.inputs import limited
    from gan_explain.evaluate.reasons import facts
    from gan_explain.types import DataError

    loaded = load_models(run, models)
    audited = _models(loaded, models.target, options.free, options, models.trust_code)
    every = open_included(run, data.data, loaded.generator.resolution, data.include)
    dataset = every.split(data.split).remembering(MEMORY)
    if not len(dataset):
        raise DataError(f"{data.data}: no images in split {data.split!r}")
    dataset = limited(dataset, data.limit, run.seed)
    _check_columns(options.by, dataset.records, data.data)
    name = shown_data(run, data.data, dataset.fingerprint())
    about: dict[str, Any] = {
        "data": {"name": name, "split": data.split, "include": list(data.include)},
        "generator": _generator(models.generator),
        "target": _facts(loaded, models.target),
    }
    second = None
    if options.compare:
        other = load_models(run, replace(models, target=options.compare))
        second = _models(other, options.compare, None, options, models.trust_code)
        about["compare"] = _facts(other, options.compare)
    run.record(images=len(dataset))
    if run.dry_run:
        run.say(f"{len(dataset)} images, {len(audited.judges)} judges")
        images = {"images": len(dataset)}
        return Shard({"images": images, "target": facts(audited)}, Gathered()), every.records
    how = HowToAudit(
        strengths=tuple(even_strengths(0.0, options.max_strength or 1.5, options.strengths).tolist()), seed=run.seed,
        by=options.by, quick=options.quick, marker=options.plant_marker or None,
        label=loaded.generator.labels[0],
    )  # fmt: skip
    return gather(audited, dataset, how, shard=number, compare=second, about=about), every.records


def _write_shard(run: common.Run, shard: Measured) -> dict[str, Any]:
    with run.staging() as folder:
        shard.save(folder)
    i, n = shard.number
    run.say(f"shard {i}/{n} written to {run.out}; join all with: gan-explain merge SHARD ... --out DIR")
    return {"shard": [i, n], "images": len(shard.gathered.samples)}


@dataclass(frozen=True, kw_only=True)
class MergeOptions:
    """The shards, and what counts as a failure."""

    TITLE: ClassVar = "Audit"
    shards: Annotated[tuple[Path, ...], Field(description="Folders that audits with --shard wrote."), ARGUMENT]
    fail_on: FailOn = ()

    def __post_init__(self) -> None:
        _check_questions(self.fail_on)


@common.command("merge", out="out/audit", without=("seed", "device", "salt"))
def merge(run: common.Run, options: MergeOptions) -> dict[str, Any]:
    """Join the shards of one audit: the result is that of the audit in one piece, to the bit."""
    from gan_explain.audit import Shard, conclude, union

    shards = options.shards
    joined = union([Shard.load(folder) for folder in shards], [str(folder) for folder in shards])
    if joined.ids:
        run.record(patient_ids={"method": "HMAC-SHA256", "salt": joined.ids})
    if run.dry_run:
        return {"images": len(joined.gathered.samples)}
    return _finish(run, conclude(joined), options.fail_on)


def _finish(run: common.Run, result: AuditResult, fail_on: Sequence[str], salt: Salt | None = None) -> dict[str, Any]:
    """Write the result, say what it concludes, and hold it against --fail-on."""
    from gan_explain.audit.document import as_json
    from gan_explain.audit.verdict import failing

    with run.staging() as folder:
        result.save(folder)
        if salt is not None:
            salt.keep(folder)
    for sentence in result.summary:
        run.say(sentence)
    for each in result.verdict:
        run.say(f"{each.answer:>8}  {each.question}")
    run.say(f"{len(result.samples)} images; report: {run.out / 'report.html'}")
    failed = failing(result.verdict, fail_on) if fail_on else []
    if failed:
        raise common.ThresholdError(f"failed: {', '.join(failed)} (--fail-on {' '.join(fail_on)}); written to {run.out}")
    return {"summary": result.summary, "verdict": as_json(result.verdict), "measures": result.measures}


def _models(loaded: Loaded, spec: str, free: str | None, options: AuditOptions, trust_code: bool) -> Models:
    """The target with the generator, the free map that was trained against it where there is one, and the judges."""
    from gan_explain.evaluate.features import usual_features
    from gan_explain.metrics.change import Models
    from gan_explain.metrics.proximity import perceptual
    from gan_explain.nets.load import load_free

    name = free or _own_free(spec)
    against = load_free(name).to(loaded.device) if name else None
    specs = [] if options.quick or options.judges == ("none",) else named_judges(options.judges)
    judges = {short: judge(each, loaded, trust_code) for short, each in specs}
    distance = perceptual(options.lpips) if options.lpips else None
    features = None if options.quick else usual_features(judges)
    return Models(loaded.generator, loaded.target, loaded.segmenter, judges, against, distance, features)


def _own_free(spec: str) -> str | None:
    """The checkpoint that holds a target of ours, where it holds a free map too."""
    from gan_explain.files.checkpoints import config_of

    scheme, _, rest = spec.partition(":")
    name, _, part = rest.partition("#")
    if scheme != "checkpoint" or part not in ("", "target"):
        return None
    return name if "free" in config_of(name)["parts"] else None


def _facts(models: Loaded, spec: str) -> dict[str, Any]:
    """What a result says of its target."""
    from gan_explain.targets import weights_digest

    return {"spec": spec, "sha256": weights_digest(models.target)}


def _generator(name: str) -> dict[str, Any]:
    """What a result says of its generator."""
    from gan_explain.files.checkpoints import config_of

    return {"checkpoint": Path(name).name, "sha256": config_of(name)["sha256"]}


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
