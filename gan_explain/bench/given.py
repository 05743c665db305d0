"""What a benchmark is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import torch

from gan_explain.data import Dataset
from gan_explain.files.pseudonyms import Pseudonyms
from gan_explain.nets.segmenter import LungSegmenter
from gan_explain.types import Generator, Record, Target

Item = TypeVar("Item")


@dataclass(frozen=True)
class Outcome:
    """`document`: what --json prints; `text`: the table for people; `rows`: one a sample, with `path` and `patient_id` as the
    data have them; `pictures`: by file name, what draws them into a file."""

    document: Mapping[str, Any]
    text: str = ""
    rows: Sequence[Mapping[str, Any]] = ()
    pictures: Mapping[str, Callable[[Path], None]] = field(default_factory=dict)


class Given(Protocol):
    """The data and models that were named, and the output folder. `split` is None where it is left to the benchmark; `shard`
    (i, n): do the i-th of n parts; in a dry run a benchmark checks, and measures nothing."""

    seed: int
    device: torch.device
    dry_run: bool
    data: str
    include: tuple[str, ...]
    split: Literal["train", "val", "test"] | None
    limit: int | None
    shard: tuple[int, int]
    generator: str
    target: str
    segmenter: str

    def dataset(self, side: int, include: Sequence[str] | None = None) -> Dataset:
        """The records that were asked for, or those that fit `include`, read at a side in pixels."""

    def load_segmenter(self, name: str | None = None) -> LungSegmenter:
        """The segmenter that was named."""

    def load_generator(self) -> Generator:
        """The generator that was named."""

    def load_targets(self, specs: Iterable[str]) -> dict[str, Target]:
        """Targets by spec, probed."""

    def names(self, records: Sequence[Record]) -> Pseudonyms:
        """The public names of the patients and images of a dataset."""

    def results(self) -> Path:
        """The file of results that a benchmark adds to as they come; those that are there are of an earlier, stopped run."""

    def progress(self, items: Iterable[Item], total: int, unit: str) -> Iterable[Item]:
        """The items, counted as they pass."""

    def say(self, text: str) -> None:
        """Tell a person something before the end."""
