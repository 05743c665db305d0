"""Two processes are one audit: equal to a single one to the bit; where one fails both end, and nothing is left."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gan_explain.cli.exits import OK, TARGET

MODELS = ("--generator", "phantom64", "--segmenter", "phantom64", "--judges", "none")
AUDIT = ("-m", "gan_explain", "audit", *MODELS, "--data", "phantom:n=80", "--limit", "8", "--quick", "--strengths", "21")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
FAILS_IN_THE_SECOND = """
import os
import torch

def make():
    if os.environ.get("RANK") == "1":
        raise ValueError("only here")
    return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 2))
"""


def audited(folder: Path, *words: str, launcher: tuple[str, ...] = ()) -> None:
    command = [sys.executable, *launcher, *AUDIT, "--target", "checkpoint:phantom64", *words]
    done = subprocess.run(command, env=ENVIRONMENT, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == OK, done.stderr


def test_torchrun_gives_the_audit_of_one_process(tmp_path: Path) -> None:
    audited(tmp_path, "--salt", "salt", "--out", "one")
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    audited(tmp_path, "--salt", "salt", "--out", "two", launcher=torchrun)
    files = {path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()}
    assert files == {path.relative_to(tmp_path / "two") for path in (tmp_path / "two").rglob("*") if path.is_file()}
    for name in files - {Path("run.json")}:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "salt", "two"]


@pytest.mark.parametrize("target", ["half:make"])
def test_a_process_that_fails_ends_both_with_its_code_and_nothing_is_left(tmp_path: Path, target: str) -> None:
    (tmp_path / "half.py").write_text(FAILS_IN_THE_SECOND)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, *AUDIT, "--target", target, "--classes", "normal,covid", "--positive", "covid", "--out", "out"]
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    ranks = [{**ENVIRONMENT, **group, "RANK": str(i), "LOCAL_RANK": str(i)} for i in range(2)]
    jobs = [subprocess.Popen(command, env=rank, cwd=tmp_path, stderr=subprocess.PIPE, text=True) for rank in ranks]
    said = [job.communicate(timeout=300)[1] for job in jobs]
    assert [job.returncode for job in jobs] == [TARGET, TARGET], said
    assert all("only here" in text and "Traceback" not in text for text in said), said
    assert [path.name for path in tmp_path.iterdir() if path.name != "__pycache__"] == ["half.py"]
