"""Each trainer: a run that stopped half-way and was resumed equals the straight run to the bit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_explain.data import Dataset
from gan_explain.nets.classifier import ClassifierConfig, build
from gan_explain.nets.cyclegan import CycleGanConfig
from gan_explain.nets.generator import GeneratorConfig
from gan_explain.nets.synthesis import SynthesisConfig
from gan_explain.nets.unet import UNet, UNetConfig
from gan_explain.targets import ModuleTarget, Preparation
from gan_explain.train import gan
from gan_explain.train.cyclegan import CycleGanTrainer, CycleGanTraining
from gan_explain.train.gan import GanTrainer, GanTraining
from gan_explain.train.loop import STATS, LoopConfig, Trainer, run
from gan_explain.train.masks import MaskedDataset
from gan_explain.train.segmenter import SegmenterObjective
from gan_explain.train.supervised import SupervisedConfig, SupervisedTrainer
from gan_explain.train.synthesis import SynthesisTrainer, SynthesisTraining, structures
from gan_explain.train.target import TargetObjective

STEPS, SIDE = 4, 32
SUPERVISED = SupervisedConfig(steps=STEPS, batch_size=4, learning_rate=0.1)


def segmenter(data: Dataset, target: ModuleTarget) -> Trainer:
    network = UNet(UNetConfig(resolution=SIDE, widths=(4, 8)))
    return SupervisedTrainer(SegmenterObjective(network), data, [r.source for r in data.records], SUPERVISED)


def classifier(data: Dataset, target: ModuleTarget) -> Trainer:
    """With dropout, which draws from the global random stream."""
    network = build(ClassifierConfig(dropout=0.5))
    objective = TargetObjective(network, Preparation(SIDE, 1, (0.5,), (0.25,), True), ("normal", "covid"), True, 0.05)
    return SupervisedTrainer(objective, data, [r.label for r in data.records], SUPERVISED)


def disentangler(data: Dataset, target: ModuleTarget) -> Trainer:
    config = GanTraining(steps=STEPS, batch_size=4, learning_rate=0.1, width=8, ramp=3, r1_every=3)
    return GanTrainer(MaskedDataset(data, None), target, GeneratorConfig(resolution=SIDE, width=8, code_dim=4), config)


def synthesis(data: Dataset, target: ModuleTarget) -> Trainer:
    config = SynthesisTraining(steps=STEPS, batch_size=2, low_batch=4, learning_rate=0.1, width=8, r1_every=3)
    return SynthesisTrainer(structures(data), SynthesisConfig(resolution=SIDE, z_dim=4, low_width=8, width=16), config)


def translation(data: Dataset, target: ModuleTarget) -> Trainer:
    """With a pool that is full, and exchanged from, before the half."""
    normal = data.where(lambda record: record.label == "normal")
    covid = data.where(lambda record: record.label == "covid")
    config = CycleGanTraining(steps=STEPS, batch_size=2, learning_rate=0.1, pool=3)
    return CycleGanTrainer(normal, covid, CycleGanConfig(resolution=SIDE, width=8, blocks=1, judge_width=8), config)


def leaves(state: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Everything in a nested state, by name."""
    if isinstance(state, dict | list | tuple):
        for key, value in state.items() if isinstance(state, dict) else enumerate(state):
            yield from leaves(value, f"{name}.{key}")
    else:
        yield name, state


def same(a: Any, b: Any) -> bool:
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else bool(a == b)


def rows(out: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in (out / STATS).read_text().splitlines()]


@pytest.mark.parametrize("make", [segmenter, classifier, disentangler, synthesis, translation])
def test_half_and_half_is_the_whole(
    make: Callable[[Dataset, ModuleTarget], Trainer],
    phantoms: Dataset,
    brightness: ModuleTarget,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gan, "MIN_REALS", 5)  # so that the discriminator has something to judge
    trainers = []
    for seed, folder, steps, resume in ((0, "whole", 4, False), (0, "parts", 2, False), (7, "parts", 4, True)):
        torch.manual_seed(seed)
        trainers.append(make(phantoms, brightness))
        run(trainers[-1], LoopConfig(steps=steps, log_every=1), tmp_path / folder, resume=resume)
    whole, half, resumed = (dict(leaves(trainer.state())) for trainer in trainers)
    assert whole.keys() == resumed.keys()
    assert [name for name in whole if not same(whole[name], resumed[name])] == []
    assert len([name for name in whole if not same(whole[name], half[name])]) > 10  # the second half did something
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")
    assert (tmp_path / "whole" / "sheet_000004.png").read_bytes() == (tmp_path / "parts" / "sheet_000004.png").read_bytes()


@pytest.mark.parametrize("make", [segmenter, disentangler, synthesis, translation])
def test_processes_other_than_the_first_keep_streams_of_their_own(
    make: Callable[[Dataset, ModuleTarget], Trainer], phantoms: Dataset, brightness: ModuleTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resumed second process that took over the first's streams would train on the same images."""
    first = make(phantoms, brightness).state()
    for module in ("gan", "synthesis", "supervised", "cyclegan"):
        monkeypatch.setattr(f"gan_explain.train.{module}.rank", lambda: 1)
        monkeypatch.setattr(f"gan_explain.train.{module}.is_main", lambda: False)
    second = make(phantoms, brightness)
    second.restore(first)
    streams = {name: value for name, value in leaves(second.state()) if "sampler" in name or name == ".generator"}
    assert streams
    assert not any(torch.equal(value, dict(leaves(first))[name]) for name, value in streams.items())
