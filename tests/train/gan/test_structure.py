"""Training the structure generator: its terms, its prior, an end in time, and resuming to the bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.nets.load import load_structure
from gan_explain.nets.structure import StructureConfig
from gan_explain.train.gan.losses import hinge
from gan_explain.train.gan.reconstruction import StructureTraining, divergence, feature_distance, pixel_distance
from gan_explain.train.gan.structure import (
    PRESETS,
    CodeBank,
    StructureTrainer,
    train_structure,
)
from gan_explain.train.loop import load_state, save_state
from gan_explain.types import DataError

NETWORK = StructureConfig(resolution=32, z_dim=6, width=4, max_width=16, first_width=8, encoder_width=8)
BRIEF = StructureTraining(steps=4, batch_size=4, samples=3, start=0.0, discriminator_width=8, bank=16)
RECONSTRUCTION = {"pixels", "perceptual", "kl"}
ADVERSARY = {"adversarial_again", "adversarial_drawn", "discriminator_real", "discriminator_fake"}


class Features(nn.Module):
    """Two levels of random convolutions, frozen: what EfficientNet-Lite0 is in earnest."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(1, 4, 3, 2, 1), nn.Conv2d(4, 6, 3, 2, 1)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        fine = self.fine(images).relu()
        return [fine, self.coarse(fine)]


@pytest.fixture
def features() -> Features:
    return Features()


def radiographs(n: int = 12) -> Tensor:
    """Discs of several sizes and tones, (n, 1, 32, 32) uint8."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij")
    size, tone = torch.rand(n, 1, 1), torch.rand(n, 1, 1)
    image = 0.2 + 0.6 * tone * torch.sigmoid(8 * (0.4 + 0.4 * size - (x.square() + y.square()).sqrt()))
    return (255 * image[:, None]).to(torch.uint8)


def test_a_step_trains_both_networks_and_names_its_terms(features: Features) -> None:
    trainer = StructureTrainer(radiographs(), features, NETWORK, BRIEF, others=radiographs(4))
    before = {name: {k: v.clone() for k, v in net.state_dict().items()} for name, net in trainer.networks().items()}
    assert trainer.step(0).keys() == RECONSTRUCTION  # there is no code yet to draw others from
    terms = trainer.step(1)
    assert terms.keys() == RECONSTRUCTION | ADVERSARY
    assert all(torch.isfinite(value) for value in terms.values())
    for name, net in trainer.networks().items():
        changed = {k.split(".")[0] for k, v in net.state_dict().items() if not torch.equal(v, before[name][k])}
        assert changed == {"generator": {"encoder", "decoder"}, "discriminator": {"heads"}}[name]


def test_the_discriminator_joins_in_late(features: Features) -> None:
    trainer = StructureTrainer(radiographs(), features, NETWORK, replace(BRIEF, start=0.5))
    found = [trainer.step(step).keys() for step in range(4)]
    assert found == [RECONSTRUCTION] * 2 + [RECONSTRUCTION | ADVERSARY] * 2


def test_what_is_drawn_in_training_has_the_mean_and_covariance_of_late_codes() -> None:
    bank = CodeBank(torch.zeros(64, 6))
    codes = torch.randn(80, 6) @ torch.randn(6, 6) + 2
    for some in codes.split(16):
        bank.remember(some)
    drawn, late = bank.sample(40000, torch.Generator().manual_seed(0)), codes[16:]
    assert bank.filled == 64
    torch.testing.assert_close(bank.codes.sort(0).values, late.sort(0).values)
    torch.testing.assert_close(drawn.mean(0), late.mean(0), atol=0.1, rtol=0)
    torch.testing.assert_close(torch.cov(drawn.T), torch.cov(late.T), atol=0.3, rtol=0.1)


def test_others_are_in_neither_prior_nor_judgement(features: Features) -> None:
    seen: list[Tensor] = []

    class Watched(Features):
        def forward(self, images: Tensor) -> list[Tensor]:
            seen.append(images)
            return super().forward(images)

    trainer = StructureTrainer(radiographs(), Watched(), NETWORK, BRIEF, others=radiographs(4))
    trainer.step(0)
    seen.clear()
    trainer.step(1)
    negatives = 3  # of 4, a quarter are others
    assert [len(images) for images in seen] == [4, 4, negatives + BRIEF.samples, negatives]  # wanted, again, fakes, reals
    assert trainer.bank.filled == 2 * negatives


def test_terms_on_paper() -> None:
    zeros = torch.zeros(2, 3)
    assert divergence(zeros, zeros).item() == 0
    assert divergence(zeros + 2, zeros).item() == pytest.approx(0.5 * 3 * 4)
    a = torch.rand(1, 1, 8, 8) / 2
    assert pixel_distance(a, a).item() == 0
    assert pixel_distance(a + 0.25, a).item() == pytest.approx(0.25)
    checks = (torch.arange(8)[:, None] + torch.arange(8)) % 2 - 0.5
    assert pixel_distance(a + checks, a).item() == pytest.approx(0.25)  # detail costs half of what a tone does
    one, two = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1), torch.tensor([0.0, 3.0]).view(1, 2, 1, 1)
    assert feature_distance([one], [5 * one]).item() == pytest.approx(0)  # directions are compared
    assert feature_distance([one, one], [two, one]).item() == pytest.approx(1)
    assert feature_distance([one], [-two]).item() == pytest.approx(2)
    terms = hinge(torch.full((2, 4), 0.5), torch.full((2, 4), -3.0), torch.full((5, 4), 1.0))
    assert terms["discriminator_real"].item() == pytest.approx(0.5)
    assert terms["discriminator_fake"].item() == pytest.approx((0 + 2) / 2)


def test_minutes_end_a_training_and_count_as_progress(features: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("gan_explain.train.gan.structure.time.monotonic", lambda: now[0])
    trainer = StructureTrainer(radiographs(), features, NETWORK, replace(BRIEF, steps=1000, minutes=1))
    now[0] += 30
    assert trainer.progress(10) == 0.5
    assert trainer.progress(900) == 0.9
    assert not trainer.done
    state = trainer.state()
    now[0] += 1000  # between the two, nothing was trained
    other = StructureTrainer(radiographs(), features, NETWORK, trainer.config)
    other.restore(state)
    assert other.progress(0) == 0.5
    now[0] += 30
    assert other.done
    assert not StructureTrainer(radiographs(), features, NETWORK, BRIEF).done


def test_resuming_to_the_bit(features: Features, tmp_path: Path) -> None:
    def fresh() -> StructureTrainer:
        torch.manual_seed(3)
        return StructureTrainer(images, features, NETWORK, BRIEF, others=images[:4])

    images = radiographs()
    whole, half = fresh(), fresh()
    for step in range(4):
        whole.step(step)
    for step in range(2):
        half.step(step)
    save_state(half, tmp_path / "state.pt", 2)
    torch.manual_seed(4)
    again = StructureTrainer(images, features, NETWORK, BRIEF, others=images[:4])
    for step in range(load_state(again, tmp_path / "state.pt"), 4):
        again.step(step)
    for name, net in whole.networks().items():
        for key, value in net.state_dict().items():
            assert torch.equal(value, again.networks()[name].state_dict()[key]), f"{name}.{key}"
    assert all(torch.equal(value, again.ema.shadow[key]) for key, value in whole.ema.shadow.items())


def test_training_brings_images_closer_and_writes_a_checkpoint(features: Features, tmp_path: Path) -> None:
    images = radiographs()
    config = replace(BRIEF, steps=40, batch_size=8, ema=0.5, learning_rate=3e-3, adversarial=0.02)
    unit = images.float() / 255

    def error(network: Callable[[Tensor], Tensor], encode: Callable[[Tensor], Tensor]) -> float:
        with torch.no_grad():
            return F.l1_loss(network(encode(unit)), unit).item()

    blank = StructureTrainer(images, features, NETWORK, config).network
    train_structure(images, features, tmp_path / "s", NETWORK, config)
    trained = load_structure(tmp_path / "s")
    assert error(trained, trained.encode) < 0.7 * error(blank, blank.encode)
    torch.testing.assert_close(trained.prior_mean, trained.encode(unit).mean(0), atol=0.05, rtol=0.05)
    assert (tmp_path / "s" / "sheet_000040.png").is_file()


@pytest.mark.parametrize("shape", [(4, 1, 64, 64), (0, 1, 32, 32), (4, 3, 32, 32)])
def test_images_of_another_shape(features: Features, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"expected images \(N, 1, 32, 32\)"):
        StructureTrainer(torch.zeros(shape, dtype=torch.uint8), features, NETWORK, BRIEF)


def test_presets_differ_in_size_not_in_kind() -> None:
    assert PRESETS.keys() == {"cpu", "gpu"}
    assert all(network.resolution == 256 for network, _ in PRESETS.values())
