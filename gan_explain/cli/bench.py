"""`gan-explain bench`: any benchmark of `gan_explain.bench`, by name."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import Field

from gan_explain.bench import BENCHMARKS, LIMITED, SHARED_OUT
from gan_explain.cli import common
from gan_explain.cli.datasets import open_included
from gan_explain.cli.models import default_target, generator_facts, probed, target_facts
from gan_explain.cli.names import Salt
from gan_explain.cli.options import ARGUMENT, overridden
from gan_explain.cli.words import (
    GENERATOR,
    Data,
    Include,
    Limit,
    Segmenter,
    Set,
    Shard,
    TrustCode,
    shard_of,
)
from gan_explain.cli.words import Generator as Name
from gan_explain.cli.words import Target as Spec

if TYPE_CHECKING:
    from gan_explain.bench.given import Outcome
    from gan_explain.data import Dataset
    from gan_explain.files.pseudonyms import Pseudonyms
    from gan_explain.nets.segmenter import LungSegmenter
    from gan_explain.types import Generator, Record, Target

Item = TypeVar("Item")
EPILOG = "\b\nBenchmarks:\n" + "\n".join(f"  {name:<12} {line}" for name, line in BENCHMARKS.items())
RESULTS, ROWS, MEASURES, TABLE = "results.jsonl", "per_image.jsonl", "measures.json", "table.md"


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """Which benchmark, on which images; all else is --set."""

    TITLE: ClassVar = "Benchmark"
    name: Annotated[str, Field(description="One of those below."), ARGUMENT]
    set: Set = ()
    data: Data = "phantom"
    include: Include = ()
    split: Annotated[Literal["train", "val", "test"] | None, Field(description="Split to take.")] = None
    limit: Limit = None
    shard: Shard = None

    def __post_init__(self) -> None:
        shard_of(self.shard)
        if self.name not in BENCHMARKS:
            raise ValueError(f"bench {self.name}: expected one of {', '.join(BENCHMARKS)}")
        for option, given, those in (("--limit", self.limit, LIMITED), ("--shard", self.shard, SHARED_OUT)):
            if given is not None and self.name not in those:
                raise ValueError(f"bench {self.name}: {option} is taken by {', '.join(those)} alone")


@dataclass(frozen=True, kw_only=True)
class BenchModels:
    """What most benchmarks work with."""

    TITLE: ClassVar = "Models"
    generator: Name = GENERATOR
    target: Spec = None
    segmenter: Segmenter = "lungs128"
    trust_code: TrustCode = False


class Given:
    """What `bench.given.Given` asks for, of one run."""

    def __init__(self, run: common.Run, options: BenchOptions, models: BenchModels) -> None:
        self._run, self._options, self._models = run, options, models
        self._opened: dict[int, Dataset] = {}
        self.salt = Salt(run)
        self.shown: Pseudonyms | None = None
        self.seed, self.device, self.dry_run = run.seed, run.device, run.dry_run
        self.data, self.include, self.split, self.limit = options.data, options.include, options.split, options.limit
        self.shard = shard_of(options.shard) or (1, 1)
        self.generator, self.segmenter = models.generator, models.segmenter

    @property
    def target(self) -> str:
        return self._models.target or default_target(self.generator)

    def dataset(self, side: int, include: Sequence[str] | None = None) -> Dataset:
        if side not in self._opened:
            self._opened[side] = open_included(self._run, self.data, side, ())
        wanted = self.include if include is None else include
        found = self._opened[side].including(wanted)
        if not len(found):
            from gan_explain.types import DataError

            raise DataError(f"{self.data}: no record fits --include {' '.join(wanted)}")
        return found

    def load_segmenter(self, name: str | None = None) -> LungSegmenter:
        from gan_explain.nets.segmenter import load_segmenter

        return load_segmenter(name or self.segmenter).to(self.device)

    def load_generator(self) -> Generator:
        from gan_explain.nets.load import load_generator

        self._run.record(generator=generator_facts(self.generator))
        return load_generator(self.generator).to(self.device)

    def load_targets(self, specs: Iterable[str]) -> dict[str, Target]:
        lungs = self.load_segmenter()
        found = {
            spec: probed(spec, self.device, segmenter=lungs, trust_code=self._models.trust_code) for spec in dict.fromkeys(specs)
        }
        self._run.record(targets=[target_facts(spec, target) for spec, target in found.items()])
        return found

    def names(self, records: Sequence[Record]) -> Pseudonyms:
        self.shown = self.salt.names(records)
        return self.shown

    def results(self) -> Path:
        path, self.salt = self._run.folder / RESULTS, Salt(self._run, fills=True)
        if self._run.overwrite and not self._run.resume:
            path.unlink(missing_ok=True)
        return path

    def progress(self, items: Iterable[Item], total: int, unit: str) -> Iterable[Item]:
        from tqdm import tqdm

        counted: Iterable[Item] = tqdm(items, total=total, unit=unit, file=sys.stderr, disable=None)
        return counted

    def write(self, outcome: Outcome) -> dict[str, Any]:
        """Put everything that was found into the output folder, patients and images under their public names."""
        from gan_explain.files.temporaries import write_bytes

        document = {"schema_version": 1, **common.jsonable(outcome.document)}
        rows = [common.jsonable(row) for row in outcome.rows]
        rows = self.shown.rows(rows) if self.shown else rows
        lines = "".join(f"{json.dumps(row, allow_nan=False)}\n" for row in rows)
        texts = {MEASURES: json.dumps(document, indent=2, allow_nan=False) + "\n", TABLE: f"{outcome.text}\n"}
        with self._run.staging() as folder:
            for name, text in (texts | ({ROWS: lines} if rows else {})).items():
                write_bytes(folder / name, text.encode())
            for name, draw in outcome.pictures.items():
                draw(folder / name)
            if self.shown:
                self.salt.keep(folder)
        return document


@common.command("bench", out="out/bench_NAME", resume=True, epilog=EPILOG)
def bench(run: common.Run, options: BenchOptions, models: BenchModels) -> dict[str, Any]:
    """Run a benchmark of a whole procedure.

    Writes measures.json, table.md and, where images are measured one by one, per_image.jsonl and pictures. Benchmarks that train
    add to results.jsonl as they go: a stopped one goes on with --resume, and processes may share the folder with --shard.
    """
    module = import_module(f"gan_explain.bench.{options.name}")
    settings = overridden(module.Options(), options.set)
    shown = {name: name.upper() if isinstance(value, Path) else value for name, value in asdict(settings).items()}
    run.record(settings=shown)
    given = Given(run, options, models)
    outcome = module.bench(given, settings)
    if run.dry_run:
        return dict(outcome.document)
    document = given.write(outcome)
    run.say(f"{outcome.text}\n\nwritten to {run.out}")
    return document
