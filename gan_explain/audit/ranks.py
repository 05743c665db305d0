"""Processes that torchrun started, one shard each: they succeed together or fail together.

Only finished results travel, over gloo, whatever device the models are on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch.distributed as dist

PATIENCE = timedelta(days=7)  # that a process waits for a slower one; torchrun ends all when one dies
Done = TypeVar("Done")


@dataclass(frozen=True)
class Ranks:
    """This process among all: number `index` of `count`, counted from 0."""

    index: int = 0
    count: int = 1

    @property
    def shard(self) -> tuple[int, int]:
        return self.index + 1, self.count

    def together(self, work: Callable[[], Done]) -> Done:
        """What `work` returns. Where it fails in one process, its error is raised in all of them."""
        if self.count == 1:
            return work()
        done, error = None, None
        try:
            done = work()
        except Exception as raised:
            error = raised
        said: list[Exception | None] = [None] * self.count
        dist.all_gather_object(said, error)
        failed = error or next((each for each in said if each is not None), None)
        if failed is not None:
            raise failed
        assert done is not None
        return done

    def collect(self, mine: Done) -> list[Done]:
        """What every process has, in the first one; nothing in the others."""
        if self.count == 1:
            return [mine]
        every: list[Done] | None = [mine] * self.count if self.index == 0 else None
        dist.gather_object(mine, every)
        return every or []


@contextmanager
def ranks() -> Iterator[Ranks]:
    """The group that torchrun announces in the environment; a single process without it."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Ranks()
        return
    dist.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield Ranks(dist.get_rank(), count)
    finally:
        dist.destroy_process_group()
