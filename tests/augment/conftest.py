"""Phantoms of 32 px with their own lungs, and makers whose results are known in full."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gan_explain.augment import Made, Maker
from gan_explain.data import Dataset, open_dataset
from gan_explain.types import Segmenter

SIDE = 32


class Brighter:
    """Adds a fixed veil over a random half of the rows: a positive that is known."""

    name, sources = "veil", "negatives"

    def __call__(self, images: Tensor, lungs: Tensor, random: torch.Generator) -> Made:
        rows = torch.rand(len(images), 1, SIDE, 1, generator=random) < 0.5
        return Made((images + 0.2 * rows).clamp(0, 1), torch.ones(len(images)), torch.full((len(images),), -1))


class Nothing(Brighter):
    name = "nothing"

    def __call__(self, images: Tensor, lungs: Tensor, random: torch.Generator) -> Made:
        return Made(images, torch.ones(len(images)), torch.full((len(images),), -1))


@pytest.fixture(scope="session")
def train() -> Dataset:
    """The training split of 40 phantoms: 28 images, half of them covid."""
    return open_dataset("phantom:n=40,covid=0.5", size=SIDE).split("train")


@pytest.fixture
def everywhere() -> Segmenter:
    """Takes the whole image for lungs."""
    return torch.ones_like


@pytest.fixture
def veil() -> Maker:
    return Brighter()


@pytest.fixture
def nothing() -> Maker:
    """Gives back what it got."""
    return Nothing()
