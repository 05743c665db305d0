"""Training a CycleGAN: its terms by hand, the pool, the schedule, the crops, and that it learns a cause that is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gan_explain.data import Batch, Dataset, open_dataset
from gan_explain.files.checkpoints import load_part, save_part
from gan_explain.nets.cyclegan import CycleGan, CycleGanConfig
from gan_explain.nets.load import load_cyclegan
from gan_explain.train.gan.cyclegan import (
    CycleGanTrainer,
    CycleGanTraining,
    Discriminators,
    TranslationObjective,
    crop,
    soft_dice,
    train_cyclegan,
)
from gan_explain.train.gan.losses import least_squares
from gan_explain.train.gan.pool import ImagePool
from gan_explain.types import CheckpointError, DataError

NETWORK = CycleGanConfig(resolution=32, width=8, blocks=1, judge_width=8)
STEPS = 70
BRIEF = CycleGanTraining(steps=2, batch_size=2, pool=3)


def side(phantoms: Dataset, label: str) -> Dataset:
    return phantoms.where(lambda record: record.label == label)


class Shift(nn.Module):
    """Adds a constant: a translation that is solved on paper."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.tensor(by))

    def forward(self, images: Tensor) -> Tensor:
        return images + self.by


class Mean(nn.Module):
    """A judge whose one logit is the image's mean."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((1, 2, 3), keepdim=True)


def test_the_terms_of_known_translations() -> None:
    network, discriminators = CycleGan(NETWORK), Discriminators(NETWORK)
    network.adder, network.remover = Shift(0.3), Shift(-0.1)  # type: ignore[assignment]
    discriminators.negative, discriminators.positive = Mean(), Mean()  # type: ignore[assignment]
    negatives, positives = torch.full((2, 1, 8, 8), 0.2), torch.full((2, 1, 8, 8), 0.6)
    losses, fakes = TranslationObjective(network, discriminators, CycleGanTraining(cycle=10, identity=5))(negatives, positives)
    expected = {
        "adversarial_positive": (0.5 - 1) ** 2, "adversarial_negative": (0.5 - 1) ** 2, "cycle_negative": 10 * 0.2,
        "cycle_positive": 10 * 0.2, "identity_negative": 5 * 0.1, "identity_positive": 5 * 0.3,
    }  # fmt: skip
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(expected, abs=1e-5)
    half = TranslationObjective(network, discriminators, CycleGanTraining(cycle=10, identity=5))(negatives, positives, 0.5)[0]
    assert half["cycle_negative"].item() == pytest.approx(1, abs=1e-5)
    assert half["identity_positive"].item() == pytest.approx(0.75, abs=1e-5)
    assert half["adversarial_positive"] == losses["adversarial_positive"]
    torch.testing.assert_close(fakes["positive"], negatives + 0.3)
    torch.testing.assert_close(fakes["negative"], positives - 0.1)
    judged = discriminators({"negative": negatives, "positive": positives}, fakes)
    assert judged["discriminator_positive"].item() == pytest.approx(0.5 * ((0.6 - 1) ** 2 + 0.5**2), abs=1e-5)
    assert judged["discriminator_negative"].item() == pytest.approx(0.5 * ((0.2 - 1) ** 2 + 0.5**2), abs=1e-5)


def test_lungs_of_negatives_are_held_where_they_are() -> None:
    network, discriminators = CycleGan(NETWORK), Discriminators(NETWORK)
    shift = Shift(0.3)
    network.adder, network.remover = shift, Shift(-0.3)  # type: ignore[assignment]
    discriminators.negative, discriminators.positive = Mean(), Mean()  # type: ignore[assignment]
    left = torch.zeros(2, 1, 8, 8)
    left[..., :4] = 0.4

    def dark(images: Tensor) -> Tensor:
        """Finds lung where it is dark: in the right half of `left`, and less of it in what is brighter."""
        return 1 - images

    config = CycleGanTraining(anatomy=2)
    losses, _ = TranslationObjective(network, discriminators, config, dark)(left, left)
    assert losses["anatomy"].item() == pytest.approx(2 * (1 - soft_dice(1 - left - 0.3, 1 - left)[0].item()), abs=1e-5)
    losses["anatomy"].backward()
    assert shift.by.grad is not None
    assert shift.by.grad > 0  # brighter is further from the lungs that were there
    assert "anatomy" not in TranslationObjective(network, discriminators, CycleGanTraining(), dark)(left, left)[0]


def test_soft_dice_of_masks() -> None:
    mask = torch.zeros(1, 1, 10, 10)
    mask[..., :5] = 1
    assert soft_dice(mask, mask) == 1
    assert soft_dice(0 * mask, 0 * mask) == 1
    assert float(soft_dice(mask, 1 - mask)) == pytest.approx(1 / 101)
    half = mask.clone()
    half[:, :, 5:] = 0
    assert float(soft_dice(mask, half)) == pytest.approx(51 / 76)


def test_an_anatomy_term_without_a_segmenter_is_refused(phantoms: Dataset) -> None:
    with pytest.raises(ValueError, match="expected a lung segmenter for the anatomy term, got none"):
        CycleGanTrainer(phantoms, phantoms, NETWORK, CycleGanTraining(anatomy=1))


def test_least_squares_is_zero_where_it_should_be() -> None:
    assert least_squares(torch.ones(2, 1, 3, 3), True) == 0
    assert least_squares(torch.zeros(4), False) == 0
    assert least_squares(torch.tensor([0.0, 2.0]), True) == 1


def test_a_pool_hands_back_older_images_and_never_grows() -> None:
    pool, generator = ImagePool(4), torch.Generator().manual_seed(0)
    images = torch.arange(40.0).reshape(20, 2, 1, 1, 1)  # 20 batches of two images, numbered
    assert torch.equal(pool(images[0], generator), images[0])  # while it fills, what comes in goes out
    assert torch.equal(pool(images[1], generator), images[1])
    older = 0
    for batch in images[2:]:
        out = pool(batch, generator)
        assert out.shape == batch.shape
        older += int((out != batch).sum())
        assert len(pool.images) == 4
    assert 8 < older < 28  # of 36, about half
    none = ImagePool(0)
    assert torch.equal(none(images[0], generator), images[0])
    assert none.images == []


def test_a_crop_shows_no_border_and_zero_changes_nothing() -> None:
    images, generator = torch.ones(6, 1, 32, 32), torch.Generator().manual_seed(0)
    assert torch.equal(crop(images, 0.0, generator), images)
    torch.testing.assert_close(crop(images, 0.3, generator), images)
    ramp = torch.linspace(0, 1, 32).expand(6, 1, 32, 32)
    zoomed = crop(ramp, 0.3, generator)
    assert zoomed.min() >= 0
    assert len({round(float(each.mean()), 4) for each in zoomed}) == 6  # each image by a crop of its own


class Veiled(Dataset):
    """The same images under a veil: all that tells them from the others."""

    def batch(self, indices: Sequence[int] | None = None) -> Batch:
        found = super().batch(indices)
        found.images.mul_(0.6).add_(0.4)
        return found


def test_it_learns_what_tells_the_sides_apart_and_takes_it_off_again(tmp_path: Path) -> None:
    plain = open_dataset("phantom:n=24", size=32)
    veiled = Veiled(plain.root, plain.records, plain.memory)
    config = CycleGanTraining(steps=STEPS, batch_size=2, learning_rate=4e-3, ema=0.9, ramp=50, cycle=3, identity=1)
    trained = train_cyclegan(plain, veiled, tmp_path / "c", NETWORK, config)
    images, under = plain.batch().images, veiled.batch().images
    made, healed = trained.to_positive(images), trained.to_negative(under)
    apart = float((images - under).abs().mean())
    assert float((made - under).abs().mean()) < 0.6 * apart
    assert float((healed - images).abs().mean()) < 0.6 * apart
    assert not any(parameter.requires_grad for parameter in trained.parameters())
    loaded = load_cyclegan(tmp_path / "c")
    assert loaded.config == NETWORK
    torch.testing.assert_close(loaded.to_positive(images), made, atol=5e-3, rtol=0)
    assert (tmp_path / "c" / f"sheet_{STEPS:06d}.png").is_file()


def test_every_network_moves_and_every_term_is_told(phantoms: Dataset) -> None:
    trainer = CycleGanTrainer(side(phantoms, "normal"), side(phantoms, "covid"), NETWORK, BRIEF)
    before = {name: {k: v.clone() for k, v in net.state_dict().items()} for name, net in trainer.networks().items()}
    terms = trainer.step(0)
    assert terms.keys() == {
        *(f"{term}_{each}" for term in ("adversarial", "cycle", "identity", "discriminator") for each in ("negative", "positive"))
    }
    moved = {
        f"{name}.{key.split('.')[0]}"
        for name, net in trainer.networks().items()
        for key, value in net.state_dict().items()
        if not torch.equal(value, before[name][key])
    }
    assert moved == {"generators.adder", "generators.remover", "discriminators.negative", "discriminators.positive"}
    assert all(parameter.requires_grad for parameter in trainer.discriminators.parameters())


@pytest.mark.parametrize(("few", "count"), [("positive", 0), ("positive", 1), ("negative", 1)])
def test_a_side_without_images_is_refused(phantoms: Dataset, few: str, count: int) -> None:
    sides = {"negative": side(phantoms, "normal"), "positive": side(phantoms, "covid")}
    sides[few] = Dataset(phantoms.root, phantoms.records[:count], phantoms.memory)
    with pytest.raises(DataError, match=f"expected at least two {few} images to train a CycleGAN, got {count}"):
        CycleGanTrainer(sides["negative"], sides["positive"], NETWORK, BRIEF)


def test_images_of_another_size_are_refused(phantoms: Dataset) -> None:
    with pytest.raises(ValueError, match="expected images of 64 px a side, got 32"):
        CycleGanTrainer(phantoms, phantoms, NETWORK.model_copy(update={"resolution": 64}), BRIEF)


def test_a_checkpoint_of_another_kind_is_refused(tmp_path: Path) -> None:
    save_part(tmp_path / "c", "cyclegan", "disentangler", NETWORK.model_dump(), {})
    with pytest.raises(CheckpointError, match="expected part 'cyclegan' to be of kind 'cyclegan', got 'disentangler'"):
        load_cyclegan(tmp_path / "c")
    save_part(tmp_path / "c", "cyclegan", "cyclegan", {**NETWORK.model_dump(), "fold": 3}, {})
    with pytest.raises(CheckpointError, match="unusable configuration: expected a resolution"):
        load_cyclegan(tmp_path / "c")
    assert load_part(tmp_path / "c", "cyclegan").config["fold"] == 3
