"""The rows of `bench.explainers_rows` as measures with intervals, a table, and how far some maps lead the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gan_explain.bench.explainers_rows import REFERENCES, Row
from gan_explain.metrics.measure import Measure
from gan_explain.stats import Interval, paired_bootstrap
from gan_explain.types import DataError

OWN = ("difference", "latent_path", "reader")  # maps of the disentangling generator; they are held against all others


LOCATED = ("pointing", "iou", "mass")  # measures of a map and a mask, which ask no target


@dataclass(frozen=True)
class Column:
    """A measure as it is headed: `better` is 1 where more is better, -1 where less is, 0 where neither."""

    title: str
    better: int
    digits: int = 3


COLUMNS = {
    "pointing": Column("pointing game ↑", 1),
    "iou": Column("IoU at equal area ↑", 1),
    "mass": Column("relevance mass ↑", 1),
    "deletion": Column("deletion AUC ↓", -1),
    "insertion": Column("insertion AUC ↑", 1),
    "road": Column("ROAD ↑", 1),
    "likeness": Column("randomised weights: Spearman ↓", -1),
    "ssim": Column("the same: SSIM ↓", -1),
    "changed": Column("the same: changed ↑", 1),
    "ms": Column("ms an image ↓", -1, 1),
}
Key = tuple[str, str]  # target, method


@dataclass(frozen=True)
class Lead:
    """How far a map of the generator is ahead of the best other method, image by image; positive is better. `best_other` names
    its target where that is another one."""

    target: str
    method: str
    measure: str
    best_other: str
    ahead: Interval


def grouped(rows: Iterable[Row]) -> dict[Key, list[Row]]:
    """Rows by target and method, in the order in which they came. DataError where there are none."""
    found: dict[Key, list[Row]] = {}
    for row in rows:
        found.setdefault((row.target, row.method), []).append(row)
    if not found:
        raise DataError("expected rows of at least one method, got none")
    return found


def measures(by: Mapping[Key, Sequence[Row]], *, n_boot: int = 1000, seed: int = 0) -> dict[Key, dict[str, Measure]]:
    """Every column of every method: mean over images, patient-bootstrap interval of 95 %, N; whole and by source."""
    return {
        key: {
            name: Measure.over(
                [getattr(row, name) for row in rows], [row.patient_id for row in rows], [row.source for row in rows],
                n_boot=n_boot, seed=seed,
            )
            for name in COLUMNS
        }
        for key, rows in by.items()
    }  # fmt: skip


def leads(by: Mapping[Key, Sequence[Row]], own: Sequence[str] = OWN, *, n_boot: int = 1000, seed: int = 0) -> list[Lead]:
    """Paired differences of each of the `own` maps to the best of the others, in every measure but the time.

    Others are the methods of the same target and, where it is asked how a map lies to a mask, those of other targets on the same
    images. The best is chosen by its mean on these images, which favours it a little.
    """
    found = []
    for (target, method), mine in by.items():
        if method not in own:
            continue
        same = {row.path for row in mine}
        for name, column in COLUMNS.items():
            others = {
                other if where == target else f"{other} ({where})": rows
                for (where, other), rows in by.items()
                if other not in (*own, *REFERENCES)
                and (where == target or (name in LOCATED and {row.path for row in rows} == same))
            }
            means = {other: column.better * _mean(rows, name) for other, rows in others.items()}
            known = {other: mean for other, mean in means.items() if mean == mean}
            if name == "ms" or not known:
                continue
            best = max(known, key=lambda other: known[other])
            a, b = _paired(mine, others[best], name)
            ahead = paired_bootstrap(
                column.better * a, column.better * b, [row.patient_id for row in mine], n_boot=n_boot, seed=seed
            )
            found.append(Lead(target, method, name, best, ahead))
    return found


def _paired(mine: Sequence[Row], other: Sequence[Row], name: str) -> tuple[Any, Any]:
    """The same column of two methods, image by image. DataError where they were not asked about the same ones."""
    there = {row.path: getattr(row, name) for row in other}
    if {row.path for row in mine} != set(there):
        raise DataError(f"expected {mine[0].method} and {other[0].method} on the same images, got others")
    return np.array([getattr(row, name) for row in mine]), np.array([there[row.path] for row in mine])


def _mean(rows: Sequence[Row], name: str) -> float:
    values = np.array([getattr(row, name) for row in rows], dtype=np.float64)
    return float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else float("nan")


def markdown(by: Mapping[Key, Sequence[Row]], found: Mapping[Key, Mapping[str, Measure]]) -> str:
    """One row a method, the target's name before it where there are several."""
    several = len({target for target, _ in by}) > 1
    head = [*(["target"] if several else []), "method", *(column.title for column in COLUMNS.values()), "N (patients)"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for (target, method), rows in by.items():
        cells = [_cell(found[target, method][name], column.digits) for name, column in COLUMNS.items()]
        count = f"{len(rows)} ({len({row.patient_id for row in rows})})"
        lines.append(f"| {' | '.join([*([target] if several else []), method, *cells, count])} |")
    return "\n".join(lines)


def leads_markdown(found: Sequence[Lead]) -> str:
    """One row a lead; "" where there is none."""
    if not found:
        return ""
    lines = ["| map | measure | best other | ahead of it, paired [95 %] | N |", "|---|---|---|---|---|"]
    for each in found:
        x, name = each.ahead, COLUMNS[each.measure].title.rstrip(" ↑↓")
        lines.append(f"| {each.method} | {name} | {each.best_other} | {x.value:+.3f} [{x.low:+.3f}, {x.high:+.3f}] | {x.n} |")
    return "\n".join(lines)


def _cell(found: Measure, digits: int) -> str:
    if found.value is None:
        return "-"
    value, low, high = (("-" if x is None else f"{x:.{digits}f}") for x in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"
