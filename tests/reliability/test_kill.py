"""kill -9 at random moments while states and checkpoints are written: both load, one interval is lost at most, nothing strays."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_explain.files.checkpoints import CONFIG, WEIGHTS, load_part, save_part, settle
from gan_explain.files.temporaries import clear_temporaries, temporary_beside
from gan_explain.train.loop import STATE, STATS

SCRIPT = Path(__file__).parent / "train_and_save.py"
INTERVAL = 2
EXPECTED = {STATE, STATS, WEIGHTS, CONFIG}
Start = Callable[..., Any]


def last_row(out: Path) -> int:
    """The last step of which stats.jsonl has a whole row."""
    whole = (out / STATS).read_text().split("\n")[:-1]
    return int(json.loads(whole[-1])["step"]) if whole else 0


def wait_for(condition: Callable[[], bool], pause: float = 0.005) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(pause)


def killed_at_random(start: Start, out: Path, times: int) -> int:
    """Kill a training so often, at a random moment after a write began, and go on; returns how often the write was cut off."""
    moments = random.Random(1)
    in_a_write, reached = 0, 0
    for _ in range(times):
        job = start(SCRIPT, out)
        wait_for(lambda before=reached: (out / CONFIG).is_file() and last_row(out) > before)  # type: ignore[misc]
        strays = {path.name for path in out.iterdir()} - EXPECTED
        assert {name for name in strays if f".{job.process}." not in name} == set()  # what the one before left is gone
        wait_for(lambda: any(path.name.endswith(".tmp") for path in out.iterdir()), pause=0)
        time.sleep(moments.uniform(0, 0.01))
        job.send(signal.SIGKILL)
        assert job.wait() == -signal.SIGKILL
        in_a_write += {path.name for path in out.iterdir()} != EXPECTED
        saved, reached = int(torch.load(out / STATE, weights_only=True)["step"]), last_row(out)
        assert 0 <= reached - saved <= INTERVAL
        assert load_part(out, "segmenter").kind == "segmenter"
    job = start(SCRIPT, out, saved + INTERVAL)
    assert job.wait() == 0, job.said
    assert {path.name for path in out.iterdir()} == EXPECTED
    assert last_row(out) == saved + INTERVAL
    return in_a_write


def test_killed_five_times(start: Start, tmp_path: Path) -> None:
    killed_at_random(start, tmp_path / "out", 5)


@pytest.mark.slow
def test_killed_fifty_times(start: Start, tmp_path: Path) -> None:
    assert killed_at_random(start, tmp_path / "out", 50) >= 10


# -- every moment of a checkpoint's writing, one by one -----------------------------------------------------------------------


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {"w": torch.full((3,), value)}


@pytest.mark.parametrize("killed_at", range(7))
def test_killed_between_any_two_changes_of_the_folder(killed_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends before the n-th change that `save_part` makes (two folders, two files, two moves): the old part is read
    until the weights are moved, the new one from then on."""

    class Killed(BaseException):
        pass

    save_part(tmp_path / "c", "part", "kind", {}, tensors(1))
    count = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal count
            if count == killed_at:
                raise Killed
            count += 1
            return real(*args, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", counted(Path.mkdir))
        patch.setattr(Path, "replace", counted(Path.replace))
        patch.setattr("gan_explain.files.checkpoints.write_bytes", counted(Path.write_bytes))
        patch.setattr(
            "gan_explain.files.checkpoints.shutil.rmtree", lambda *args, **options: None
        )  # a killed process tidies nothing
        done = True
        try:
            save_part(tmp_path / "c", "part", "kind", {}, tensors(2))
        except Killed:
            done = False
    found = float(load_part(tmp_path / "c", "part").state["w"][0])
    assert found == (2.0 if done or count > 4 else 1.0), count
    settle(tmp_path / "c")
    assert {path.name for path in (tmp_path / "c").iterdir()} == {WEIGHTS, CONFIG}
    assert float(load_part(tmp_path / "c", "part").state["w"][0]) == found
    save_part(tmp_path / "c", "other", "kind", {}, tensors(3))
    assert float(load_part(tmp_path / "c", "part").state["w"][0]) == found


def test_what_other_processes_are_writing_stays(tmp_path: Path) -> None:
    alive, dead, mine = ".state.pt.1.tmp", ".state.pt.4194999.tmp", temporary_beside(tmp_path / "state.pt").name
    others = ["notes.tmp", ".hidden.tmp", ".state.pt.x.tmp", "state.pt"]
    for name in (alive, dead, mine, *others):
        (tmp_path / name).touch()
    clear_temporaries(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {alive, *others}
