"""The result of an audit, as a folder: audit.json, tables, pictures and the report page, made again without weights or data."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gan_explain.audit.document import (
    SCHEMA_VERSION,
    Answer,
    Document,
    Findings,
    as_json,
    parsed,
    read_json,
    read_tables,
    write_json,
    write_tables,
)
from gan_explain.audit.pictures import load_pictures, save_pictures
from gan_explain.audit.report.page import render_report, render_summary
from gan_explain.evaluate.gathered import Curves, Picture
from gan_explain.evaluate.samples import Sample
from gan_explain.files.temporaries import write_bytes
from gan_explain.metrics.measure import Measure
from gan_explain.types import Brief

KIND, DOCUMENT, REPORT = "audit", "audit.json", "report.html"


@dataclass(frozen=True, repr=False)
class AuditResult(Brief):
    """What an audit found. document: everything that was concluded; samples: every image with its numbers; curves: p of single
    images along their traversals; pictures: structures and layers of the patients that are shown.

    `summary`, `measures` and `verdict` are what most want; `save` writes a folder whose report.html opens offline; in a notebook
    the result shows its summary and verdict.
    """

    document: Document
    samples: Sequence[Sample] = ()
    curves: Curves = field(default_factory=dict)
    pictures: Sequence[Picture] = ()

    @property
    def findings(self) -> Findings:
        """What was concluded about the target; of a second one in `document.compare`."""
        return self.document.findings

    @property
    def summary(self) -> Sequence[str]:
        """Sentences, the worst first."""
        return self.findings.summary

    @property
    def measures(self) -> Mapping[str, Measure]:
        """Every measure by name."""
        return self.findings.measures

    @property
    def verdict(self) -> Sequence[Answer]:
        """The answer to each question: pass, fail or abstain, and why."""
        return self.findings.verdict

    def as_json(self) -> dict[str, Any]:
        """What audit.json holds."""
        found: dict[str, Any] = as_json(self.document)
        return {"schema_version": SCHEMA_VERSION, "kind": KIND, **found}

    def report(self) -> str:
        """The page, one HTML file that opens offline."""
        return render_report(self.document, self.samples, self.pictures)

    def _repr_html_(self) -> str:
        """Summary, verdict and main figures, for a notebook; no scripts."""
        return render_summary(self.findings)

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write audit.json, per_sample.csv, curves.csv, pictures/ and report.html into a folder, made where it is missing."""
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        write_tables(folder, self.samples, self.curves)
        save_pictures(self.pictures, folder)
        write_bytes(folder / REPORT, self.report().encode())
        write_json(folder / DOCUMENT, self.as_json())

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> AuditResult:
        """Read what `save` wrote. DataError, naming the file, for anything else, an audit of an older schema among it."""
        folder = Path(directory)
        path = folder / DOCUMENT
        document = parsed(path, read_json(path, KIND), Document)
        samples, curves = read_tables(folder)
        return cls(document, samples, curves, load_pictures(folder))
