"""Everything that is measured of a counterfactual, side by side: of inputs called negative, and of inputs called positive."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from gan_explain.evaluate.planted import read_off
from gan_explain.evaluate.samples import (
    Columns,
    anatomy,
    causes,
    identity,
    nearness,
    nulls,
    pasted,
    persistence,
    rebuilt,
    shape_of_curves,
    taken_back,
    transfer,
    validity,
    variety,
)
from gan_explain.evaluate.setup import Change, Part, Setup, added
from gan_explain.evaluate.table import Row


def of_negatives(setup: Setup, part: Part, change: Change, logits: Tensor) -> Columns:
    """Everything measured of inputs called negative; logits (N, L) along their traversals."""
    return {
        **validity(setup, part, change, "negative"),
        **shape_of_curves(setup, logits),
        **identity(setup, part, change),
        **nearness(setup, part, change),
        **anatomy(setup, part, change),
        **persistence(setup, part, change, ""),
        **transfer(setup, part, change),
        **taken_back(setup, part, change),
        **causes(setup, part, change),
        **nulls(setup, part, change),
    }


def of_some_negatives(setup: Setup, part: Part, codes: int) -> Columns:
    """What takes many answers for each input, measured of some of those called negative."""
    return {**variety(setup, part, codes), **pasted(setup, part, added(setup, part))} if len(part) else {}


def of_positives(setup: Setup, part: Part, change: Change) -> Columns:
    """Everything measured of inputs called positive."""
    return {
        **validity(setup, part, change, "healed"),
        **rebuilt(setup, part, change),
        **causes(setup, part, change, ".healed"),
        **nearness(setup, part, change, ".healed"),
        **anatomy(setup, part, change, ".healed"),
        **persistence(setup, part, change, ".healed"),
    }


def begin_rows(part: Part, called: Tensor) -> list[Row]:
    """A row for each sample of a batch: who it is, what it was called (N,) bool, p, and what the removal network reads in it."""
    rows: list[Row] = [
        {"path": r.path, "patient_id": r.patient_id, "source": r.source, "label": r.label, "called": ("negative", "positive")[c]}
        for r, c in zip(part.batch.records, called.tolist(), strict=True)
    ]
    write(rows, part, {"p": part.p, **read_off(part)})
    return rows


def write(rows: Sequence[Row], part: Part, columns: Columns) -> None:
    """Put columns of a part (one number a sample) into the rows of its batch."""
    for name, values in columns.items():
        for row, value in zip(part.rows.tolist(), values.float().cpu().tolist(), strict=True):
            rows[row][name] = value
