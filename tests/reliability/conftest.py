"""Commands in processes of their own, which may be killed, at the cost of a fork each."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))  # for small_trainers.py, which scripts run by the server import too


@dataclass
class Job:
    """A command that runs, or ran: its process id and what it says (stdout and stderr together)."""

    server: subprocess.Popen[bytes]
    process: int
    log: Path
    code: int | None = None

    def wait(self, seconds: float = 300) -> int:
        """The exit code, negative for the signal that ended it."""
        self.code = int(answer(self.server, seconds))
        return self.code

    def send(self, number: int) -> None:
        os.kill(self.process, number)

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def last(self) -> str:
        """The last line."""
        return self.said.replace("\r", "\n").strip().splitlines()[-1]


def answer(server: subprocess.Popen[bytes], seconds: float) -> str:
    assert server.stdout is not None
    found = b""
    end = time.monotonic() + seconds
    while not found.endswith(b"\n"):
        ready, _, _ = select.select([server.stdout], [], [], max(0.0, end - time.monotonic()))
        assert ready, f"no answer within {seconds} s"
        part = os.read(server.stdout.fileno(), 1)
        assert part, "the server ended"
        found += part
    return found.decode().strip()


@pytest.fixture(scope="session")
def forked() -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    environment.pop("GAN_EXPLAIN_TRACEBACK", None)
    with subprocess.Popen(
        [sys.executable, str(HERE / "server.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=ROOT
    ) as server:
        assert answer(server, 300) == "ready"
        yield server
        server.kill()  # it has nothing to finish


@pytest.fixture
def start(forked: subprocess.Popen[bytes], tmp_path: Path) -> Iterator[Callable[..., Job]]:
    """start(*words, largest=None): a command (or script.py) begins in the test's folder; files may have `largest` bytes."""
    jobs: list[Job] = []

    def begin(*words: object, largest: int | None = None) -> Job:
        log = tmp_path / f"log{len(jobs)}.txt"
        job = {"run": [str(word) for word in words], "folder": str(tmp_path), "log": str(log), "largest": largest}
        assert forked.stdin is not None
        forked.stdin.write((json.dumps(job) + "\n").encode())
        forked.stdin.flush()
        jobs.append(Job(forked, int(answer(forked, 30)), log))
        return jobs[-1]

    yield begin
    for job in jobs:
        if job.code is None:  # the test failed before it ended
            with suppress(ProcessLookupError):  # it ended by itself
                job.send(signal.SIGKILL)
            job.wait()


@pytest.fixture
def command(start: Callable[..., Job]) -> Callable[..., tuple[int, str]]:
    """command(*words, largest=None): the exit code of a command, and its last line."""

    def call(*words: object, largest: int | None = None) -> tuple[int, str]:
        job = start(*words, largest=largest)
        code = job.wait(300)
        return code, job.last if job.said.strip() else ""

    return call


@pytest.fixture
def files() -> Callable[[Path], set[str]]:
    """files(FOLDER): the names of all files and folders in it, hidden ones too."""
    return lambda folder: {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
