"""What every training is told: how long, how fast, how many images at once, where, and how often it is saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, TypeVar

import torch
from pydantic import Field

from gan_explain.settings import Settings

Steps = Annotated[int, Field(ge=1, description="Updates in all.")]
Rate = Annotated[float, Field(gt=0, description="Learning rate at its highest.")]
Average = Annotated[float, Field(ge=0, lt=1, description="Decay of the averaged weights, which are the result.")]
Decay = Annotated[float, Field(ge=0, description="Decay of the weights (AdamW).")]
DiscriminatorRate = Annotated[float, Field(gt=0, description="Learning rate of the discriminator.")]
LooksReal = Annotated[float, Field(ge=0, description="Weight of looking real.")]
Penalty = Annotated[float, Field(ge=0, description="Weight of the discriminator's gradient penalty.")]


@dataclass(frozen=True, kw_only=True)
class Training(Settings):
    """Base of the settings of all trainings. States and sheets are written every `save_every` steps and in the end."""

    TITLE: ClassVar = "Training"

    steps: Steps = 1500
    batch_size: Annotated[int, Field(ge=1, description="Images of an update.")] = 32
    learning_rate: Rate = 2e-3
    ema: Average = 0.995
    save_every: Annotated[int, Field(ge=1, description="Steps between resumable states and sheets of samples.")] = 200
    log_every: Annotated[int, Field(ge=1, description="Steps between lines of stats.jsonl.")] = 10
    seed: Annotated[int, Field(ge=0, description="Seed of what is drawn.")] = 0
    device: Annotated[str, Field(description="Device, say cpu or cuda.")] = "cpu"
    amp: Annotated[bool, Field(description="bfloat16 autocast (CUDA).")] = False

    def due(self, done: int, every: int) -> bool:
        """Whether something that is done at an interval, and in the end, is due after `done` steps."""
        return done > 0 and (done % every == 0 or done == self.steps)


AnyTraining = TypeVar("AnyTraining", bound=Training)


def quiet(training: AnyTraining) -> AnyTraining:
    """The same training without states or sheets on its way."""
    return replace(training, save_every=training.steps + 1, log_every=max(training.steps // 5, 1))


@contextmanager
def stream(seed: int) -> Iterator[None]:
    """Inside, torch's random numbers are those of a seed; afterwards the process's own go on where they were. So arms start from
    the same weights whatever ran before them."""
    with torch.random.fork_rng():
        torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())
        yield
