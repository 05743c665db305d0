"""Tests run offline, on the CPU, seeded, with one thread each; real radiographs are used where they lie beside the repository."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
os.environ.setdefault("MPLBACKEND", "Agg")

import random
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
CXR = Path(os.environ.get("GAN_EXPLAIN_CXR", ROOT.parent / "shared" / "cxr"))
LOCAL = ("127.0.0.1", "::1", "localhost")


@pytest.fixture(autouse=True, scope="session")
def offline() -> Iterator[None]:
    """No test talks to another machine (torch.distributed may talk to this one)."""
    real = socket.socket.connect

    def connect(self: socket.socket, address: object) -> None:
        if isinstance(address, tuple) and address[0] not in LOCAL:
            raise OSError(f"tests are offline: connection to {address!r} refused")
        real(self, address)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect)
        yield


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same random state, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 (libraries draw from it)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def cxr() -> Path:
    """The folder of real radiographs; a test that asks for it is skipped where there is none."""
    if not (CXR / "manifest.csv").is_file():
        pytest.skip(f"no real radiographs: expected {CXR}/manifest.csv (set GAN_EXPLAIN_CXR)")
    return CXR
