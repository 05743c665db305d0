"""The files that a shard and a result share: a JSON document of a kind, the table of images, the curves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gan_explain.audit.curves import Curves, curves_from_csv, curves_to_csv
from gan_explain.evaluate.table import Row, from_csv, to_csv
from gan_explain.files.temporaries import write_bytes
from gan_explain.types import DataError

SCHEMA_VERSION = 1
SAMPLES, CURVES = "per_sample.csv", "curves.csv"


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    write_bytes(path, (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())


def read_document(path: Path, kind: str) -> dict[str, Any]:
    """A document that says it is of `kind` and of this schema. DataError, naming the file, for anything else."""
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if document["kind"] != kind or document["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"{document['kind']} of schema_version {document['schema_version']}")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: expected an {kind} (schema {SCHEMA_VERSION}), got: {error}") from error
    return document


def write_tables(folder: Path, rows: Sequence[Row], curves: Curves) -> None:
    write_bytes(folder / SAMPLES, to_csv(rows).encode())
    write_bytes(folder / CURVES, curves_to_csv(curves).encode())


def read_tables(folder: Path) -> tuple[list[Row], Curves]:
    """What `write_tables` wrote, to the bit. DataError, naming the file, for anything else."""
    path = folder / SAMPLES
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = from_csv(file)
        path = folder / CURVES
        with path.open(newline="", encoding="utf-8") as file:
            curves = curves_from_csv(file)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path}: expected a table of an audit, got: {error}") from error
    return rows, curves
