"""Run by test_distributed.py: `two_ranks.py OUT` is two processes of one group, as torchrun would start them, in one fork.

Each trains small trainers for two steps from initial weights of its own and writes down what came out; each takes its half of a
batch for a gradient and compares what both agree on with that of the whole batch.
"""

from __future__ import annotations

import copy
import os
import socket
import sys
from pathlib import Path

import torch
from small_trainers import SIDE, TRAINERS, phantoms
from torch import Tensor, nn

from gan_explain.nets.cyclegan import CycleGan, CycleGanConfig
from gan_explain.nets.unet import UNet, UNetConfig
from gan_explain.train.distributed import process_group, wrap
from gan_explain.train.gan.cyclegan import CycleGanTraining, Discriminators, TranslationObjective
from gan_explain.train.loop import run
from gan_explain.train.segmenter import SegmenterObjective
from gan_explain.train.trainer import Trainer
from gan_explain.train.training import Training

CPU, HALF = torch.device("cpu"), 4
TRANSLATOR = CycleGanConfig(resolution=SIDE, width=8, blocks=1, judge_width=8)


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {f"{name}.{key}": p.detach() for name, net in trainer.networks().items() for key, p in net.named_parameters()}


def losses(name: str, objective: nn.Module, rows: slice) -> Tensor:
    """The summed losses of an objective on some rows of a batch of eight."""
    batch = phantoms().batch(range(2 * HALF))
    images, lungs = batch.images[rows], batch.lungs[rows]
    terms = objective(images, lungs, batch) if name == "segmenter" else objective(images, images.flip(3), 0.5)[0]
    return torch.stack(list(terms.values())).sum()


def gradient(name: str, objective: nn.Module, rows: slice) -> Tensor:
    losses(name, objective, rows).backward()
    return torch.cat([p.grad.flatten() for p in objective.parameters() if p.grad is not None])


def gradient_error(name: str, rank: int) -> float:
    """Largest difference of the two halves' gradient to the whole batch's, by the latter's largest value. BatchNorm is in eval
    mode: in training every process takes the statistics of its own half, as torch's DDP does."""
    torch.manual_seed(5)
    if name == "segmenter":
        objective: nn.Module = SegmenterObjective(UNet(UNetConfig(resolution=SIDE, widths=(4, 8)))).eval()
    else:
        discriminators = Discriminators(TRANSLATOR).requires_grad_(False)
        objective = TranslationObjective(CycleGan(TRANSLATOR), discriminators, CycleGanTraining())
    alone = gradient(name, copy.deepcopy(objective), slice(0, 2 * HALF))
    together = gradient(name, wrap(objective, CPU), slice(rank * HALF, (rank + 1) * HALF))
    return float((together - alone).abs().max() / alone.abs().max())


def main(out: Path, rank: int) -> None:
    found: dict[str, object] = {}
    for name in ("segmenter", "transfer", "translation"):
        torch.manual_seed(rank)  # other initial weights in each process: they must be made the same
        trainer = TRAINERS[name]()
        run(trainer, Training(steps=2), out / name / f"rank{rank}")
        found[name] = weights(trainer)
    found["gradients"] = {name: gradient_error(name, rank) for name in ("segmenter", "translation")}
    torch.save(found, out / f"found{rank}.pt")


if __name__ == "__main__":
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    other = os.fork()
    number = 0 if other else 1
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": "2"}
    with process_group(CPU):
        main(Path(sys.argv[1]), number)
    if other:
        os.waitpid(other, 0)
