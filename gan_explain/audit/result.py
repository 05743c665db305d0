"""The result of an audit, as a folder: audit.json, tables, pictures and the report page, made again without weights or data."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gan_explain.audit.curves import Curves
from gan_explain.audit.pictures import load_pictures, save_pictures
from gan_explain.audit.report.page import Picture, render_report
from gan_explain.audit.tables import read_document, read_tables, write_document, write_tables
from gan_explain.evaluate.table import Row
from gan_explain.files.temporaries import write_bytes

KIND, DOCUMENT, REPORT = "audit", "audit.json", "report.html"


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
    def measures(self) -> Mapping[str, Mapping[str, Any]]:
        found: Mapping[str, Mapping[str, Any]] = self.document["measures"]
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
        write_tables(folder, self.rows, self.curves)
        save_pictures(self.pictures, folder)
        write_bytes(folder / REPORT, self.report().encode())
        write_document(folder / DOCUMENT, self.document)

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> AuditResult:
        """Read what `save` wrote. DataError, naming the file, for anything else."""
        folder = Path(directory)
        document = read_document(folder / DOCUMENT, KIND)
        rows, curves = read_tables(folder)
        return cls(document, rows, curves, load_pictures(folder))
