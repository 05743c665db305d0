"""torch DDP under torchrun; every function is a no-op in a single process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the group that torchrun announces in the environment (gloo on CPU, NCCL on CUDA), leave it at the end."""
    if "WORLD_SIZE" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def is_main() -> bool:
    return rank() == 0


def wrap(objective: nn.Module, device: torch.device) -> Any:
    """DDP around an objective whose forward returns its losses; the objective itself in a single process."""
    if not dist.is_initialized():
        return objective
    ids = [device.index or 0] if device.type == "cuda" else None
    return DistributedDataParallel(objective, device_ids=ids)


def wait() -> None:
    """Until all processes are here: what the first one wrote can be read by the others."""
    if dist.is_initialized():
        dist.barrier()


def any_rank(flag: bool) -> bool:
    """True on every rank when it is true on one, so that all ranks stop at the same step."""
    if not dist.is_initialized():
        return flag
    value = torch.tensor(float(flag))
    if dist.get_backend() == "nccl":
        value = value.cuda()
    dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return bool(value > 0)


def same(value: float) -> float:
    """The first process's number, on every rank: what a clock says differs from one to the next."""
    if not dist.is_initialized():
        return value
    said = torch.tensor(value, dtype=torch.float64)
    if dist.get_backend() == "nccl":
        said = said.cuda()
    dist.broadcast(said, 0)
    return float(said)
