"""Segmenter and target training: the losses, the classes, the operating point, and what ends up in the checkpoint."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gan_explain.data import Dataset, open_dataset
from gan_explain.data.augment import Ranges
from gan_explain.files.checkpoints import load_part, save_part
from gan_explain.nets.segmenter import load_segmenter
from gan_explain.nets.unet import UNetConfig
from gan_explain.targets import Preparation, TargetConfig, probe, target_from_part
from gan_explain.train import target as target_module
from gan_explain.train.masks import MaskedDataset
from gan_explain.train.objective import TargetObjective, Task, clinical_classes
from gan_explain.train.options import TargetOptions
from gan_explain.train.segmenter import SegmenterObjective, dice_report, train_segmenter
from gan_explain.train.supervised import SupervisedTrainer, SupervisedTraining
from gan_explain.train.target import predict, train_target
from gan_explain.types import DataError, TargetError

SIDE = 32
STILL = Ranges(rotate=0, scale=0, shift=0, gamma=0, contrast=0, blur=0, noise=0)
BRIEF = SupervisedTraining(steps=2, batch_size=4, ranges=STILL)
UNET = UNetConfig(resolution=SIDE, widths=(4, 8))


class Constant(nn.Module):
    """Logits that are parameters, the same for every image."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.tensor(values))

    def forward(self, x: Tensor) -> Tensor:
        return self.values.expand(len(x), -1)


# -- segmenter ----------------------------------------------------------------------------------------------------------------


def test_segmenter_losses_are_small_for_the_right_mask_and_large_for_its_opposite(phantoms: Dataset) -> None:
    batch = phantoms.batch([0, 1])

    class Echo(nn.Module):
        sign = 1

        def forward(self, images: Tensor) -> Tensor:
            return self.sign * 20 * (2 * batch.lungs - 1)

    echo = Echo()
    right = SegmenterObjective(echo)(batch.images, batch.lungs, batch)
    echo.sign = -1
    wrong = SegmenterObjective(echo)(batch.images, batch.lungs, batch)
    assert right.keys() == {"cross_entropy", "dice"}
    assert max(value.item() for value in right.values()) < 1e-3
    assert wrong["cross_entropy"].item() == pytest.approx(20, rel=1e-3)
    assert wrong["dice"].item() > 0.99


def test_segmenter_learns_and_is_saved(phantoms: Dataset, tmp_path: Path) -> None:
    config = SupervisedTraining(steps=25, batch_size=8, learning_rate=2e-2, ema=0.8)
    train_segmenter(phantoms, tmp_path / "s", UNET, config)
    report = dice_report(load_segmenter(tmp_path / "s"), phantoms.split("test"))
    assert report.value > 0.65
    assert report.low <= report.value <= report.high
    assert report.n == len(phantoms.split("test"))
    assert report.by.keys() == {"phantom"}


def test_dice_by_hand(phantoms: Dataset) -> None:
    lungs = phantoms.batch().lungs
    assert dice_report(lambda images: lungs, phantoms).value == pytest.approx(1)
    assert dice_report(lambda images: torch.zeros_like(images), phantoms).value == 0
    share = lungs.mean((1, 2, 3))
    everywhere = (2 * share / (1 + share)).mean().item()
    assert dice_report(lambda images: torch.ones_like(images), phantoms).value == pytest.approx(everywhere, rel=1e-5)


def test_no_masks_no_dice_and_no_training(phantoms: Dataset, tmp_path: Path) -> None:
    without = Dataset(phantoms.root, [replace(r, source="elsewhere") for r in phantoms.records], phantoms.memory)
    assert dice_report(lambda images: images, without).value is None
    with pytest.raises(DataError, match="with lung masks"):
        train_segmenter(without, tmp_path / "s", UNET, BRIEF)
    assert not (tmp_path / "s").exists()


# -- target -------------------------------------------------------------------------------------------------------------------


def test_classes_in_clinical_order_and_by_index() -> None:
    data = open_dataset("phantom:n=12,covid=0.4,pneumonia=0.3", size=SIDE)
    assert clinical_classes(data.records, grouped=True) == ("normal", "pneumonia", "covid")
    labels = ["covid", "viral_pneumonia", "normal"]
    assert Task(("normal", "pneumonia", "covid")).indices(labels).tolist() == [2, 1, 0]
    assert Task(("normal", "viral_pneumonia", "covid"), grouped=False).indices(labels).tolist() == [2, 1, 0]


def test_target_loss_is_cross_entropy_with_smoothing(phantoms: Dataset) -> None:
    batch = phantoms.batch([i for i, r in enumerate(phantoms.records) if r.label == "covid"][:3])
    prepare = Preparation(TargetConfig(size=SIDE, channels=1, mean=(0.5,), std=(0.25,)))
    objective = TargetObjective(Constant(0.0, 2.0), prepare, Task(("normal", "covid"), smoothing=0.1))
    log_p = [-math.log(1 + math.exp(2)), -math.log(1 + math.exp(-2))]
    expected = -(0.05 * log_p[0] + 0.95 * log_p[1])
    assert objective(batch.images, batch.lungs, batch)["cross_entropy"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("lungs_only", [False, True])
def test_target_is_saved_as_it_was_trained(phantoms: Dataset, tmp_path: Path, lungs_only: bool) -> None:
    save_part(tmp_path / "lungs", "segmenter", "segmenter", UNET.model_dump(mode="json"), _everywhere())
    segmenter = load_segmenter(tmp_path / "lungs")
    options = TargetOptions(size=SIDE, lungs_only=lungs_only, segmenter_name=str(tmp_path / "lungs"), part="mine")
    trained = train_target(phantoms, segmenter, tmp_path / "t", options, BRIEF)
    back = target_from_part(load_part(tmp_path / "t", "mine"))
    assert (back.classes, back.positive, back.uses_lungs) == (("normal", "covid"), ("covid",), lungs_only)
    assert back.operating_point == trained.operating_point
    images = phantoms.batch(range(4)).images
    torch.testing.assert_close(back.logits(images), trained.logits(images), atol=5e-2, rtol=1e-2)  # stored in 16 bits
    probe(back)


def _everywhere() -> dict[str, Tensor]:
    """Weights of a segmenter that takes the whole image for lungs."""
    from gan_explain.nets.unet import UNet

    network = UNet(UNET)
    nn.init.zeros_(network.head.weight)
    nn.init.ones_(network.head.bias)  # type: ignore[arg-type]
    return network.state_dict()


def test_operating_point_is_set_on_val_alone(phantoms: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Probabilities that put the best threshold of val at 0.7; those of the other splits would put it elsewhere."""
    seen: list[set[str]] = []

    def predicted(target: object, dataset: MaskedDataset) -> tuple[Tensor, Tensor]:
        seen.append({r.split for r in dataset.records})
        positive = torch.tensor([r.label == "covid" for r in dataset.records])
        return torch.where(positive, 0.8, 0.6), positive

    monkeypatch.setattr(target_module, "predict", predicted)
    trained = train_target(phantoms, None, tmp_path / "t", TargetOptions(size=SIDE), BRIEF)
    assert seen == [{"val"}]
    assert 0.6 < trained.operating_point <= 0.8
    assert load_part(tmp_path / "t", "target").config["operating_point"] == trained.operating_point


def test_operating_point_without_val_is_one_half(phantoms: Dataset, tmp_path: Path) -> None:
    train = phantoms.where(lambda record: record.split != "val")
    assert train_target(train, None, tmp_path / "t", TargetOptions(size=SIDE), BRIEF).operating_point == 0.5


def test_probabilities_of_a_dataset_in_batches(phantoms: Dataset, brightness: object) -> None:
    masked = MaskedDataset(phantoms, None)
    p, positive = predict(brightness, masked, batch_size=7)  # type: ignore[arg-type]
    torch.testing.assert_close(p, torch.sigmoid(20 * (phantoms.batch().images.mean((1, 2, 3)) - 0.5)))
    assert positive.tolist() == [r.label == "covid" for r in phantoms.records]


@pytest.mark.parametrize(("keep", "positive"), [("normal", "covid"), ("", "flu"), ("", "normal+covid")])
def test_classes_that_do_not_do(phantoms: Dataset, tmp_path: Path, keep: str, positive: str) -> None:
    data = phantoms.where(lambda record: record.label == keep) if keep else phantoms
    options = TargetOptions(size=SIDE, positive=tuple(positive.split("+")))
    with pytest.raises(DataError, match="at least two classes and the positive set among them"):
        train_target(data, None, tmp_path / "t", options, BRIEF)


def test_no_training_split(phantoms: Dataset, tmp_path: Path) -> None:
    held_out = phantoms.where(lambda record: record.split != "train")
    with pytest.raises(DataError, match="training image"):
        train_target(held_out, None, tmp_path / "t", TargetOptions(size=SIDE), BRIEF)


def test_weights_of_torchvision_are_not_for_our_own(phantoms: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="architecture of torchvision"):
        train_target(phantoms, None, tmp_path, TargetOptions(size=SIDE, weights=str(tmp_path / "w.pth")), BRIEF)


# -- the trainer --------------------------------------------------------------------------------------------------------------


def test_frozen_parameters_stay_and_the_average_lags_behind(phantoms: Dataset) -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    network[0].requires_grad_(False)
    frozen, start = network[0].weight.clone(), network[3].weight.detach().clone()
    prepare = Preparation(TargetConfig(size=SIDE, channels=1, mean=(0.5,), std=(0.25,)))
    objective = TargetObjective(network, prepare, Task(("normal", "covid")))
    trainer = SupervisedTrainer(objective, phantoms, [r.label for r in phantoms.records], replace(BRIEF, learning_rate=0.1))
    trainer.step(0)
    trainer.step(1)
    moved = network[3].weight.detach().clone()
    averaged = trainer.averaged()
    assert torch.equal(frozen, network[0].weight)
    assert 0 < (averaged[3].weight - start).norm().item() < (moved - start).norm().item()  # type: ignore[index]
    assert not averaged.training


# -- masks --------------------------------------------------------------------------------------------------------------------


def test_masks_are_read_once_and_kept_in_order(phantoms: Dataset) -> None:
    asked: list[int] = []

    def bright(images: Tensor) -> Tensor:
        asked.append(len(images))
        return (images > images.mean((1, 2, 3), keepdim=True)).float()

    masked = MaskedDataset(phantoms, bright)
    first = masked.batch([3, 1, 2])
    again = masked.batch([2, 3, 0, 3])
    assert asked == [3, 1]
    assert torch.equal(again.lungs[[1, 0]], first.lungs[[0, 2]])
    assert torch.equal(again.lungs, (again.images > again.images.mean((1, 2, 3), keepdim=True)).float())
    assert torch.equal(again.images, phantoms.batch([2, 3, 0, 3]).images)
    assert len(masked.batch()) == len(masked) == len(phantoms)


def test_without_a_segmenter_the_human_masks_stay(phantoms: Dataset, masked: MaskedDataset) -> None:
    assert torch.equal(masked.batch([0, 5]).lungs, phantoms.batch([0, 5]).lungs)
