"""Two processes are one training: one model, one writer, the gradient of the whole batch; one goes on with what they saved."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_trainers import TRAINERS

from gan_explain.train.loop import STATE, STATS, run
from gan_explain.train.training import Training

HERE = Path(__file__).parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
Start = Callable[..., Any]


def test_two_processes_and_then_one(start: Start, tmp_path: Path) -> None:
    job = start(HERE / "two_ranks.py", tmp_path)
    assert job.wait() == 0, job.said
    one, other = (torch.load(tmp_path / f"found{rank}.pt", weights_only=True) for rank in range(2))
    for name in ("segmenter", "transfer", "translation"):
        assert one[name].keys() == other[name].keys()
        assert [key for key, value in one[name].items() if not torch.equal(value, other[name][key])] == []
        assert [path.name for path in (tmp_path / name).iterdir()] == ["rank0"]
        assert {path.name for path in (tmp_path / name / "rank0").iterdir()} == {STATE, STATS, "sheet_000002.png"}
    assert all(error < 1e-5 for found in (one, other) for error in found["gradients"].values()), one["gradients"]

    for name in ("segmenter", "transfer", "translation"):
        trainer = TRAINERS[name]()
        first = {}

        def step(index: int, trainer: Any = trainer, first: dict[str, Any] = first, real: Any = trainer.step) -> Any:
            if not first:
                networks = trainer.networks().items()
                first.update({f"{n}.{key}": p.detach().clone() for n, net in networks for key, p in net.named_parameters()})
                first["step"] = index
            return real(index)

        trainer.step = step  # type: ignore[method-assign]
        run(trainer, Training(steps=4), tmp_path / name / "rank0", resume=True)
        assert first.pop("step") == 2
        assert [key for key, value in one[name].items() if not torch.equal(value, first[key])] == []
        assert torch.load(tmp_path / name / "rank0" / STATE, weights_only=True)["step"] == 4


def workers(parent: int) -> list[int]:
    """The processes that torchrun started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == parent:
                found.append(int(entry.name))
    return found


@pytest.mark.slow
def test_a_killed_process_ends_the_other_within_a_minute(tmp_path: Path) -> None:
    words = [
        "train",
        "segmenter",
        "--data",
        "phantom:n=24",
        "--resolution",
        "32",
        "--set",
        "batch_size=4",
        "--set",
        "save_every=2",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [*TORCHRUN, "-m", "gan_explain", *words, "--steps", "100000", "--out", str(tmp_path / "out")]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, env=environment, stdout=log, stderr=log) as torchrun:
        end = time.monotonic() + 300
        while not (tmp_path / "out" / STATE).is_file():
            assert time.monotonic() < end
            assert torchrun.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.1)
        pair = workers(torchrun.pid)
        assert len(pair) == 2
        began = time.monotonic()
        os.kill(max(pair), signal.SIGKILL)
        assert torchrun.wait(60) != 0
        assert time.monotonic() - began < 60
    assert not [process for process in pair if Path(f"/proc/{process}").exists()]
    trainer_state = torch.load(tmp_path / "out" / STATE, weights_only=True)
    assert trainer_state["step"] >= 2
