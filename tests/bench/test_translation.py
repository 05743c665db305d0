"""Measures of translations that are known: what flips, what stays, where it changed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gan_explain.bench.translation import Tones, measure_translation, sides_of
from gan_explain.data import Dataset, open_dataset
from gan_explain.targets import ModuleTarget, TargetConfig

SIDE = 32


class Brightness(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        z = 60 * (x.mean((1, 2, 3)) - 0.6)
        return torch.stack([torch.zeros_like(z), z], dim=1)


class Nothing:
    def to_positive(self, images: Tensor) -> Tensor:
        return images

    def to_negative(self, images: Tensor) -> Tensor:
        return images


class LeftHalf:
    """Makes the left half white, and black again."""

    def to_positive(self, images: Tensor) -> Tensor:
        return torch.cat([torch.ones_like(images[..., : SIDE // 2]), images[..., SIDE // 2 :]], -1)

    def to_negative(self, images: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(images[..., : SIDE // 2]), images[..., SIDE // 2 :]], -1)


def left(images: Tensor) -> Tensor:
    """A segmenter that finds lungs in the left half where that is dark."""
    mask = torch.zeros_like(images)
    mask[..., : SIDE // 2] = (images[..., : SIDE // 2].mean((1, 2, 3)) < 0.9).float()[:, None, None, None]
    return mask


@pytest.fixture(scope="module")
def phantoms() -> Dataset:
    return open_dataset("phantom:n=24", size=SIDE)


@pytest.fixture
def target() -> ModuleTarget:
    return ModuleTarget(Brightness(), TargetConfig(classes=("normal", "covid"), positive=("covid",), size=SIDE, channels=1))


def test_a_translation_that_does_nothing_flips_nothing(phantoms: Dataset, target: ModuleTarget) -> None:
    found = measure_translation(Nothing(), {"b": target}, left, phantoms, "positive", batch_size=7)
    assert found["flip[b]"].value == 0
    assert (found["dice"].value, found["l1"].value, found["changed"].value, found["return"].value) == (1, 0, 0, 0)
    assert found["p[b]"].value == found["p[b].after"].value
    assert found["dice"].n == len(phantoms)


def test_only_images_on_the_side_to_be_left_can_flip(phantoms: Dataset, target: ModuleTarget) -> None:
    images = phantoms.batch().images
    p = target.probability(images)
    whites = measure_translation(LeftHalf(), {"b": target}, left, phantoms, "positive")
    called = p < 0.5
    assert whites["flip[b]"].n == int(called.sum())
    after = target.probability(LeftHalf().to_positive(images))
    assert whites["flip[b]"].value == pytest.approx(float((after[called] >= 0.5).float().mean()), abs=0.05)
    assert whites["dice"].value == 0  # the segmenter finds none any more
    assert float(str(whites["changed.lungs"].value)) > 0.5
    assert whites["changed.outside"].value == 0


def test_the_other_direction_asks_those_called_positive(phantoms: Dataset, target: ModuleTarget) -> None:
    found = measure_translation(LeftHalf(), {"b": target}, left, phantoms, "negative")
    called = int((target.probability(phantoms.batch().images) >= 0.5).sum())
    if called:
        assert found["flip[b]"].n == called
    else:
        assert found["flip[b]"].value is None
    assert float(str(found["p[b].after"].value)) <= float(str(found["p[b]"].value))


def test_sides_are_taken_by_label(phantoms: Dataset) -> None:
    sides = sides_of(phantoms)
    assert sides["positive"].classes == ("normal",)
    assert sides["negative"].classes == ("covid",)
    assert len(sides["positive"]) + len(sides["negative"]) == len(phantoms)


def test_tones_change_the_histogram_and_no_order() -> None:
    negatives, positives = torch.rand(5, 1, 8, 8), 0.5 + 0.5 * torch.rand(7, 1, 8, 8)
    tones = Tones(negatives, positives)
    images = torch.rand(2, 1, 8, 8)
    made = tones.to_positive(images)
    assert torch.equal(made.flatten(1).argsort(1), images.flatten(1).argsort(1))
    mean = positives.flatten(1).sort(1).values.mean(0)
    torch.testing.assert_close(made.flatten(1).sort(1).values, mean.expand(2, -1))
    back = tones.to_negative(made)
    assert (back - images).abs().mean() < 0.5 * (made - images).abs().mean()
