"""SIGTERM and SIGINT: a training saves and ends with 75 within ten seconds, everything else takes back what is half done."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from small_trainers import different, leaves

from gan_explain.cli import common
from gan_explain.cli.exits import INTERRUPTED, KILLED, OK
from gan_explain.files.checkpoints import WEIGHTS
from gan_explain.files.signals import heard, held, stoppable
from gan_explain.train.loop import STATE

Start = Callable[..., Any]
Command = Callable[..., tuple[int, str]]
Files = Callable[[Path], set[str]]
SMALL = (
    "train",
    "segmenter",
    "--data",
    "phantom:n=24",
    "--resolution",
    32,
    "--set",
    "batch_size=8",
    "--set",
    "save_every=2",
    "--steps",
    24,
)
SLOW = ("train", "segmenter", "--data", "phantom:n=24", "--resolution", 128, "--set", "batch_size=32", "--set", "save_every=1")
MODELS = ("--generator", "phantom64", "--segmenter", "phantom64")
LONG: dict[str, tuple[object, ...]] = {
    "audit": ("audit", "--target", "checkpoint:phantom64", *MODELS, "--judges", "none", "--data", "phantom:n=400"),
    "evaluate": ("evaluate", *MODELS, "--data", "phantom:n=400"),
    "interpolate": ("interpolate", *MODELS, "--sample", 200, "--strengths", 3),
}


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def hears(process: int) -> bool:
    """Whether a process has a handler for SIGTERM."""
    (line,) = [line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("SigCgt")]
    return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


# -- trainings ----------------------------------------------------------------------------------------------------------------


def test_a_training_saves_ends_with_75_and_goes_on_as_if_it_had_not_stopped(
    start: Start, command: Command, tmp_path: Path
) -> None:
    """Each of the two signals stops it once."""
    assert command(*SMALL, "--out", "straight")[0] == OK
    more: tuple[object, ...] = ()
    for number in (signal.SIGTERM, signal.SIGINT):
        before = (tmp_path / "parts" / STATE).read_bytes() if more else b""
        job = start(*SMALL, "--out", "parts", *more)
        wait_for(lambda: (tmp_path / "parts" / STATE).is_file() and (tmp_path / "parts" / STATE).read_bytes() != before)  # noqa: B023
        began = time.monotonic()
        job.send(number)
        assert job.wait() == INTERRUPTED, job.said
        assert time.monotonic() - began < 10
        step = int(torch.load(tmp_path / "parts" / STATE, weights_only=True)["step"])
        assert job.last == f"error: stopped after step {step}: continue with --resume"
        assert json.loads((tmp_path / "parts" / "run.json").read_text())["exit"] == INTERRUPTED
        assert not (tmp_path / "parts" / WEIGHTS).exists()
        more = ("--resume",)
    assert command(*SMALL, "--out", "parts", *more)[0] == OK
    parts, straight = (torch.load(tmp_path / name / STATE, weights_only=True) for name in ("parts", "straight"))
    assert different(dict(leaves(parts)), dict(leaves(straight))) == []
    assert (tmp_path / "parts" / WEIGHTS).read_bytes() == (tmp_path / "straight" / WEIGHTS).read_bytes()


def test_a_second_signal_ends_a_training_at_once(start: Start, tmp_path: Path) -> None:
    job = start(*SLOW, "--out", "out")
    wait_for(lambda: (tmp_path / "out" / STATE).is_file())
    job.send(signal.SIGTERM)
    wait_for(lambda: "once more to stop at once" in job.said)
    job.send(signal.SIGTERM)
    began = time.monotonic()
    assert job.wait() == -signal.SIGTERM
    assert time.monotonic() - began < 2


# -- everything else ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LONG)
def test_a_command_leaves_nothing_half_done(start: Start, tmp_path: Path, files: Files, name: str) -> None:
    job = start(*LONG[name], "--out", "out")
    wait_for(lambda: hears(job.process))
    time.sleep(0.7)
    began = time.monotonic()
    job.send(signal.SIGTERM)
    assert job.wait() == KILLED, job.said
    assert time.monotonic() - began < 10
    assert job.last == "error: interrupted"
    assert files(tmp_path) == {job.log.name}


@common.command("result", out="out")
def signalled(run: common.Run) -> None:
    """Writes a file, is sent SIGTERM, and would write another."""
    with run.staging() as folder:
        (folder / "new").write_text("half")
        os.kill(os.getpid(), signal.SIGTERM)
        (folder / "more").write_text("done")


@common.command("training", out="out", resume=True)
def before_the_first_step(run: common.Run) -> None:
    """A training that is sent SIGTERM outside its loop."""
    (run.folder / "log").touch()
    os.kill(os.getpid(), signal.SIGTERM)


def test_an_earlier_result_stays_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: Files) -> None:
    monkeypatch.chdir(tmp_path)
    earlier = {"program": "gan_explain", "files": ["old"]}
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text(json.dumps(earlier))
    (tmp_path / "out" / "old").write_text("whole")
    result = CliRunner().invoke(signalled, [])
    assert result.exit_code == KILLED
    assert files(tmp_path) == {"out", "out/run.json", "out/old"}
    assert json.loads((tmp_path / "out" / "run.json").read_text()) == earlier


@pytest.mark.parametrize(
    ("state", "code"), [(None, KILLED), (STATE, INTERRUPTED), (f"reader/{STATE}", INTERRUPTED), ("results.jsonl", INTERRUPTED)]
)
def test_outside_its_loop_a_training_with_a_state_can_be_resumed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str | None, code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    if state:
        (tmp_path / "out" / state).parent.mkdir(parents=True)
        (tmp_path / "out" / state).touch()
    result = CliRunner().invoke(before_the_first_step, ["--resume"])
    assert result.exit_code == code, result.output
    assert json.loads((tmp_path / "out" / "run.json").read_text())["exit"] == code


# -- the handlers -------------------------------------------------------------------------------------------------------------


def mine() -> list[Any]:
    return [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]


def test_the_first_signal_interrupts_and_the_second_would_be_fatal() -> None:
    before = mine()
    with stoppable():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        assert mine() == [signal.SIG_DFL, signal.SIG_DFL]
    assert mine() == before


def test_a_held_signal_acts_at_the_end() -> None:
    done = []

    def work() -> None:
        with held():
            signal.raise_signal(signal.SIGINT)
            done.append("whole")
        done.append("not reached")

    with stoppable(), pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["whole"]


def test_outside_the_main_thread_nothing_is_heard_and_nothing_breaks() -> None:
    before, ran = mine(), []

    def work() -> None:
        with heard(ran.append), held(), stoppable():
            ran.append(0)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ran == [0]
    assert mine() == before
