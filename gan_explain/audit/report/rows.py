"""The table of patients in the audit's report: which columns there are, what their cells say, and which rows come first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from gan_explain.audit.report.words import finite, number
from gan_explain.evaluate.samples import Sample


@dataclass(frozen=True)
class Column:
    """A column: its key in the rows, its head, what it means, and whether it holds numbers."""

    key: str
    head: str
    title: str
    numeric: bool = False


COLUMNS = (
    Column("patient_id", "patient", "patient"),
    Column("path", "image", "image of the patient, in the order of the data"),
    Column("source", "source", "where the image comes from"),
    Column("label", "label", "what the data say"),
    Column("called", "called", "what the target says at p*"),
    Column("p", "p", "probability of the positive set", True),
    Column("rise", "rise", "p at λ = 1 less p at λ = 0, under a real patient's disease", True),
    Column("crossing.lambda", "λ*", "strength at which p passes p*", True),
    Column("monotonicity.rho", "ρ", "Spearman's ρ of the logit along λ", True),
    Column("monotonicity.violation", "falls", "share of the movement of p that falls", True),
    Column("rise.free", "rise, free", "the same rise under the free map", True),
    Column("shortcut", "outside", "what the outside of positives adds to p, beyond that of negatives", True),
    Column("heal.fall", "fall", "p before less p after the disease was taken off", True),
    Column("flip.healed", "healed", "1 where a positive turns negative when healed", True),
)


@dataclass(frozen=True)
class Line:
    """A row as it is shown: its place in the audit's table, its rank (worst first), its texts and numbers, and its tags."""

    row: int
    rank: int
    text: Mapping[str, str]
    value: Mapping[str, float | None]
    tags: tuple[str, ...]
    extra: tuple[str, ...]


def lines(rows: Sequence[Sample], extra: Sequence[str] = ()) -> list[Line]:
    """All rows, worst first: those that never cross p*, then by the rise of p, least first; then positives, those first that
    are not healed.

    `extra` are columns of the manifest that the audit was asked for; those of COLUMNS among them are not shown twice.
    """
    known = {column.key for column in COLUMNS}
    more = tuple(name for name in dict.fromkeys(extra) if name not in known)
    order = sorted(range(len(rows)), key=lambda i: (*_badness(rows[i]), i))
    return [_line(rows[i], i, rank, more) for rank, i in enumerate(order, 1)]


def used(found: Sequence[Line], columns: Sequence[Column]) -> list[Column]:
    """The columns that any row has something in, those that were asked for after `called`."""
    extra = [Column(name, name, name) for name in (found[0].extra if found else ())]
    after = next(i for i, column in enumerate(columns) if column.key == "called") + 1
    every = [*columns[:after], *extra, *columns[after:]]
    return [column for column in every if any(line.text.get(column.key) for line in found)]


def never_crosses(row: Sample) -> bool:
    return row["monotonicity.never_crosses"] == 1


def _badness(row: Sample) -> tuple[int, float]:
    rise = finite(row["rise"])
    if never_crosses(row):
        return 0, rise if rise is not None else 0.0
    return (2, finite(row["flip.healed"]) or 0.0) if rise is None else (1, rise)


def _line(row: Sample, index: int, rank: int, extra: tuple[str, ...]) -> Line:
    record = row.record
    text = {"patient_id": record.patient_id, "source": record.source, "label": record.label, "called": row.called}
    text["path"] = PurePath(record.path).name or record.path
    value = {column.key: finite(row[column.key]) for column in COLUMNS if column.numeric}
    text |= {name: "" if found is None else number(found) for name, found in value.items()}
    if never_crosses(row):
        text["crossing.lambda"] = "never"
    healed = value["flip.healed"]
    if healed is not None:
        text["flip.healed"] = "yes" if healed == 1 else "no"
    text |= {name: row.by.get(name, "") for name in extra}
    tags = tuple(filter(None, (row.called, "never crosses" if never_crosses(row) else "")))
    return Line(index, rank, text, value, tags, extra)
