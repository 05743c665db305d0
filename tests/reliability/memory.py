"""Run by test_memory.py: what a process holds after every step of a training, or after every image of an audit.

`memory.py TRAINER STEPS` (a name of small_trainers.TRAINERS) or `memory.py audit IMAGES [quick]` prints resident megabytes, one a
line.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import torch
from small_trainers import TRAINERS

from gan_explain.audit import AuditOptions, gather
from gan_explain.data import open_dataset
from gan_explain.evaluate.gathered import Gathered
from gan_explain.metrics.change import Models
from gan_explain.nets.load import load_generator
from gan_explain.nets.segmenter import load_segmenter
from gan_explain.targets import resolve_target
from gan_explain.train.loop import run
from gan_explain.train.training import Training


def resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def training(name: str, steps: int) -> list[float]:
    """A sheet and a state every 50 steps, a row every one."""
    torch.manual_seed(0)
    trainer, found = TRAINERS[name](), list[float]()
    step = trainer.step

    def watched(index: int) -> dict[str, torch.Tensor]:
        found.append(resident())
        return step(min(index, 5))  # their schedules are short

    trainer.step = watched  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        run(trainer, Training(steps=steps, save_every=50, log_every=1), Path(folder))
    return found


def audit(images: int, quick: bool) -> list[float]:
    segmenter, found = load_segmenter("phantom64"), list[float]()
    target = resolve_target("checkpoint:phantom64", segmenter=segmenter)
    dataset = open_dataset(f"phantom:n={images}", size=64).remembering(1 << 20)
    add = Gathered.add

    def watched(*args: object) -> None:
        found.append(resident())
        add(*args)  # type: ignore[arg-type]

    Gathered.add = watched  # type: ignore[method-assign, assignment]
    models = Models(load_generator("phantom64"), target, segmenter)
    gather(models, dataset, AuditOptions(quick=quick, show=20, marker=None))
    return found


if __name__ == "__main__":
    what, count = sys.argv[1], int(sys.argv[2])
    for value in audit(count, "quick" in sys.argv) if what == "audit" else training(what, count):
        sys.stdout.write(f"{value}\n")
