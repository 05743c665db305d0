"""Small phantoms with their own masks, and a target that is known in full."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gan_explain.data import Dataset, open_dataset
from gan_explain.targets import ModuleTarget, TargetConfig
from gan_explain.train.masks import MaskedDataset

SIDE = 32


class Brightness(nn.Module):
    """p(covid) is a sigmoid of the mean brightness: 0.5 at 0.5."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(20.0))

    def forward(self, x: Tensor) -> Tensor:
        z = self.slope * (x.mean((1, 2, 3)) - 0.5)  # (N, 1, H, W) -> (N,)
        return torch.stack([torch.zeros_like(z), z], dim=1)


@pytest.fixture(scope="session")
def phantoms() -> Dataset:
    """48 phantoms of 32 px, half of them COVID-positive."""
    return open_dataset("phantom:n=48", size=SIDE)


@pytest.fixture
def masked(phantoms: Dataset) -> MaskedDataset:
    return MaskedDataset(phantoms, None)


@pytest.fixture
def brightness() -> ModuleTarget:
    return ModuleTarget(Brightness(), TargetConfig(classes=("normal", "covid"), positive=("covid",), size=SIDE, channels=1))
