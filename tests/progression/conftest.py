"""Patients whose disease is known: one structure under growing veils, a generator and a target that are solved on paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan_explain.data.dataset import Compact, Dataset, Memory, compact
from gan_explain.optics import compose
from gan_explain.progression import Models, models
from gan_explain.targets import ModuleTarget, TargetConfig
from gan_explain.types import Record

SIZE = 32
S = 0.3  # brightness of every healthy lung


def veil(size: int = SIZE) -> Tensor:
    """tau at strength 1: 0.5 in the lower half, 0 above."""
    tau = torch.zeros(1, 1, size, size)
    tau[:, :, size // 2 :] = 0.5
    return tau


class Veils:
    """A generator on paper, of which only the reader is asked: it knows that every healthy lung is S."""

    code_dim, resolution, labels = 2, SIZE, ("covid",)

    def read(self, images: Tensor, lungs: Tensor) -> Tensor:
        return torch.log((1 - S) / (1 - images).clamp(min=1e-6)).clamp(min=0) * lungs

    def encode(self, tau: Tensor, lungs: Tensor) -> Tensor:
        raise NotImplementedError

    def layer(self, codes: Tensor, lungs: Tensor) -> Tensor:
        raise NotImplementedError

    def move(self, tau: Tensor, lungs: Tensor, others: Tensor) -> Tensor:
        raise NotImplementedError

    def prior_noise(self, n: int, generator: torch.Generator) -> Tensor:
        raise NotImplementedError

    def from_noise(self, noise: Tensor, label: str) -> Tensor:
        raise NotImplementedError

    def prior(self, n: int, generator: torch.Generator, label: str = "covid") -> Tensor:
        raise NotImplementedError


class Bright(nn.Module):
    """z = 20 (mean of relu(x) - 0.45), by a convolution that Grad-CAM can look at."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.ones_(self.convolution.weight)

    def forward(self, x: Tensor) -> Tensor:
        z = 20 * (self.convolution(x).relu().mean((1, 2, 3)) - 0.45)
        return torch.stack([torch.zeros_like(z), z], 1)


def everywhere(images: Tensor) -> Tensor:
    return torch.ones_like(images)


class Course:
    """Reads a record of a patient: the structure under the veil at the record's `dose`."""

    def __call__(self, record: Record, size: int) -> Compact:
        structure = torch.full((1, 1, size, size), S)
        return compact(compose(structure, veil(size), float(record.extra["dose"]))[0], torch.ones(1, size, size))


@pytest.fixture
def parts() -> Models:
    target = ModuleTarget(Bright(), TargetConfig(classes=("normal", "covid"), positive=("covid",), size=SIZE, channels=1))
    return models(Veils(), target, everywhere)


@pytest.fixture
def course() -> Callable[..., Dataset]:
    """course(a=[(day, dose), ...], ...): a dataset of patients in the test split; a day may be any text."""

    def make(**patients: Sequence[tuple[object, float]]) -> Dataset:
        records = [
            Record(f"{name}/{i}.png", "covid", name, "test", extra={"offset_days": str(day), "dose": str(dose)})
            for name, visits in patients.items()
            for i, (day, dose) in enumerate(visits)
        ]
        return Dataset(Path("there"), records, Memory(Course(), SIZE))

    return make


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)
