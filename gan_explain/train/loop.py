"""The training loop that every objective shares: step, check, log, sample, save, resume, stop."""

from __future__ import annotations

import io
import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from gan_explain.files.checkpoints import CONFIG, WEIGHTS, settle
from gan_explain.files.signals import heard, next_is_fatal
from gan_explain.files.temporaries import check_places, write_bytes
from gan_explain.files.text import one_line
from gan_explain.targets.weights import load_tensors
from gan_explain.train.distributed import any_rank, is_main, wait
from gan_explain.train.trainer import Trainer
from gan_explain.train.training import Training
from gan_explain.train.update import check_finite, check_state, check_weights
from gan_explain.types import CheckpointError, TrainingDiverged

logger = logging.getLogger(__name__)
STATE, STATS = "state.pt", "stats.jsonl"


class Interrupted(RuntimeError):
    """A signal asked for a stop; a resumable state was written (exit code 75)."""


class Stop:
    """What SIGTERM and SIGINT ask of a run: an end after the step, or, in what changes nothing, there and then."""

    def __init__(self) -> None:
        self.asked, self.done, self._at_once = False, 0, False

    def hear(self, number: int) -> None:
        self.asked = True
        next_is_fatal()
        logger.warning("signal %d: saving after this step; once more to stop at once", number)
        if self._at_once:
            raise self.interrupted()

    def interrupted(self) -> Interrupted:
        return Interrupted(f"stopped after step {self.done}: continue with --resume")

    @contextmanager
    def aside(self) -> Iterator[None]:
        """For a sheet or a look at validation images: a signal need not wait for its end, random streams stay as they were."""
        devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
        with torch.random.fork_rng(devices):
            self._at_once = True
            try:
                yield
            finally:
                self._at_once = False


class Run:
    """One run of a trainer in a folder: what is done between its updates."""

    def __init__(self, trainer: Trainer, training: Training, out: Path, first: int) -> None:
        self.trainer, self.training, self.out, self.first = trainer, training, out, first
        self.stop, self._started = Stop(), time.monotonic()
        self.stop.done = first
        self._board: Any = None
        if is_main():
            out.mkdir(parents=True, exist_ok=True)
            check_places(out, (STATE, STATS, WEIGHTS, CONFIG))  # now, not after three days
            settle(out)
            _forget(out / STATS, first)
            self._board = _tensorboard(out)
        self.bar = tqdm(
            range(first, training.steps), initial=first, total=training.steps, file=sys.stderr, mininterval=5,
            disable=not is_main(),
        )  # fmt: skip

    def update(self, step: int) -> dict[str, Tensor]:
        """One step of the trainer. TrainingDiverged where a loss or a weight is not finite."""
        try:
            terms = self.trainer.step(step)
            check_finite(terms)
            check_weights(self.trainer.networks())
        except TrainingDiverged as error:
            raise TrainingDiverged(f"step {step + 1}: {error}; the last good state is kept") from error
        self.stop.done = step + 1
        return terms

    def log(self, done: int, terms: Mapping[str, Tensor]) -> None:
        if not is_main() or not self.training.due(done, self.training.log_every):
            return
        numbers = {k: float(v) for k, v in terms.items()}
        _append(self.out / STATS, {"step": done, "seconds": round(time.monotonic() - self._started, 2), **numbers})
        self.bar.set_postfix({k: f"{v:.3g}" for k, v in numbers.items()}, refresh=False)
        for name, value in numbers.items() if self._board is not None else ():
            self._board.add_scalar(name, value, done)

    def check(self, done: int) -> None:
        """Let the trainer look at its weights, where that is due."""
        if self.training.due(done, self.training.save_every):
            with self.stop.aside():
                self.trainer.check(done)

    def save(self, done: int) -> None:
        """Look, write state and sheet where they are due; Interrupted, with a state, where a signal came."""
        try:
            if any_rank(self.stop.asked) and done < self.training.steps:
                raise self.stop.interrupted()
            self.check(done)
            if is_main() and self.training.due(done, self.training.save_every):
                save_state(self.trainer, self.out / STATE, done)
                with self.stop.aside():
                    self.trainer.sheet(self.out / f"sheet_{done:06d}.png")
        except Interrupted:
            if is_main():
                save_state(self.trainer, self.out / STATE, done)
            raise


def run(trainer: Trainer, training: Training, out: Path, *, resume: bool = False) -> None:
    """Train until `training.steps`, or until the trainer is done, writing stats.jsonl, sheets and a resumable state.pt to `out`.

    The trainer looks at its weights every `save_every` steps, before the state is written. What a killed run left half written
    in `out` is taken away first.
    Raises TrainingDiverged when a loss, a weight or (by `update.descend`) a gradient is not finite: the last good state is kept;
    Interrupted after a signal; OSError when something cannot be written.
    """
    first = load_state(trainer, out / STATE) if resume else 0
    this = Run(trainer, training, out, first)
    with heard(this.stop.hear):
        this.check(first)  # a run that was stopped before it looked
        for step in this.bar:
            if trainer.done:
                logger.info("stopped early after step %d", step)
                break
            terms = this.update(step)
            this.log(step + 1, terms)
            this.save(step + 1)
    wait()


def save_state(trainer: Trainer, path: Path, step: int) -> None:
    """Write {step, trainer's state, RNG} atomically; TrainingDiverged, naming the tensor, where something is not finite."""
    state = {"step": step, "trainer": trainer.state(), "rng": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        state["cuda_rng"] = torch.cuda.get_rng_state()
    try:
        check_state(state["trainer"])
    except TrainingDiverged as error:
        raise TrainingDiverged(f"step {step}: {error}; the last good state is kept") from error
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_bytes(path, buffer.getbuffer())  # not a copy: the state of a large network may fill half of the memory


def load_state(trainer: Trainer, path: Path) -> int:
    """Restore a state written by `save_state`; returns its step. Raises CheckpointError when it is missing or damaged."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no state to resume from")
    try:
        state = load_tensors(path, expected="a training state of this configuration")
        trainer.restore(state["trainer"])
        if is_main():  # as with samplers: the streams saved are the first process's
            torch.set_rng_state(state["rng"])
            if "cuda_rng" in state and torch.cuda.is_available():
                torch.cuda.set_rng_state(state["cuda_rng"])
        return int(state["step"])
    except CheckpointError:
        raise
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError, OSError) as error:
        raise CheckpointError(f"{path}: expected a training state of this configuration, got: {one_line(error)}") from error


def _append(path: Path, row: Mapping[str, Any]) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def _forget(path: Path, first: int) -> None:
    """Drop the rows of another run and of the steps that a resumed run takes again."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError, LookupError, TypeError, RecursionError):  # a line that a kill cut short
            kept += [line + "\n"] if json.loads(line)["step"] <= first else []
    write_bytes(path, "".join(kept).encode())


def _tensorboard(out: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(out / "tensorboard"))  # type: ignore[no-untyped-call]
