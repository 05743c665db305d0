"""Several processes under torchrun: one model, streams of their own, one writer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gan_explain.train.distributed import any_rank, is_main, process_group, rank, wrap
from gan_explain.train.loop import STATE, STATS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def test_one_process_needs_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with process_group(torch.device("cpu")):
        assert (rank(), is_main()) == (0, True)
        assert (any_rank(True), any_rank(False)) == (True, False)
        network = torch.nn.Linear(1, 1)
        assert wrap(network, torch.device("cpu")) is network


def torchrun(*args: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.run(
        [*TORCHRUN, *map(str, args)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.slow
def test_two_processes_hold_one_model_and_one_writes(tmp_path: Path) -> None:
    done = torchrun(HERE / "two_processes.py", tmp_path, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    one, other = (torch.load(tmp_path / f"found{i}.pt", weights_only=True) for i in range(2))
    for trainer in ("free", "reader", "layers", "structure", "translation", "segmenter"):
        for stage in ("first", "resumed"):
            assert one[trainer][stage].keys() == other[trainer][stage].keys()
            for name, value in one[trainer][stage].items():
                assert torch.equal(value, other[trainer][stage][name]), (trainer, stage, name)
        assert not torch.equal(one[trainer]["stream"][""], other[trainer]["stream"][""])
        assert {path.name for path in (tmp_path / trainer).iterdir()} == {"rank0"}
        assert {STATE, STATS} <= {path.name for path in (tmp_path / trainer / "rank0").iterdir()}
    for name, value in one["part"]["trained"].items():
        assert torch.equal(value, other["part"]["trained"][name]), name
    assert {path.name for path in (tmp_path / "part").iterdir()} == {"rank0"}
    assert (tmp_path / "part" / "rank0" / "weights.safetensors").is_file()
