"""Everything that is measured of a counterfactual, side by side: of inputs called negative, and of inputs called positive."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from gan_explain.evaluate.planted import Columns, read_off
from gan_explain.evaluate.samples import (
    anatomy,
    causes,
    drawn,
    exact_one,
    exact_zero,
    healing,
    nearness,
    pasted,
    persistence,
    reread,
    response,
    shape_of_curves,
    shuffled,
    transfer,
    variety,
)
from gan_explain.evaluate.setup import Change, Part, Setup, from_prior
from gan_explain.evaluate.table import Row


def of_negatives(setup: Setup, part: Part, change: Change, logits: Tensor) -> Columns:
    """Everything measured of inputs called negative; logits (N, L) along their traversals."""
    return {
        **briefly_of_negatives(setup, part, change, logits),
        **exact_zero(part, change),
        **drawn(setup, part, from_prior(setup, part)),
        **nearness(setup, part, change),
        **anatomy(setup, part, change),
        **persistence(setup, part, change, ""),
        **transfer(setup, part, change),
        **shuffled(setup, part, change),
    }


def briefly_of_negatives(setup: Setup, part: Part, change: Change, logits: Tensor) -> Columns:
    """What the first questions rest on."""
    return {
        **response(setup, part, change),
        **shape_of_curves(setup, logits),
        **causes(setup, part, change),
    }


def of_some_negatives(setup: Setup, part: Part, change: Change, codes: int) -> Columns:
    """What takes many answers for each input, measured of some of those called negative."""
    return {**variety(setup, part, codes), **pasted(setup, part, change)} if len(part) else {}


def of_positives(setup: Setup, part: Part, change: Change) -> Columns:
    """Everything measured of inputs called positive."""
    return {
        **briefly_of_positives(setup, part, change),
        **exact_one(part),
        **reread(setup, part, change),
        **nearness(setup, part, change, ".healed"),
        **anatomy(setup, part, change, ".healed"),
        **persistence(setup, part, change, ".healed"),
    }


def briefly_of_positives(setup: Setup, part: Part, change: Change) -> Columns:
    """What the first questions rest on."""
    return {**healing(setup, part, change), **causes(setup, part, change, ".healed")}


def begin_rows(part: Part) -> list[Row]:
    """A row for each sample of a batch: who it is, and what the reader finds on it."""
    rows: list[Row] = [
        {"path": r.path, "patient_id": r.patient_id, "source": r.source, "label": r.label} for r in part.batch.records
    ]
    write(rows, part, read_off(part))
    return rows


def asked_rows(part: Part, called: Tensor) -> list[Row]:
    """The same with what the target made of it: p, and what that was called (N,) bool."""
    rows = begin_rows(part)
    for row, positive in zip(rows, called.tolist(), strict=True):
        row["called"] = ("negative", "positive")[positive]
    write(rows, part, {"p": part.p})
    return rows


def write(rows: Sequence[Row], part: Part, columns: Columns) -> None:
    """Put columns of a part (one number a sample) into the rows of its batch."""
    for name, values in columns.items():
        for row, value in zip(part.rows.tolist(), values.float().cpu().tolist(), strict=True):
            rows[row][name] = value
