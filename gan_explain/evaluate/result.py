"""The result of an evaluation: samples, measures with intervals made of them, and both on disk."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gan_explain.evaluate.samples import Sample, from_csv, to_csv
from gan_explain.files.pseudonyms import Pseudonyms
from gan_explain.files.temporaries import write_bytes
from gan_explain.metrics.confusion import Confusion
from gan_explain.metrics.measure import Measure
from gan_explain.types import Brief, DataError

SCHEMA_VERSION = 1
MEASURES, SAMPLES, CONFUSION = "measures.json", "per_sample.csv", "confusion.json"


@dataclass(frozen=True, repr=False)
class EvaluationResult(Brief):
    """measures by name; samples: every image with its numbers; provenance: what was evaluated, on what. confusion: of the
    classes, where a classifier was measured; left_out: images whose label is none of them, which only measures of the positive
    set count."""

    measures: Mapping[str, Measure]
    samples: Sequence[Sample] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    confusion: Confusion | None = None
    left_out: int = 0

    def named(self, names: Pseudonyms) -> EvaluationResult:
        """The same with patients and images under their public names."""
        return replace(self, samples=[sample.named(names) for sample in self.samples])

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write measures.json, per_sample.csv and, of a classifier, confusion.json into a folder, made where it is missing."""
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        measures = {name: found.as_json() for name, found in self.measures.items()}
        document = {"schema_version": SCHEMA_VERSION, "provenance": dict(self.provenance), "measures": measures}
        write_bytes(folder / SAMPLES, to_csv(self.samples).encode())
        if self.confusion is not None:
            matrices = self.confusion.as_json() | {"left_out": self.left_out}
            write_bytes(folder / CONFUSION, (json.dumps(matrices, indent=2) + "\n").encode())
        write_bytes(folder / MEASURES, (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> EvaluationResult:
        """Read what `save` wrote. DataError, naming the file, for anything else."""
        folder = Path(directory)
        path, confusion, left_out = folder / MEASURES, None, 0
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["schema_version"] != SCHEMA_VERSION:
                raise ValueError(f"schema_version {document['schema_version']}")
            measures = {name: Measure.from_json(found) for name, found in document["measures"].items()}
            path = folder / SAMPLES
            with path.open(newline="", encoding="utf-8") as file:
                samples = from_csv(file)
            path = folder / CONFUSION
            if path.exists():
                matrices = json.loads(path.read_text(encoding="utf-8"))
                confusion, left_out = Confusion.from_json(matrices), int(matrices["left_out"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(f"{path}: expected a saved evaluation of schema {SCHEMA_VERSION}, got: {error}") from error
        return cls(measures, samples, document["provenance"], confusion, left_out)
