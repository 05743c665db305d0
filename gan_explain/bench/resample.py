"""Trained arm against arm: results kept as they come, and intervals that resample seeds and test patients.

Both are drawn with replacement, the same draws for both arms of a difference: an interval says what another drawing of training
images and another set of patients might give.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gan_explain.bench.given import Given
from gan_explain.data import Dataset, write_manifest
from gan_explain.metrics.inputs import ask
from gan_explain.stats import Floats
from gan_explain.types import DataError, Record, Target

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

IMAGES = "images.csv"
N_BOOT = 2000
Weights = Floats  # (B, N): how often each test image counts in each resample
Statistic = Callable[[Weights], Floats]  # -> (B,)
Row = dict[str, Any]


def collected(
    given: Given, about: dict[str, Any], asked: Dataset, work: Callable[[Callable[[Row], bool]], Iterator[Row]]
) -> tuple[list[Row], list[Record]]:
    """Every result, and the records that they are of, under their public names.

    `work` yields results, each with its arm; it is given what says whether one that is like a row is there already. Results are
    added to the file as they come, and a stopped run goes on. DataError for results that were made otherwise than `about`.
    """
    path = given.results()
    if any({key: row.get(key) for key in about} != about for row in read_rows(path)):
        raise DataError(f"{path}: expected results of these settings ({about}), got others; name another --out")
    names = given.names(asked.records)
    write_manifest([names.record(record) for record in asked.records], path.with_name(IMAGES))

    def is_there(like: Row) -> bool:
        return any(all(row.get(key) == value for key, value in like.items()) for row in read_rows(path))

    for row in work(is_there):
        append(path, names.answers(about | row))
    return read_rows(path), [replace(record, path=names.image(record.path)) for record in asked.records]


def as_json(settings: DataclassInstance) -> dict[str, Any]:
    """Settings as JSON reads them back."""
    found: dict[str, Any] = json.loads(json.dumps(asdict(settings)))
    return found


def append(path: Path, row: Mapping[str, Any]) -> None:
    """Add one line of JSON, in one write: processes may share the file. A line that a kill cut short is ended first."""
    with open(path, "ab+") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        file.write((("" if file.read(1) in (b"", b"\n") else "\n") + json.dumps(row) + "\n").encode())


def read_rows(path: Path) -> list[Row]:
    """Every whole line of a results file; a line that a kill cut short is left out."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        found.append(row)
    return found


def answers(target: Target, dataset: Dataset) -> dict[str, float]:
    """p of every image, by path."""
    p: dict[str, float] = {}
    for start in range(0, len(dataset), 64):
        batch = dataset.batch(range(start, min(start + 64, len(dataset))))
        p |= {r.path: round(v, 5) for r, v in zip(batch.records, ask(target, batch.images, batch.lungs).tolist(), strict=True)}
    return p


def patient_weights(patients: Sequence[str], n_boot: int = N_BOOT, seed: int = 0) -> Weights:
    """(1 + n_boot, N): how often each image counts when patients are drawn with replacement; the first row is all ones."""
    _, which = np.unique(np.asarray(patients), return_inverse=True)
    count = int(which.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=n_boot)
    return np.vstack([np.ones(len(patients)), drawn[:, which].astype(np.float64)])


def over_seeds(values: Floats, seed: int = 0) -> tuple[float, float, float]:
    """Values (1 + B, S) of each seed, the first row every patient once -> their mean over seeds, low and high."""
    count = values.shape[1]
    drawn = np.random.default_rng(seed + 1).multinomial(count, np.full(count, 1 / count), size=len(values) - 1)
    low, high = np.quantile((values[1:] * drawn).sum(1) / count, [0.025, 0.975])
    return float(values[0].mean()), float(low), float(high)


def mean_of(values: Floats, among: NDArray[np.bool_]) -> Statistic:
    """The weighted mean of values (N,) over some of the images."""

    def statistic(weights: Weights) -> Floats:
        chosen = weights[:, among]
        found: Floats = chosen @ values[among] / np.maximum(chosen.sum(1), 1e-12)
        return found

    return statistic


def auroc_of(p: Floats, positive: NDArray[np.bool_], among: NDArray[np.bool_]) -> Statistic:
    """The share of (positive, negative) pairs that p (N,) puts in order, ties counting half."""
    a, b = np.flatnonzero(among & positive), np.flatnonzero(among & ~positive)
    order = (p[a][:, None] > p[b][None]) + 0.5 * (p[a][:, None] == p[b][None])

    def statistic(weights: Weights) -> Floats:
        pairs = ((weights[:, a] @ order) * weights[:, b]).sum(1)
        found: Floats = pairs / np.maximum(weights[:, a].sum(1) * weights[:, b].sum(1), 1e-12)
        return found

    return statistic


def band(found: tuple[float, float, float], sign: str = "") -> str:
    """ "0.500 [0.400, 0.600]"."""
    value, low, high = found
    return f"{value:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"
