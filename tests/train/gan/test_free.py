"""The free map's objective: its terms by hand, what they move, and a trainer that finds what a target answers to."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.data import Dataset
from gan_explain.files.checkpoints import load_part
from gan_explain.nets.free import FreeConfig, FreeMap
from gan_explain.nets.load import load_network
from gan_explain.optics import compose
from gan_explain.targets import ModuleTarget, TargetConfig
from gan_explain.train.gan.free import FreeObjective, FreeTrainer, FreeTraining, evidence, roughness, train_free
from gan_explain.train.masks import MaskedDataset
from gan_explain.types import DataError, TargetError

SIDE = 32
NETWORK = FreeConfig(resolution=SIDE, width=8)
TRAINING = FreeTraining(steps=4, batch_size=6, width=8)
TERMS = {"target", "size", "smoothness", "adversarial"}


class Fixed(nn.Module):
    """A map that is one number everywhere, on any image."""

    def __init__(self, tau: float) -> None:
        super().__init__()
        self.tau = nn.Parameter(torch.tensor(tau))

    def forward(self, images: Tensor) -> Tensor:
        return self.tau.expand_as(images)


class Undecided(nn.Module):
    """A discriminator whose logit is 0."""

    def forward(self, images: Tensor) -> Tensor:
        return 0 * images.mean((1, 2, 3))


def objective(network: nn.Module, target: ModuleTarget, judge: nn.Module | None = None) -> FreeObjective:
    return FreeObjective(network, target, judge or Undecided(), TRAINING)  # type: ignore[arg-type]


def grey(value: float = 0.4) -> tuple[Tensor, Tensor]:
    """Four grey images and their lungs."""
    images = torch.full((4, 1, SIDE, SIDE), value)
    return images, torch.ones_like(images)


# -- terms by hand ------------------------------------------------------------------------------------------------------------


def test_terms_of_a_map_that_is_nothing(brightness: ModuleTarget) -> None:
    """Images of 0.4 have a logit of 20 (0.4 - 0.5) = -2."""
    losses, changed = objective(Fixed(0.0), brightness)(*grey())
    assert losses.keys() == TERMS
    assert losses["size"].item() == losses["smoothness"].item() == 0
    assert losses["target"].item() == pytest.approx(math.log(1 + math.exp(TRAINING.margin + 2)), rel=1e-4)
    assert losses["adversarial"].item() == pytest.approx(TRAINING.adversarial * math.log(2), rel=1e-4)
    assert torch.equal(changed, grey()[0])
    assert not changed.requires_grad


def test_terms_of_an_even_map(brightness: ModuleTarget) -> None:
    for tau, brighter in ((0.2, 0.4 + 0.6 * (1 - math.exp(-0.2))), (-0.2, 0.4 * math.exp(-0.2))):
        losses, changed = objective(Fixed(tau), brightness)(*grey())
        torch.testing.assert_close(changed, torch.full_like(changed, brighter))
        assert losses["size"].item() == pytest.approx(0.2 * TRAINING.size)
        assert losses["smoothness"].item() == 0
        logit = torch.tensor(20 * (brighter - 0.5))
        assert losses["target"].item() == pytest.approx(F.softplus(TRAINING.margin - logit).item(), rel=1e-4)


@pytest.mark.parametrize("slope", [20.0, -20.0])
def test_the_target_says_whether_to_brighten_or_to_darken(brightness: ModuleTarget, slope: float) -> None:
    brightness.network.slope.fill_(slope)  # type: ignore[union-attr, operator]
    network = Fixed(1e-3)
    objective(network, brightness)(*grey())[0]["target"].backward()
    gradient = network.tau.grad
    assert gradient is not None
    assert gradient.item() * slope < 0


def test_size_pulls_a_map_of_either_sign_towards_nothing(brightness: ModuleTarget) -> None:
    for tau in (0.3, -0.3):
        network = Fixed(tau)
        objective(network, brightness)(*grey())[0]["size"].backward()
        assert network.tau.grad is not None
        assert network.tau.grad.item() * tau > 0


def test_roughness_of_a_ramp_is_its_squared_slope_at_any_resolution() -> None:
    for side in (32, 64, 128):
        ramp = torch.arange(side).div(side).expand(1, 1, side, side)
        assert roughness(3 * ramp).item() == pytest.approx(9, rel=1e-4)
        assert roughness((3 * ramp).mT).item() == pytest.approx(9, rel=1e-4)
    assert roughness(torch.ones(1, 1, 8, 8)).item() == 0


class Table(nn.Module):
    """Three logits that do not depend on the image."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tensor([[0.0, 1.0, 2.0]]).expand(len(x), -1)


def test_evidence_is_the_logit_of_p_less_that_of_the_operating_point() -> None:
    target = ModuleTarget(
        Table(),
        TargetConfig(classes=("normal", "flu", "covid"), positive=("flu", "covid"), size=8, operating_point=0.3, channels=1),
    )
    images = torch.rand(2, 1, 8, 8)
    expected = torch.logit(target.probability(images)) - math.log(0.3 / 0.7)
    torch.testing.assert_close(evidence(target, images, torch.ones_like(images)), expected)


def test_only_the_map_is_trained_and_all_of_it(brightness: ModuleTarget) -> None:
    network, judge = FreeMap(NETWORK), nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 1), nn.Flatten(0)).requires_grad_(False)
    whole = objective(network, brightness, judge)
    assert {id(p) for p in whole.parameters()} == {id(p) for p in network.parameters()}
    images = torch.rand(3, 1, SIDE, SIDE)
    torch.stack(list(whole(images, torch.ones_like(images))[0].values())).sum().backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in network.parameters())
    assert all(p.grad is None for p in (*brightness.parameters(), *judge.parameters()))


# -- the trainer --------------------------------------------------------------------------------------------------------------


def test_one_side_only_is_an_error(phantoms: Dataset, brightness: ModuleTarget) -> None:
    normals = MaskedDataset(phantoms.where(lambda record: record.label == "normal"), None)
    with pytest.raises(DataError, match=r"negatives and positives \(covid\) in the training split, got one side only"):
        FreeTrainer(normals, brightness, NETWORK, TRAINING)


def test_a_target_without_gradients_is_an_error(masked: MaskedDataset, brightness: ModuleTarget) -> None:
    brightness.differentiable = False  # type: ignore[misc]
    with pytest.raises(TargetError, match="a target with gradients"):
        FreeTrainer(masked, brightness, NETWORK, TRAINING)


def test_a_step_changes_map_and_discriminator_and_leaves_the_target(masked: MaskedDataset, brightness: ModuleTarget) -> None:
    trainer = FreeTrainer(masked, brightness, NETWORK, TRAINING)
    before = {name: [p.detach().clone() for p in net.parameters()] for name, net in trainer.networks().items()}
    slope = brightness.network.slope.detach().clone()  # type: ignore[union-attr, operator]
    terms = trainer.step(0)
    assert terms.keys() == TERMS | {"discriminator", "r1"}
    assert all(math.isfinite(value.item()) and value.item() >= 0 and not value.requires_grad for value in terms.values())
    for name, net in trainer.networks().items():
        assert any(not torch.equal(a, b) for a, b in zip(before[name], net.parameters(), strict=True)), name
        assert all(p.requires_grad for p in net.parameters())
    assert torch.equal(slope, brightness.network.slope)  # type: ignore[arg-type]


def test_the_map_is_of_negatives_and_the_discriminator_sees_positives(
    masked: MaskedDataset, brightness: ModuleTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = FreeTrainer(masked, brightness, NETWORK, TRAINING)
    drawn: list[str] = []
    shown: dict[str, tuple[Tensor, ...]] = {}
    batch = masked.batch

    def draw(indices: list[int]) -> object:
        drawn.extend(masked.records[i].label for i in indices)
        return batch(indices)

    def spy(name: str, forward: Callable[..., object]) -> Callable[..., object]:
        def call(*args: Tensor) -> object:
            shown[name] = args
            return forward(*args)

        return call

    monkeypatch.setattr(masked, "batch", draw)
    for name in ("mapping", "discriminating"):
        module = getattr(trainer, name)
        monkeypatch.setattr(module, "forward", spy(name, module.forward))
    trainer.step(0)
    assert drawn == ["normal"] * 3 + ["covid"] * 3
    (negatives, lungs), [judged] = shown["mapping"], shown["discriminating"]
    real, fake = judged.detach().split(3)
    assert negatives.shape == lungs.shape == real.shape == fake.shape == (3, 1, SIDE, SIDE)
    assert float((fake - negatives).abs().max()) < float((real - negatives).abs().max())


def test_training_turns_a_target_and_writes_a_part(masked: MaskedDataset, brightness: ModuleTarget, tmp_path: Path) -> None:
    """Brightness answers to brightness: 40 steps brighten the negatives until it calls them positive."""
    brightness.operating_point = 0.99  # a mean of 0.73, brighter than most normals
    config = FreeTraining(steps=40, batch_size=8, learning_rate=5e-3, size=1, width=8, ema=0.8, log_every=20)
    origin = {"target": "brightness"}
    trained = train_free(masked, brightness, tmp_path, NETWORK, config, origin=origin)
    index = [i for i, record in enumerate(masked.records) if record.label == "normal"]
    batch = masked.batch(index)
    dark = evidence(brightness, batch.images, batch.lungs) < 0
    tau = trained.layer(batch.images)
    assert int(dark.sum()) > 15
    assert float(tau.mean()) > 0
    turned = evidence(brightness, compose(batch.images, tau), batch.lungs)[dark] >= 0
    assert float(turned.float().mean()) > 0.9
    part = load_part(tmp_path, "free")
    assert (part.kind, part.origin) == ("free", origin)
    saved = load_network(tmp_path, "free", "free", FreeConfig, FreeMap)
    torch.testing.assert_close(saved.layer(batch.images), tau, atol=1e-2, rtol=1e-2)  # stored in 16 bits
    rows = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [20, 40]
    assert rows[0].keys() == TERMS | {"discriminator", "r1", "step", "seconds"}
    assert (tmp_path / "sheet_000040.png").is_file()
