"""Run by test_distributed.py in each of two processes under torchrun: trains every trainer, and writes down what it ended with.

`python -m torch.distributed.run --nproc-per-node 2 two_processes.py OUT`. Each process names an output folder of its own, so that
the test sees which of them wrote.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.data import open_dataset
from gan_explain.nets.cyclegan import CycleGanConfig
from gan_explain.nets.free import FreeConfig
from gan_explain.nets.generator import Disentangler, GeneratorConfig
from gan_explain.nets.structure import StructureConfig
from gan_explain.nets.unet import UNet, UNetConfig
from gan_explain.targets import ModuleTarget, TargetConfig
from gan_explain.train.distributed import process_group, rank
from gan_explain.train.gan.cyclegan import CycleGanTrainer, CycleGanTraining
from gan_explain.train.gan.free import FreeTrainer, FreeTraining, train_free
from gan_explain.train.gan.layers import LayersTrainer, LayersTraining, read_layers
from gan_explain.train.gan.reconstruction import StructureTraining
from gan_explain.train.gan.structure import StructureTrainer, stored
from gan_explain.train.loop import run
from gan_explain.train.masks import MaskedDataset
from gan_explain.train.reader import ReaderTrainer, ReaderTraining
from gan_explain.train.segmenter import SegmenterObjective
from gan_explain.train.supervised import SupervisedTrainer, SupervisedTraining
from gan_explain.train.trainer import Trainer
from gan_explain.train.training import Training

SIDE = 32
DATA = open_dataset("phantom:n=48", size=SIDE)
NETWORK = FreeConfig(resolution=SIDE, width=8)
FREE = FreeTraining(steps=4, batch_size=4, width=8)


class Levels(nn.Module):
    """A pyramid of two levels, the same in every process: what ImageNet's features are in earnest."""

    def __init__(self) -> None:
        super().__init__()
        stream = torch.Generator().manual_seed(0)
        self.register_buffer("fine", torch.randn(4, 1, 3, 3, generator=stream))
        self.register_buffer("coarse", torch.randn(6, 4, 3, 3, generator=stream))

    def forward(self, images: Tensor) -> list[Tensor]:
        fine = F.conv2d(images, self.fine, stride=2, padding=1).relu()
        return [fine, F.conv2d(fine, self.coarse, stride=2, padding=1)]


class Brightness(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        z = 20 * (x.mean((1, 2, 3)) - 0.5)
        return torch.stack([torch.zeros_like(z), z], dim=1)


TARGET = ModuleTarget(Brightness(), TargetConfig(classes=("normal", "covid"), positive=("covid",), size=SIDE, channels=1))


def free() -> Trainer:
    return FreeTrainer(MaskedDataset(DATA, None), TARGET, NETWORK, FREE)


def generator() -> Disentangler:
    return Disentangler(GeneratorConfig(resolution=SIDE, grid=16, backbone="small", width=8, layer_width=8, code_dim=4))


def reader() -> Trainer:
    return ReaderTrainer(MaskedDataset(DATA, None), generator(), ReaderTraining(steps=4, batch_size=4))


def layers() -> Trainer:
    """The reader before it is the same in every process: it is no part of this training's state."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = generator()
    maps, names = read_layers(MaskedDataset(DATA, None), network, torch.device("cpu"))
    return LayersTrainer(maps, names, network, LayersTraining(steps=4, batch_size=4))


def structure() -> Trainer:
    network = StructureConfig(resolution=SIDE, z_dim=4, width=4, max_width=8, first_width=4, encoder_width=4)
    config = StructureTraining(steps=4, batch_size=4, samples=2, start=0, discriminator_width=8, bank=8)
    return StructureTrainer(stored(DATA), Levels(), network, config, others=stored(DATA)[:5])


def translation() -> Trainer:
    network = CycleGanConfig(resolution=SIDE, width=8, blocks=1, judge_width=8)
    return CycleGanTrainer(DATA, DATA, network, CycleGanTraining(steps=4, batch_size=2, pool=3))


def segmenter() -> Trainer:
    objective = SegmenterObjective(UNet(UNetConfig(resolution=SIDE, widths=(4, 8))))
    return SupervisedTrainer(objective, DATA, ["phantom"] * len(DATA), SupervisedTraining(steps=4, batch_size=4))


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {f"{name}.{key}": p.detach() for name, net in trainer.networks().items() for key, p in net.named_parameters()}


def main(out: Path) -> None:
    torch.manual_seed(rank())  # other initial weights in each process: they must be made the same
    found: dict[str, dict[str, dict[str, Tensor]]] = {}
    for make in (free, reader, layers, structure, translation, segmenter):
        name = make.__name__
        first = make()
        run(first, Training(steps=2), out / name / f"rank{rank()}")
        resumed = make()
        run(resumed, Training(steps=4), out / name / "rank0", resume=True)
        state = resumed.state()
        streams = next(iter(state["streams"].values()))
        found[name] = {"first": weights(first), "resumed": weights(resumed), "stream": {"": streams}}
    trained = train_free(MaskedDataset(DATA, None), TARGET, out / "part" / f"rank{rank()}", NETWORK, replace(FREE, steps=2))
    found["part"] = {"trained": dict(trained.state_dict())}
    torch.save(found, out / f"found{rank()}.pt")


if __name__ == "__main__":
    with process_group(torch.device("cpu")):
        main(Path(sys.argv[1]))
