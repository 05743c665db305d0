"""The joint objective: each output learns from the records that teach it; one training writes a target and a segmenter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gan_explain.data import Batch, Dataset, open_dataset
from gan_explain.files.checkpoints import load_part
from gan_explain.metrics.structure import dice
from gan_explain.nets.multi_unet import MultiUNet
from gan_explain.nets.segmenter import LungSegmenter, load_segmenter
from gan_explain.targets import Preparation, TargetConfig, target_from_part
from gan_explain.train.objective import Task
from gan_explain.train.options import TargetOptions
from gan_explain.train.segmenter import mask_losses
from gan_explain.train.supervised import SupervisedTraining
from gan_explain.train.target import train_target
from gan_explain.train.unet import MultiObjective, teaching
from gan_explain.types import DataError, Record

SIDE = 32
CLASSES = ("normal", "covid")
PREPARE = Preparation(TargetConfig(size=SIDE, channels=1, mean=(0.5,), std=(0.25,)))
CONFIG = SupervisedTraining(steps=2, batch_size=4)


@pytest.fixture(scope="module")
def three() -> Dataset:
    """60 phantoms of three classes."""
    return open_dataset("phantom:n=60,covid=0.3,pneumonia=0.3", size=SIDE)


def objective(classified: Callable[[Record], bool], weights: Tensor | None = None) -> MultiObjective:
    net = MultiUNet(2, dropout=0.0, widths=(4, 8))
    return MultiObjective(net, PREPARE, Task(CLASSES, weights=weights), classified=classified)


def no_pneumonia(record: Record) -> bool:
    return record.label in CLASSES


def losses(made: MultiObjective, batch: Batch) -> dict[str, Tensor]:
    made.eval()
    return made(batch.images, batch.lungs, batch)


def test_each_output_learns_from_what_teaches_it(three: Dataset) -> None:
    batch = three.batch(range(12))
    batch = replace(batch, has_lungs=torch.arange(12) % 3 == 0)
    assert len(set(batch.labels)) == 3
    made = objective(no_pneumonia, torch.tensor([1.0, 3.0]))
    found = losses(made, batch)
    lungs, logits = made.network.outputs(PREPARE(batch.images))
    chosen = [i for i, label in enumerate(batch.labels) if label in CLASSES]
    labels = torch.tensor([CLASSES.index(batch.labels[i]) for i in chosen])
    torch.testing.assert_close(found["cross_entropy"], F.cross_entropy(logits[chosen], labels, torch.tensor([1.0, 3.0])))
    masks = mask_losses(lungs[::3], batch.lungs[::3])
    torch.testing.assert_close(found["mask_cross_entropy"], masks["cross_entropy"])
    torch.testing.assert_close(found["mask_dice"], masks["dice"])


def test_what_cannot_teach_an_output_leaves_it_alone(three: Dataset) -> None:
    batch = three.batch(range(6))
    unmasked, unclassified = replace(batch, has_lungs=torch.zeros(6, dtype=torch.bool)), objective(lambda record: False)
    for made, given, still in ((objective(no_pneumonia), unmasked, "up"), (unclassified, batch, "head")):
        terms = losses(made, given)
        assert set(terms) == {"cross_entropy", "mask_cross_entropy", "mask_dice"}
        torch.stack(list(terms.values())).sum().backward()
        parts = {"up": made.network.unet.up, "head": made.network.head, "encoder": made.network.unet.down}
        moved = {name for name, part in parts.items() if any(float(p.grad.abs().sum()) > 0 for p in part.parameters())}  # type: ignore[union-attr]
        assert moved == set(parts) - {still}


def test_one_training_writes_a_target_and_its_segmenter(three: Dataset, tmp_path: Path) -> None:
    trained = train_target(
        three, None, tmp_path / "u", TargetOptions(arch="multi_unet", size=SIDE), CONFIG, classified=no_pneumonia
    )
    assert (trained.classes, trained.positive, trained.uses_lungs) == (CLASSES, ("covid",), False)
    back = target_from_part(load_part(tmp_path / "u", "target"))
    assert isinstance(back.network, MultiUNet)
    segmenter, images = load_segmenter(tmp_path / "u"), three.batch(range(4)).images
    assert segmenter.resolution == SIDE
    assert torch.equal(segmenter(images), LungSegmenter(back.network.unet, SIDE)(images))
    torch.testing.assert_close(segmenter.network(images), back.network.outputs(back.prepare(images))[0], rtol=1e-3, atol=1e-4)


def test_the_operating_point_is_that_of_the_classified(three: Dataset, tmp_path: Path) -> None:
    options = TargetOptions(arch="multi_unet", size=SIDE)
    some = train_target(three, None, tmp_path / "a", options, CONFIG, classified=no_pneumonia)
    everything = train_target(three, None, tmp_path / "b", options, CONFIG)
    assert everything.classes == ("normal", "pneumonia", "covid")
    val = three.split("val").where(no_pneumonia)
    p, positive = some.probability(val.batch().images), torch.tensor([label == "covid" for label in val.batch().labels])
    called = p >= some.operating_point
    accuracy = (called[positive].float().mean() + (~called[~positive]).float().mean()) / 2
    others = [(p[positive] >= t).float().mean() / 2 + (p[~positive] < t).float().mean() / 2 for t in (0.1, 0.5, 0.9)]
    assert float(accuracy) >= float(max(others)) - 1e-6


def test_it_learns_both(phantoms: Dataset, tmp_path: Path) -> None:
    config = SupervisedTraining(steps=50, batch_size=12, learning_rate=4e-3, ema=0.8)
    trained = train_target(phantoms, None, tmp_path / "u", TargetOptions(arch="multi_unet", size=SIDE), config)
    batch = phantoms.split("train").batch()
    assert float(dice(load_segmenter(tmp_path / "u")(batch.images), batch.lungs).mean()) > 0.8
    positive = torch.tensor([label == "covid" for label in batch.labels])
    p = trained.probability(batch.images)
    assert float(p[positive].mean()) > float(p[~positive].mean()) + 0.2


def test_records_that_teach_nothing_are_left_out(three: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan_explain.train.unet.has_mask", lambda record: record.label == "normal")
    useful = teaching(three, lambda r: r.label == "covid")
    assert sorted(useful.classes) == ["covid", "normal"]


def test_without_masks_or_classes_there_is_nothing_to_train(
    three: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="at least two classes"):
        train_target(
            three,
            None,
            tmp_path / "u",
            TargetOptions(arch="multi_unet", size=SIDE),
            CONFIG,
            classified=lambda r: r.label == "covid",
        )
    monkeypatch.setattr("gan_explain.train.unet.has_mask", lambda record: False)
    with pytest.raises(DataError, match="with lung masks"):
        train_target(three, None, tmp_path / "u", TargetOptions(arch="multi_unet", size=SIDE), CONFIG)
    assert not (tmp_path / "u").exists()
