"""Every trainer, small: an entry of TRAINERS makes one (phantoms of 32 pixels, batches of four, dropout and learning rates that
show every random number and every state)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.data import Dataset, open_dataset
from gan_explain.nets.classifier import ClassifierConfig, build
from gan_explain.nets.cxrnet import CxrNet, CxrNetConfig
from gan_explain.nets.cyclegan import CycleGanConfig
from gan_explain.nets.free import FreeConfig
from gan_explain.nets.generator import Disentangler, GeneratorConfig
from gan_explain.nets.multi_unet import MultiUNet
from gan_explain.nets.structure import StructureConfig
from gan_explain.nets.unet import UNet, UNetConfig
from gan_explain.targets import ModuleTarget, Preparation, TargetConfig
from gan_explain.targets.weights import head_name
from gan_explain.train.cxrnet import CxrNetObjective, EvidenceTerms
from gan_explain.train.early import EarlyStopping
from gan_explain.train.gan.cyclegan import CycleGanTrainer, CycleGanTraining
from gan_explain.train.gan.free import FreeTrainer, FreeTraining
from gan_explain.train.gan.layers import LayersTrainer, LayersTraining, read_layers
from gan_explain.train.gan.reconstruction import StructureTraining
from gan_explain.train.gan.structure import StructureTrainer, stored
from gan_explain.train.masks import MaskedDataset
from gan_explain.train.objective import TargetObjective, Task
from gan_explain.train.reader import ReaderTrainer, ReaderTraining
from gan_explain.train.segmenter import SegmenterObjective
from gan_explain.train.spectral import SpectralOptions
from gan_explain.train.supervised import SupervisedTrainer, SupervisedTraining
from gan_explain.train.target import val_measure
from gan_explain.train.trainer import Trainer
from gan_explain.train.unet import MultiObjective

SIDE, STEPS, RATE = 32, 6, 0.02
CLASSES = ("normal", "covid")
TASK = Task(CLASSES, smoothing=0.05)
PREPARE, WHOLE = (
    Preparation(TargetConfig(size=SIDE, channels=1, mean=(0.5,), std=(0.25,), lungs_only=lungs_only))
    for lungs_only in (True, False)
)
SUPERVISED: dict[str, Any] = {"steps": STEPS, "batch_size": 4, "learning_rate": RATE}


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
    """p(covid) is a sigmoid of the mean brightness: 0.5 at 0.5."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(20.0))

    def forward(self, x: Tensor) -> Tensor:
        z = self.slope * (x.mean((1, 2, 3)) - 0.5)  # (N, 1, H, W) -> (N,)
        return torch.stack([torch.zeros_like(z), z], dim=1)


@cache
def phantoms() -> Dataset:
    """48 phantoms, half of them COVID-positive, with their own masks."""
    return open_dataset("phantom:n=48", size=SIDE)


@cache
def brightness() -> ModuleTarget:
    return ModuleTarget(Brightness(), TargetConfig(classes=CLASSES, positive=("covid",), size=SIDE, channels=1))


def labels(data: Dataset) -> list[str]:
    return [record.label for record in data.records]


def segmenter() -> Trainer:
    network = UNet(UNetConfig(resolution=SIDE, widths=(4, 8)))
    data = phantoms()
    return SupervisedTrainer(
        SegmenterObjective(network), data, [r.source for r in data.records], SupervisedTraining(**SUPERVISED)
    )


def classifier() -> Trainer:
    """With dropout, which draws from the global random stream."""
    objective = TargetObjective(build(ClassifierConfig(dropout=0.5)), PREPARE, TASK)
    return SupervisedTrainer(objective, phantoms(), labels(phantoms()), SupervisedTraining(**SUPERVISED))


def transfer() -> Trainer:
    """The classifier with its backbone frozen for the first three steps, and early stopping."""
    train, val = phantoms().split("train"), MaskedDataset(phantoms().split("val"), None)
    network = build(ClassifierConfig(dropout=0.5))
    objective = TargetObjective(network, PREPARE, TASK)
    early = EarlyStopping(val_measure(objective, val), patience=4)
    config = SupervisedTraining(**SUPERVISED, freeze_steps=3)
    return SupervisedTrainer(objective, train, labels(train), config, head=head_name(network), early=early)


def free() -> Trainer:
    config = FreeTraining(steps=STEPS, batch_size=4, learning_rate=RATE, width=8)
    return FreeTrainer(MaskedDataset(phantoms(), None), brightness(), FreeConfig(resolution=SIDE, width=8), config)


def generator() -> Disentangler:
    return Disentangler(GeneratorConfig(resolution=SIDE, grid=16, backbone="small", width=8, layer_width=8, code_dim=4))


def reader() -> Trainer:
    config = ReaderTraining(steps=STEPS, batch_size=4, learning_rate=RATE)
    return ReaderTrainer(MaskedDataset(phantoms(), None), generator(), config)


def layers() -> Trainer:
    """The reader before it is the same whatever the seed: it is no part of this training's state."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = generator()
    maps, names = read_layers(MaskedDataset(phantoms(), None), network, torch.device("cpu"))
    return LayersTrainer(maps, names, network, LayersTraining(steps=STEPS, batch_size=4, learning_rate=RATE))


def structure() -> Trainer:
    network = StructureConfig(resolution=SIDE, z_dim=4, width=4, max_width=8, first_width=4, encoder_width=4)
    config = StructureTraining(steps=STEPS, batch_size=4, samples=2, start=0, learning_rate=RATE, discriminator_width=8, bank=8)
    return StructureTrainer(stored(phantoms()), Levels(), network, config, others=stored(phantoms())[:5])


def translation() -> Trainer:
    """With pools that are full, and exchanged from, before the half."""
    sides = [phantoms().where(lambda record, name=name: record.label == name) for name in CLASSES]  # type: ignore[misc]
    config = CycleGanTraining(steps=STEPS, batch_size=2, learning_rate=RATE, pool=3)
    return CycleGanTrainer(*sides, CycleGanConfig(resolution=SIDE, width=8, blocks=1, judge_width=8), config)


def on_phantoms(objective: nn.Module) -> Trainer:
    return SupervisedTrainer(objective, phantoms(), labels(phantoms()), SupervisedTraining(**SUPERVISED))


def unet() -> Trainer:
    network = MultiUNet(2, dropout=0.5, widths=(4, 8))
    return on_phantoms(MultiObjective(network, WHOLE, TASK))


def cxrnet() -> Trainer:
    """With mixtures and exchanged maps, which are drawn from the global random stream."""
    network = CxrNet(CxrNetConfig(width=4, second_width=4, decoder_widths=(4, 4, 4), dropout=0.5))
    return on_phantoms(CxrNetObjective(network, PREPARE, TASK, terms=EvidenceTerms(swapped=0.5, mixup=0.4)))


def spectral() -> Trainer:
    transform = SpectralOptions(filter="gaussian").transform(None)
    return on_phantoms(TargetObjective(build(ClassifierConfig(dropout=0.5)), PREPARE, TASK, transform))


ALL = (segmenter, classifier, transfer, free, reader, layers, structure, translation, unet, cxrnet, spectral)
TRAINERS: dict[str, Callable[[], Trainer]] = {make.__name__: make for make in ALL}


def leaves(state: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Everything in a nested state, by name."""
    if isinstance(state, dict | list | tuple):
        for key, value in state.items() if isinstance(state, dict) else enumerate(state):
            yield from leaves(value, f"{name}.{key}")
    else:
        yield name, state


def different(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """The names under which two sets of leaves differ; they have the same names."""
    assert a.keys() == b.keys()
    return [name for name in a if not (torch.equal(a[name], b[name]) if isinstance(a[name], Tensor) else a[name] == b[name])]
