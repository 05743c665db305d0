"""No network: the tests, the demo and an audit where every socket is refused, and in a namespace that has none."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
BLOCK = """
import os, socket

def refused(*args, **named):
    with open(os.environ["ASKED"], "a") as file:
        file.write(f"{args} {named}\\n")
    raise OSError("no network here")

class Socket(socket.socket):
    def __new__(cls, *args, **named):
        refused(*args, **named)

socket.socket = socket.SocketType = Socket
socket.create_connection = socket.getaddrinfo = socket.gethostbyname = socket.gethostbyname_ex = refused
"""
MODELS = ("--generator", "phantom64", "--segmenter", "phantom64")
QUICK = ("--judges", "none", "--strengths", "21", "--limit", "4", "--quick")
COMMANDS = {
    "demo": ("interpolate.py", "--sample", "1", "--strengths", "3", "--picture-size", "256", *MODELS),
    "audit": ("-m", "gan_explain", "audit", "--target", "checkpoint:phantom64", *MODELS, "--data", "phantom:n=40", *QUICK),
}  # fmt: skip


@pytest.mark.parametrize("host", ["example.invalid", "192.0.2.1", "2001:db8::1"])
def test_the_suite_reaches_no_other_machine(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for reach in (socket.socket.connect, socket.socket.connect_ex):
        with socket.socket(family) as made, pytest.raises(OSError, match="tests are offline"):
            reach(made, (host, 80))
    with pytest.raises(OSError, match="tests are offline"):
        socket.create_connection((host, 80))
    with pytest.raises(OSError, match="tests are offline"):
        urllib.request.urlopen(f"http://{'[' + host + ']' if ':' in host else host}/")


def test_the_suite_may_talk_to_itself() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()


def run(name: str, tmp: Path, *before: str, **environment: str) -> subprocess.CompletedProcess[str]:
    args = [*before, sys.executable, *COMMANDS[name], "--out", str(tmp / "out")]
    more = {"PYTHONPATH": f"{tmp}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(args, cwd=ROOT, env=os.environ | more, capture_output=True, text=True, timeout=900, check=False)


@pytest.mark.parametrize("name", COMMANDS)
def test_no_socket_is_asked_for(tmp_path: Path, name: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(BLOCK)
    done = run(name, tmp_path, ASKED=str(tmp_path / "asked"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "run.json").is_file()
    assert not (tmp_path / "asked").exists(), (tmp_path / "asked").read_text()


def test_the_block_blocks(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BLOCK)
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "ASKED": str(tmp_path / "asked")}
    for code in ("socket.socket()", "socket.getaddrinfo('localhost', 80)", "urllib.request.urlopen('http://127.0.0.1')"):
        args = [sys.executable, "-c", f"import socket, urllib.request\n{code}"]
        done = subprocess.run(args, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert "no network here" in done.stderr
    assert len((tmp_path / "asked").read_text().splitlines()) == 3


def has_namespaces() -> bool:
    unshare = shutil.which("unshare")
    return unshare is not None and subprocess.run([unshare, "-rn", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not has_namespaces(), reason="network namespaces need Linux and the right to make one (unshare -rn)")
@pytest.mark.parametrize("name", COMMANDS)
def test_the_commands_work_where_there_is_no_network_at_all(tmp_path: Path, name: str) -> None:
    """Libraries written in C too: a namespace without any interface that is up."""
    done = run(name, tmp_path, "unshare", "-rn")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "run.json").is_file()
