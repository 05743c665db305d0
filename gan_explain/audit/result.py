"""The result of an audit, as a folder: audit.json, tables, pictures and the report page, made again without weights or data."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gan_explain.audit.curves import Curves, curves_from_csv, curves_to_csv
from gan_explain.audit.pictures import load_pictures, save_pictures
from gan_explain.evaluate.table import Row, from_csv, to_csv
from gan_explain.image import write_bytes
from gan_explain.metrics.aggregate import Measure
from gan_explain.render.report import Picture, render_report
from gan_explain.types import DataError

SCHEMA_VERSION = 1
DOCUMENT, SAMPLES, CURVES, REPORT = "audit.json", "per_sample.csv", "curves.csv", "report.html"


@dataclass(frozen=True)
class AuditResult:
    """`document`: everything that was concluded (JSON); `rows`: one an image; `curves`: p of single images along their
    traversals; `pictures`: structures and layers of the patients that are shown."""

    document: Mapping[str, Any]
    rows: Sequence[Row] = ()
    curves: Curves = field(default_factory=dict)
    pictures: Sequence[Picture] = ()

    @property
    def summary(self) -> list[str]:
        return list(self.document["summary"])

    @property
    def measures(self) -> Mapping[str, Measure]:
        found: Mapping[str, Measure] = self.document["measures"]
        return found

    @property
    def verdict(self) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = self.document["verdict"]
        return found

    def report(self) -> str:
        """The page, one HTML file that opens offline."""
        return render_report(self.document, self.rows, self.pictures)

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write audit.json, per_sample.csv, curves.csv, pictures/ and report.html into a folder, made where it is missing."""
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / SAMPLES, to_csv(self.rows).encode())
        write_bytes(folder / CURVES, curves_to_csv(self.curves).encode())
        save_pictures(self.pictures, folder)
        write_bytes(folder / REPORT, self.report().encode())
        write_bytes(folder / DOCUMENT, (json.dumps(self.document, indent=2, allow_nan=False) + "\n").encode())

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> AuditResult:
        """Read what `save` wrote. DataError, naming the file, for anything else."""
        folder = Path(directory)
        path = folder / DOCUMENT
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["kind"] != "audit" or document["schema_version"] != SCHEMA_VERSION:
                raise ValueError(f"{document['kind']} of schema_version {document['schema_version']}")
            path = folder / SAMPLES
            with path.open(newline="", encoding="utf-8") as file:
                rows = from_csv(file)
            path = folder / CURVES
            with path.open(newline="", encoding="utf-8") as file:
                curves = curves_from_csv(file)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: expected a saved audit of schema {SCHEMA_VERSION}, got: {error}") from error
        return cls(document, rows, curves, load_pictures(folder))
