"""What an audit concludes, as dataclasses, and the files of a shard and a result: a JSON document, the table of samples,
curves."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter

from gan_explain.audit.thresholds import Limit
from gan_explain.evaluate.gathered import Curves
from gan_explain.evaluate.samples import Sample, from_csv, to_csv
from gan_explain.files.temporaries import write_bytes
from gan_explain.files.text import csv_text
from gan_explain.metrics.measure import Measure
from gan_explain.types import DataError

SCHEMA_VERSION = 2
SAMPLES, CURVES = "per_sample.csv", "curves.csv"
Outcome = Literal["pass", "fail", "abstain"]
Read = TypeVar("Read")


@dataclass(frozen=True)
class Curve:
    """A mean curve over samples at x (L,), and its pointwise band of 95 % over patients."""

    x: tuple[float, ...]
    mean: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    n: int
    patients: int


@dataclass(frozen=True)
class Check:
    """One limit against one measure. found: the measure with the interval that decided; reason: why it is left open."""

    limit: Limit
    found: Measure
    answer: Outcome
    reason: str = ""


@dataclass(frozen=True)
class Answer:
    """The answer to a question of the verdict, why, and the checks that it rests on."""

    id: str
    question: str
    answer: Outcome
    why: str
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True)
class Effect:
    """How much a region, or a statistic, of a positive donor raises p beyond what that of a negative one does."""

    kind: Literal["region", "statistic"]
    name: str
    excess: Measure
    positive: Measure
    negative: Measure


@dataclass(frozen=True)
class Control:
    """A control that ran. `ok`: None where its interval leaves it open or it could not be run."""

    name: str
    what: str
    expected: str
    measure: Measure
    ok: bool | None


@dataclass(frozen=True)
class Comparison:
    """Curves of a column's groups; p of a permutation test between them, alone and corrected for all columns; `reason` names what
    was left out and why, and why there is no p."""

    column: str
    groups: Mapping[str, Curve]
    statistic: float | None = None
    p: float | None = None
    p_corrected: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Findings:
    """What is concluded about one target. summary: sentences, the worst first; effects: the largest first."""

    provenance: Mapping[str, Any] = field(default_factory=dict)
    measures: Mapping[str, Measure] = field(default_factory=dict)
    curves: Mapping[str, Curve | None] = field(default_factory=dict)
    effects: tuple[Effect, ...] = ()
    controls: tuple[Control, ...] = ()
    subgroups: tuple[Comparison, ...] = ()
    verdict: tuple[Answer, ...] = ()
    summary: tuple[str, ...] = ()

    @property
    def target(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.provenance.get("target") or {}
        return found


@dataclass(frozen=True)
class Beside:
    """A second target: what is concluded about it, and its curve less the first's on the images that both call negative."""

    findings: Findings
    difference: Curve | None = None


@dataclass(frozen=True)
class Document:
    """Everything that an audit concludes."""

    findings: Findings
    compare: Beside | None = None


def as_json(value: Any) -> Any:
    """Dataclasses, mappings and sequences as plain JSON."""
    if isinstance(value, Measure):
        return value.as_json()
    if is_dataclass(value):
        return {each.name: as_json(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): as_json(each) for name, each in value.items()}
    return [as_json(each) for each in value] if isinstance(value, list | tuple) else value


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    write_bytes(path, (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path, kind: str) -> dict[str, Any]:
    """A document that says it is of `kind` and of this schema. DataError, naming the file, for anything else."""
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = document["kind"], document["schema_version"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: expected an {kind} (schema {SCHEMA_VERSION}), got: {error}") from error
    if found != (kind, SCHEMA_VERSION):
        older = "; audit again" if found[0] == kind else ""
        raise DataError(f"{path}: expected an {kind} (schema {SCHEMA_VERSION}), got {found[0]} of schema {found[1]}{older}")
    return document


def parsed(path: Path, document: Mapping[str, Any], kind: type[Read]) -> Read:
    """A dataclass of what `as_json` made of it. DataError, naming the file, for anything else."""
    try:
        return TypeAdapter(kind).validate_json(json.dumps(document), strict=True)
    except ValueError as error:
        raise DataError(f"{path}: expected what an audit concludes, got: {' '.join(str(error).split())[:200]}") from error


def write_tables(folder: Path, samples: Sequence[Sample], curves: Curves, *, ranks: bool = False) -> None:
    write_bytes(folder / SAMPLES, to_csv(samples, ranks=ranks).encode())
    write_bytes(folder / CURVES, curves_to_csv(curves).encode())


def read_tables(folder: Path) -> tuple[list[Sample], Curves]:
    """What `write_tables` wrote, to the bit. DataError, naming the file, for anything else."""
    path = folder / SAMPLES
    try:
        with path.open(newline="", encoding="utf-8") as file:
            samples = from_csv(file)
        path = folder / CURVES
        with path.open(newline="", encoding="utf-8") as file:
            curves = curves_from_csv(file)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: expected a table of an audit, got: {error}") from error
    return samples, curves


def curves_to_csv(curves: Curves) -> str:
    """curve,image,p_0,p_1,...: one line a curve of an image; numbers come back to the bit."""
    length = max((len(values) for each in curves.values() for values in each.values()), default=0)
    rows: list[list[object]] = [["curve", "image", *(f"p_{i}" for i in range(length))]]
    for name, each in curves.items():
        rows += [[name, image, *map(float, values), *[None] * (length - len(values))] for image, values in each.items()]
    return csv_text(rows)


def curves_from_csv(lines: Iterable[str]) -> Curves:
    """What `curves_to_csv` wrote. ValueError for anything else."""
    reader = csv.reader(lines)
    if next(reader, [])[:2] != ["curve", "image"]:
        raise ValueError("no curves of images")
    curves: Curves = {}
    for name, image, *values in reader:
        curves.setdefault(name, {})[int(image)] = tuple(float(v) for v in values if v)
    return curves
