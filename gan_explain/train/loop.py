"""The training loop that every objective shares: step, check, log, sample, save, resume, stop."""

from __future__ import annotations

import io
import json
import logging
import math
import pickle
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from gan_explain.image import write_bytes
from gan_explain.train.distributed import any_rank, is_main
from gan_explain.types import CheckpointError, TrainingDiverged

logger = logging.getLogger(__name__)
STATE, STATS = "state.pt", "stats.jsonl"


class Interrupted(RuntimeError):
    """A signal asked for a stop; a resumable state was written (exit code 75)."""


class Trainer(Protocol):
    """An objective with its networks, optimisers and sampler: all that resuming to the bit needs."""

    def step(self, step: int) -> dict[str, Tensor]:
        """One update of every network; returns the named loss terms, detached."""
        ...

    def state(self) -> dict[str, Any]: ...

    def restore(self, state: Mapping[str, Any]) -> None: ...

    def networks(self) -> Mapping[str, nn.Module]: ...

    def sheet(self, path: Path) -> None:
        """Write a sample sheet (PNG)."""
        ...


class Stopper(Protocol):
    """Says when there has been enough training; what it knows is part of its trainer's state."""

    @property
    def done(self) -> bool: ...

    def check(self, step: int) -> None:
        """Look at the weights after `step` steps."""
        ...


@dataclass(frozen=True)
class LoopConfig:
    """steps in all; save, sheet and log intervals in steps."""

    steps: int
    save_every: int = 200
    sheet_every: int = 200
    log_every: int = 10


class Ema:
    """Exponential moving average of a network's weights and floating-point buffers; counters are copied."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow = {k: v.detach().clone() for k, v in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))  # short memory while the network is young
        for key, value in network.state_dict().items():
            shadow = self.shadow[key]
            if value.dtype.is_floating_point:
                shadow.lerp_(value.detach(), 1 - decay)
            else:
                shadow.copy_(value)


def cosine(step: int, steps: int, warmup: int = 50) -> float:
    """Learning-rate factor in (0, 1]: linear warm-up, then half a cosine down to 0.02."""
    rise = min(1.0, (step + 1) / max(warmup, 1))
    return rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(steps, 1)))))


def run(trainer: Trainer, config: LoopConfig, out: Path, *, resume: bool = False, stopper: Stopper | None = None) -> None:
    """Train until `config.steps`, writing stats.jsonl, sheets and a resumable state.pt to `out`.

    A `stopper` is asked every `save_every` steps, before the state is written, and ends the training when it is done.
    Raises TrainingDiverged when a loss or weight is not finite (the last good state is kept), Interrupted after a signal.
    """
    first = load_state(trainer, out / STATE) if resume else 0
    if is_main():
        out.mkdir(parents=True, exist_ok=True)
        _forget(out / STATS, first)
    board = _tensorboard(out) if is_main() else None
    bar = tqdm(
        range(first, config.steps), initial=first, total=config.steps, file=sys.stderr, mininterval=5, disable=not is_main()
    )
    started = time.monotonic()
    with _signals() as stop:
        for step in bar:
            if stopper is not None and stopper.done:
                logger.info("stopped early after step %d", step)
                break
            terms = trainer.step(step)
            done = step + 1
            logged = done % config.log_every == 0 or done == config.steps
            check_finite(terms, step)
            if logged and is_main():
                numbers = {k: float(v) for k, v in terms.items()}
                _append(out / STATS, {"step": done, "seconds": round(time.monotonic() - started, 2), **numbers})
                bar.set_postfix({k: f"{v:.3g}" for k, v in numbers.items()}, refresh=False)
                if board is not None:
                    for name, value in numbers.items():
                        board.add_scalar(name, value, done)
            stopping = any_rank(bool(stop))
            if stopping or done % config.save_every == 0 or done == config.steps:
                check_weights(trainer.networks(), step)
                if stopper is not None and (done % config.save_every == 0 or done == config.steps):
                    stopper.check(done)
                if is_main():
                    save_state(trainer, out / STATE, done)
            if is_main() and (done % config.sheet_every == 0 or done == config.steps):
                trainer.sheet(out / f"sheet_{done:06d}.png")
            if stopping and done < config.steps:
                raise Interrupted(f"stopped after step {done}: continue with --resume")


def check_finite(terms: Mapping[str, Tensor], step: int) -> None:
    """Raise TrainingDiverged, naming the term, when one is NaN or infinite."""
    for name, value in terms.items():
        if not bool(torch.isfinite(value).all()):
            raise TrainingDiverged(f"step {step + 1}: loss term {name!r} is {float(value)}; the last good state is kept")


def check_weights(networks: Mapping[str, nn.Module], step: int) -> None:
    """Raise TrainingDiverged, naming the tensor, when a weight is NaN or infinite."""
    for name, network in networks.items():
        for key, value in network.state_dict().items():
            if not bool(torch.isfinite(value).all()):
                raise TrainingDiverged(f"step {step + 1}: weight {name}.{key} is not finite; the last good state is kept")


def save_state(trainer: Trainer, path: Path, step: int) -> None:
    """Write {step, trainer's state, RNG} atomically."""
    buffer = io.BytesIO()
    torch.save({"step": step, "trainer": trainer.state(), "rng": torch.get_rng_state()}, buffer)
    write_bytes(path, buffer.getbuffer())  # not a copy: the state of a large network may fill half of the memory


def load_state(trainer: Trainer, path: Path) -> int:
    """Restore a state written by `save_state`; returns its step. Raises CheckpointError when it is missing or damaged."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no state to resume from")
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        trainer.restore(state["trainer"])
        torch.set_rng_state(state["rng"])
        return int(state["step"])
    except (pickle.UnpicklingError, RuntimeError, LookupError, TypeError, ValueError, EOFError, OSError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path}: expected a training state of this configuration, got: {reason}") from error


def _append(path: Path, row: Mapping[str, Any]) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def _forget(path: Path, first: int) -> None:
    """Drop the rows of another run and of the steps that a resumed run takes again."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError, KeyError):  # a line that a kill cut short
            kept += [line + "\n"] if json.loads(line)["step"] <= first else []
    write_bytes(path, "".join(kept).encode())


def _tensorboard(out: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(out / "tensorboard"))  # type: ignore[no-untyped-call]


@contextmanager
def _signals() -> Iterator[list[int]]:
    """A list that SIGTERM or SIGINT fills; a second signal acts at once. Does nothing outside the main thread."""
    caught: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)
        logger.warning("signal %d: saving after this step; once more to stop at once", number)

    try:
        before = {each: signal.signal(each, handle) for each in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:
        yield caught
        return
    try:
        yield caught
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
