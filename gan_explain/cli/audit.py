"""`gan-explain audit`: how a CNN responds, how sure that is, and what it must not respond to; `merge` joins shards."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gan_explain.cli import common
from gan_explain.cli.datasets import DATA_HELP, INCLUDE, open_included
from gan_explain.cli.models import FORMS, GENERATOR, TRUST_CODE, judge, load_models, named_judges, names
from gan_explain.cli.names import SALT_OPTION, Salt, shown_data

if TYPE_CHECKING:
    from gan_explain.audit import AuditResult, Subject
    from gan_explain.cli.models import Models

logger = logging.getLogger(__name__)

JUDGES = "judges"  # shipped checkpoint
MEMORY = 256 << 20  # bytes of images kept
FAIL_ON = click.option(
    "--fail-on",
    multiple=True,
    metavar="QUESTION",
    help="Exit 7 where this question fails: any, abstain or a name. May be repeated.",
)


@common.command("audit", out="out/audit")
@click.option("--target", required=True, metavar="SPEC", help=f"CNN: {FORMS}.")
@click.option("--data", required=True, help=DATA_HELP)
@INCLUDE
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="test", help="Split to audit on.")
@click.option("--generator", default=GENERATOR, metavar="NAME", help="Generator: a shipped name or a checkpoint folder.")
@click.option(
    "--free",
    metavar="NAME",
    help="Checkpoint of a free map that was trained against this target. [default: the target's own checkpoint, if it has one]",
)
@click.option("--positive", metavar="A+B", help="Classes that count as positive. [default: the target's own]")
@click.option("--classes", metavar="A,B", help="Names of the target's outputs, where it has none.")
@click.option("--segmenter", default="lungs128", metavar="NAME", help="Checkpoint that finds the lungs.")
@click.option("--judges", multiple=True, metavar="SPEC", help="Independent CNNs for transfer; none for none. [default: judges]")
@click.option("--by", default="", metavar="A,B", help="Columns of the manifest to compare subgroups by: sex,view,age,source.")
@click.option("--compare", metavar="SPEC", help="A second CNN, under the same layers: the difference with its band.")
@click.option(
    "--plant-marker", type=click.FloatRange(0, 1), default=0.8, help="Share of positives with a marker, in the control."
)
@click.option("--steps", type=click.IntRange(21), default=31, help="Strengths along a traversal.")
@click.option("--to", "highest", type=click.FloatRange(1), default=1.5, help="Largest strength.")
@click.option("--quick", is_flag=True, help="Curves, flips, shares, transplants and the opacity probe only.")
@click.option("--show", type=click.IntRange(0, 500), default=200, help="Patients in the report's viewer.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Audit N images drawn by --seed, for a quick look.")
@click.option(
    "--shard",
    metavar="I/N",
    help="Audit the I-th of N parts of the patients; `gan-explain merge` joins them. Its patient_salt lies beside OUT.",
)
@click.option("--lpips", type=click.Path(path_type=Path), metavar="FILE", help="Local AlexNet weights, for the LPIPS distance.")
@SALT_OPTION
@TRUST_CODE
@FAIL_ON
def audit(
    run: common.Run,
    target: str,
    data: str,
    include: Sequence[str],
    split: str,
    generator: str,
    free: str | None,
    positive: str | None,
    classes: str | None,
    segmenter: str,
    judges: Sequence[str],
    by: str,
    compare: str | None,
    plant_marker: float,
    steps: int,
    highest: float,
    quick: bool,
    show: int,
    limit: int | None,
    shard: str | None,
    lpips: Path | None,
    salt: Path | None,
    trust_code: bool,
    fail_on: Sequence[str],
) -> dict[str, Any]:
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

    _check_questions(fail_on)
    part = _shard(shard)
    secret = Salt(run, salt, beside=part is not None and salt is None)
    if part is not None and fail_on:
        raise click.UsageError("--fail-on: a shard has no verdict; give it to `gan-explain merge`")
    options: dict[str, Any] = {
        "generator": generator, "positive": positive, "classes": classes, "segmenter": segmenter, "trust_code": trust_code,
    }  # fmt: skip
    models = load_models(run, target=target, **options)
    distance = perceptual(lpips) if lpips else None
    subject = replace(_subject(models, target, free, quick, judges, trust_code), perceptual=distance)
    every = open_included(run, data, models.generator.resolution, include)
    dataset = every.split(split).remembering(MEMORY)
    if not len(dataset):
        raise DataError(f"{data}: no images in split {split!r}")
    dataset = limited(dataset, limit, run.seed)
    columns = tuple(names(by) or ())
    _check_columns(columns, dataset.records, data)
    about: dict[str, Any] = {
        "data": {"name": shown_data(run, data, dataset.fingerprint()), "split": split, "include": list(include)},
        "generator": _generator(generator),
        "target": _facts(models, target),
    }
    second = None
    if compare:
        other = load_models(run, target=compare, **options)
        second = replace(_subject(other, compare, None, quick, judges, trust_code), perceptual=distance)
        about["compare"] = _facts(other, compare)
    run.record(images=len(dataset))
    if run.dry_run:
        run.say(f"{len(dataset)} images, {len(subject.judges)} judges")
        return {"images": len(dataset), "judges": list(subject.judges)}
    plan = Plan(
        strengths=tuple(even_strengths(0.0, highest, steps).tolist()), seed=run.seed, by=columns, quick=quick, show=show,
        marker=plant_marker or None,
    )  # fmt: skip
    gathered = gather(subject, dataset, plan, shard=part or (1, 1), compare=second, about=about)
    gathered = gathered.named(secret.names(every.records))
    if part is not None:
        with run.staging() as folder:
            gathered.save(folder)
        run.say(f"shard {shard} written to {run.out}; join all with: gan-explain merge SHARD ... --out DIR")
        return {"shard": list(part), "images": len(gathered.rows)}
    return _finish(run, summarise(gathered), fail_on, secret)


@common.command("merge", out="out/audit")
@click.argument("shards", nargs=-1, required=True, type=click.Path(path_type=Path))
@FAIL_ON
def merge(run: common.Run, shards: Sequence[Path], fail_on: Sequence[str]) -> dict[str, Any]:
    """Join the shards of one audit: the result is that of the audit in one piece, to the bit."""
    from gan_explain.audit import Gathered, summarise, union

    _check_questions(fail_on)
    joined = union([Gathered.load(folder) for folder in shards], [str(folder) for folder in shards])
    if joined.ids:
        run.record(patient_ids={"method": "HMAC-SHA256", "salt": joined.ids})
    if run.dry_run:
        return {"images": len(joined.rows)}
    return _finish(run, summarise(joined), fail_on)


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


def _subject(models: Models, spec: str, free: str | None, quick: bool, judges: Sequence[str], trust_code: bool) -> Subject:
    """The target with the generator, the free map that was trained against it where there is one, and the judges."""
    from gan_explain.audit import Subject
    from gan_explain.evaluate.features import usual_features
    from gan_explain.nets.load import load_free

    name = free or _own_free(spec)
    against = load_free(name).to(models.device) if name else None
    specs = [] if quick or tuple(judges) == ("none",) else named_judges(judges or (f"checkpoint:{JUDGES}",))
    jury = {short: judge(spec, models, trust_code) for short, spec in specs}
    features = None if quick else usual_features(jury)
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


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise click.UsageError(f"--shard {text}: expected I/N with I from 1 to N, such as 2/8")
    return int(number), int(count)


def _check_questions(fail_on: Sequence[str]) -> None:
    from gan_explain.audit.verdict import failing

    try:
        failing([], fail_on)
    except ValueError as error:
        raise click.UsageError(f"--fail-on: {error}") from None


def _check_columns(columns: Sequence[str], records: Sequence[Any], data: str) -> None:
    """UsageError for a column that no record has."""
    known = {"source", "label", *(key for record in records for key in record.extra)}
    for column in columns:
        if column not in known:
            raise click.UsageError(f"--by {column}: expected a column of {data}: {', '.join(sorted(known))}")
