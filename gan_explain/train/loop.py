"""The training loop that every objective shares: step, check, log, sample, save, resume, stop."""

from __future__ import annotations

import io
import json
import logging
import math
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from gan_explain.files.checkpoints import CONFIG, WEIGHTS, settle
from gan_explain.files.signals import heard, next_is_fatal
from gan_explain.files.temporaries import check_places, write_bytes
from gan_explain.targets.weights import load_tensors
from gan_explain.train.distributed import any_rank, is_main
from gan_explain.train.training import Training
from gan_explain.train.update import check_finite, check_state, check_weights
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
        """Look at the weights after `step` steps; a second look at the same step says nothing new."""
        ...


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


def run(trainer: Trainer, training: Training, out: Path, *, resume: bool = False, stopper: Stopper | None = None) -> None:
    """Train until `training.steps`, writing stats.jsonl, sheets and a resumable state.pt to `out`.

    A `stopper` is asked every `save_every` steps, before the state is written, and ends the training when it is done. What a
    killed run left half written in `out` is taken away first.
    Raises TrainingDiverged when a loss, a weight or (by `update.descend`) a gradient is not finite: the last good state is kept;
    Interrupted after a signal; OSError when something cannot be written.
    """
    first = load_state(trainer, out / STATE) if resume else 0
    if is_main():
        out.mkdir(parents=True, exist_ok=True)
        check_places(out, (STATE, STATS, WEIGHTS, CONFIG))  # now, not after three days
        settle(out)
        _forget(out / STATS, first)
    board = _tensorboard(out) if is_main() else None
    bar = tqdm(
        range(first, training.steps), initial=first, total=training.steps, file=sys.stderr, mininterval=5, disable=not is_main()
    )
    started, stop = time.monotonic(), Stop()
    stop.done = first
    with heard(stop.hear):
        if stopper is not None and training.due(first, training.save_every):
            with stop.aside():  # a run that was stopped before it looked
                stopper.check(first)
        for step in bar:
            if stopper is not None and stopper.done:
                logger.info("stopped early after step %d", step)
                break
            try:
                terms = trainer.step(step)
                check_finite(terms)
                check_weights(trainer.networks())
            except TrainingDiverged as error:
                raise TrainingDiverged(f"step {step + 1}: {error}; the last good state is kept") from error
            stop.done = done = step + 1
            if is_main() and training.due(done, training.log_every):
                numbers = {k: float(v) for k, v in terms.items()}
                _append(out / STATS, {"step": done, "seconds": round(time.monotonic() - started, 2), **numbers})
                bar.set_postfix({k: f"{v:.3g}" for k, v in numbers.items()}, refresh=False)
                if board is not None:
                    for name, value in numbers.items():
                        board.add_scalar(name, value, done)
            try:
                if any_rank(stop.asked) and done < training.steps:
                    raise stop.interrupted()
                if training.due(done, training.save_every):
                    if stopper is not None:
                        with stop.aside():
                            stopper.check(done)
                    if is_main():
                        save_state(trainer, out / STATE, done)
                if is_main() and training.due(done, training.save_every):
                    with stop.aside():
                        trainer.sheet(out / f"sheet_{done:06d}.png")
            except Interrupted:
                if is_main():
                    save_state(trainer, out / STATE, done)
                raise


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
        reason = " ".join(str(error).split())[:300]
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
        with suppress(ValueError, LookupError, TypeError, RecursionError):  # a line that a kill cut short
            kept += [line + "\n"] if json.loads(line)["step"] <= first else []
    write_bytes(path, "".join(kept).encode())


def _tensorboard(out: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(out / "tensorboard"))  # type: ignore[no-untyped-call]
