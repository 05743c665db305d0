"""How the dataset that the options name is opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gan_explain.cli.folder import REJECTS
from gan_explain.cli.run import Run

if TYPE_CHECKING:
    from gan_explain.data import Dataset


def open_included(run: Run, data: str, size: int, include: Sequence[str]) -> Dataset:
    """The dataset at `size`, its records that fit --include, noted in run.json. DataError when none fits."""
    from gan_explain.types import DataError

    dataset = open_screened(run, data, size)
    dataset = dataset.including(include)
    if include and not len(dataset):
        raise DataError(f"{data}: no record fits --include {' '.join(include)}")
    run.record(data=dataset.fingerprint(), records=len(dataset))
    return dataset


def open_screened(run: Run, data: str, size: int) -> Dataset:
    """The dataset at `size`. What cannot be read is listed in rejects.csv of the output folder, where something is written."""
    from gan_explain.data import open_dataset

    rejects = run.out / REJECTS if run.is_main and run.writes else None
    return open_dataset(data, size=size, seed=run.seed, rejects=rejects)
