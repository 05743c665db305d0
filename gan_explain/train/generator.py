"""Training the disentangling generator: first its reader, then its layer generator, which learns from what the reader finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from gan_explain.labels import coarse
from gan_explain.lungs import opacity_load
from gan_explain.nets.efficientnet_lite import imagenet_features
from gan_explain.nets.generator import Disentangler, GeneratorConfig
from gan_explain.train.distributed import any_rank, is_main
from gan_explain.train.gan.layers import FEWEST, LayersTraining, train_layers
from gan_explain.train.loop import STATE
from gan_explain.train.masks import Batches
from gan_explain.train.reader import ReaderTraining, train_reader
from gan_explain.types import DataError, Record

STAGES = ("reader", "layers")


@dataclass(frozen=True, kw_only=True)
class GeneratorPlan:
    """The network, whose labels are those of the data, and the training of its two stages."""

    network: GeneratorConfig = field(default_factory=GeneratorConfig)
    reader: ReaderTraining = field(default_factory=ReaderTraining)
    layers: LayersTraining = field(default_factory=LayersTraining)


PRESETS: Mapping[str, GeneratorPlan] = {
    "small": GeneratorPlan(  # phantoms and little data: a reader from scratch, without ImageNet weights
        network=GeneratorConfig(resolution=64, grid=32, backbone="small", width=16, layer_width=16, code_dim=16),
        reader=ReaderTraining(steps=400),
        layers=LayersTraining(steps=600),
    ),
    "cpu": GeneratorPlan(),
    "gpu": GeneratorPlan(
        network=GeneratorConfig(width=64, layer_width=48),
        reader=ReaderTraining(steps=6000, batch_size=32),
        layers=LayersTraining(steps=20000, batch_size=64),
    ),
}


def at_resolution(network: GeneratorConfig, resolution: int) -> GeneratorConfig:
    """The same network for radiographs of another side, its grid in proportion."""
    grid = resolution * network.grid // network.resolution
    return network.model_copy(update={"resolution": resolution, "grid": grid})


def train_generator(dataset: Batches, out: Path, plan: GeneratorPlan, *, resume: bool = False) -> Disentangler:
    """Train both stages on the training images at the network's resolution, with the segmenter's masks; write the part
    "generator" of checkpoint `out`. Resuming, a finished stage is not repeated.

    Raises DataError without a disease of enough radiographs, or without healthy ones; CheckpointError where ImageNet's weights
    are needed and not installed.
    """
    network = untrained(plan.network.model_copy(update={"labels": diseases(dataset.records)}))
    network = train_reader(dataset, out, network, plan.reader, resume=resume)
    return train_layers(dataset, out, network, plan.layers, resume=resume and _goes_on(out))


def diseases(records: Iterable[Record]) -> tuple[str, ...]:
    """Diseases with enough radiographs to learn layers from, covid first: its prior is drawn from unless another is named.
    DataError where there is none."""
    counts = Counter(coarse(record.label) for record in records)
    found = [label for label, count in counts.items() if label != "normal" and count >= FEWEST]
    if not found:
        raise DataError(f"expected at least {FEWEST} radiographs of a disease in the training split, got {dict(counts)}")
    return tuple(sorted(found, key=lambda label: (label != "covid", label)))


def untrained(config: GeneratorConfig) -> Disentangler:
    """An untrained generator, its reader's backbone with ImageNet weights; CheckpointError where they are not installed."""
    network = Disentangler(config)
    if config.backbone == "efficientnet_lite0":
        network.reader.encoder.load_state_dict(imagenet_features().state_dict())
    return network


def _goes_on(out: Path) -> bool:
    """Whether the layers' state is of the reader that is there: it was written after the reader's. The first process decides."""
    of_reader, of_layers = (out / stage / STATE for stage in STAGES)
    known = is_main() and of_layers.is_file()
    return any_rank(known and of_layers.stat().st_mtime_ns > of_reader.stat().st_mtime_ns)


@torch.no_grad()
def mean_loads(network: Disentangler, dataset: Batches, batch_size: int = 16) -> dict[str, dict[str, float]]:
    """Mean load that is read on images of each label, and how many there are."""
    found: dict[str, list[float]] = {}
    for start in range(0, len(dataset), batch_size):
        batch = dataset.batch(range(start, min(start + batch_size, len(dataset))))
        loads = opacity_load(network.read(batch.images, batch.lungs), batch.lungs).tolist()
        for label, load in zip(batch.labels, loads, strict=True):
            found.setdefault(coarse(label), []).append(load)
    return {label: {"load": sum(each) / len(each), "n": len(each)} for label, each in sorted(found.items())}
