"""Each trainer: a run that a signal stopped half-way and that was resumed equals the straight run to the bit."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from small_trainers import STEPS, TRAINERS, different, leaves
from torch import Tensor

from gan_explain.train.loop import STATE, STATS, Interrupted, load_state, run
from gan_explain.train.trainer import Trainer
from gan_explain.train.training import Training

HALF = 3
EVERY = Training(steps=STEPS, save_every=2, log_every=1)  # the half lies between two saves


def rows(out: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in (out / STATS).read_text().splitlines()]


def train(name: str, seed: int, out: Path, resume: bool = False, stop_in: int = -1) -> dict[str, Any]:
    """Everything that a trainer knows after a run, which is sent SIGTERM in step `stop_in`."""
    torch.manual_seed(seed)
    trainer = TRAINERS[name]()
    step = trainer.step

    def watched(index: int) -> dict[str, Tensor]:
        if index == stop_in:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(index)

    trainer.step = watched  # type: ignore[method-assign]
    try:
        run(trainer, EVERY, out, resume=resume)
    except Interrupted:
        assert stop_in >= 0
    else:
        assert stop_in < 0
    return dict(leaves(trainer.state()))


@pytest.mark.parametrize(
    ("name", "stop_after"), [*((name, HALF) for name in TRAINERS), ("transfer", HALF + 1)], ids=lambda value: str(value)
)
def test_half_and_half_is_the_whole(name: str, stop_after: int, tmp_path: Path) -> None:
    whole = train(name, 0, tmp_path / "whole")
    half = train(name, 0, tmp_path / "parts", stop_in=stop_after - 1)
    assert torch.load(tmp_path / "parts" / STATE, weights_only=True)["step"] == stop_after
    resumed = train(name, 7, tmp_path / "parts", resume=True)
    assert different(whole, resumed) == []
    assert sum(isinstance(value, Tensor) for value in whole.values()) > 10
    shared = half.keys() & whole.keys()
    assert len(different({k: half[k] for k in shared}, {k: whole[k] for k in shared})) > 10  # the second half did something
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")
    sheet = f"sheet_{STEPS:06d}.png"
    assert (tmp_path / "whole" / sheet).read_bytes() == (tmp_path / "parts" / sheet).read_bytes()


def test_the_random_streams_of_a_run_are_in_its_state(tmp_path: Path) -> None:
    """The classifier's dropout draws from torch's own stream: a state without it would not resume to the bit."""
    train("classifier", 0, tmp_path)
    state = torch.load(tmp_path / STATE, weights_only=True)
    state["rng"] = torch.Generator().manual_seed(99).get_state()
    torch.save(state, tmp_path / STATE)
    load_state(TRAINERS["classifier"](), tmp_path / STATE)
    assert torch.equal(torch.get_rng_state(), state["rng"])


def test_a_sheet_and_a_look_at_validation_images_leave_the_random_stream_alone(tmp_path: Path) -> None:
    """As often as the run looks, its weights are the same."""
    found = []
    for name, every in (("often", 1), ("seldom", STEPS)):
        torch.manual_seed(0)
        trainer: Trainer = TRAINERS["classifier"]()
        plain = trainer.sheet

        def sheet(path: Path, plain: Any = plain) -> None:
            torch.rand(3)
            plain(path)

        trainer.sheet = sheet  # type: ignore[method-assign]
        run(trainer, Training(steps=STEPS, save_every=every), tmp_path / name)
        found.append(dict(leaves(trainer.state())))
    assert different(*found) == []


@pytest.mark.parametrize("name", TRAINERS)
def test_processes_other_than_the_first_keep_streams_of_their_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed second process that took over the first's streams would train on the same images."""
    first = TRAINERS[name]().state()
    monkeypatch.setattr("gan_explain.train.trainer.rank", lambda: 1)
    for module in ("gan_explain.train.trainer", "gan_explain.train.gan.cyclegan"):
        monkeypatch.setattr(f"{module}.is_main", lambda: False)
    second = TRAINERS[name]()
    second.restore(first)
    assert second.streams
    assert not any(torch.equal(stream.get_state(), first["streams"][name]) for name, stream in second.streams.items())
