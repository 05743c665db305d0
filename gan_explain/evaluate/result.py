"""The result of an evaluation: a table of one row a sample, measures with intervals made of it, and both on disk."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan_explain.evaluate.table import Row, from_csv, to_csv
from gan_explain.files.temporaries import write_bytes
from gan_explain.metrics.measure import Measure
from gan_explain.stats import spearman
from gan_explain.types import DataError

SCHEMA_VERSION = 1
MEASURES, SAMPLES = "measures.json", "per_sample.csv"

Floats = NDArray[np.float64]
Statistic = Callable[[Any], Any]


@dataclass(frozen=True)
class EvaluationResult:
    """measures by name; per_sample: a row for every image, NaN where a measure does not apply; provenance: what was evaluated, on
    what."""

    measures: Mapping[str, Measure]
    per_sample: Sequence[Row]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write measures.json and per_sample.csv into a folder, made where it is missing."""
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        document = {
            "schema_version": SCHEMA_VERSION,
            "provenance": dict(self.provenance),
            "measures": {k: v.as_json() for k, v in self.measures.items()},
        }
        write_bytes(folder / SAMPLES, to_csv(self.per_sample).encode())
        write_bytes(folder / MEASURES, (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> EvaluationResult:
        """Read what `save` wrote. DataError, naming the file, for anything else."""
        path = Path(directory) / MEASURES
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["schema_version"] != SCHEMA_VERSION:
                raise ValueError(f"schema_version {document['schema_version']}")
            measures = {name: Measure.from_json(found) for name, found in document["measures"].items()}
            provenance = document["provenance"]
            path = Path(directory) / SAMPLES
            with path.open(newline="", encoding="utf-8") as file:
                rows = from_csv(file)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(f"{path}: expected a saved evaluation of schema {SCHEMA_VERSION}, got: {error}") from error
        return cls(measures, rows, provenance)


@dataclass(frozen=True)
class Aggregator:
    """Makes measures of rows: patients are resampled, over all and by source."""

    rows: Sequence[Row]
    n_boot: int = 1000
    seed: int = 0

    def column(self, name: str) -> Floats:
        """The numbers of a column (N,), NaN where a row lacks it."""
        return np.array([float(row.get(name, math.nan)) for row in self.rows])

    def of(self, name: str, statistic: Statistic = np.mean) -> Measure:
        """A statistic of one column; values that are not finite are left out."""
        return self._measure(self.column(name), statistic, "no sample has a value")

    def relation(self, first: str, second: str, of: Callable[[Floats, Floats], float] = spearman) -> Measure:
        """A statistic of two columns (Spearman's rho) over the rows that have both."""
        a, b = self.column(first), self.column(second)
        places = np.where(np.isfinite(a) & np.isfinite(b), np.arange(len(a)), np.nan)

        def related(drawn: Floats) -> float:
            i = drawn.astype(int)
            return of(a[i], b[i])

        return self._measure(places, related, "needs two different values of both")

    def _measure(self, values: Floats, statistic: Statistic, reason: str) -> Measure:
        patients, sources = ([row[key] for row in self.rows] for key in ("patient_id", "source"))
        return Measure.over(values, patients, sources, statistic=statistic, n_boot=self.n_boot, seed=self.seed, reason=reason)
