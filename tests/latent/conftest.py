"""A generator and a target that can be solved on paper, and a small real generator."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from gan_explain.nets.generator import Disentangler, GeneratorConfig, unit_strength
from gan_explain.targets import ModuleTarget
from gan_explain.types import Removal

SIDE = 32


class Uniform:
    """The layer of a code is ln 2 times its first number, everywhere in the lungs: strength 1 halves the darkness."""

    code_dim, resolution, confine = 2, SIDE, "lungs"

    def layer(self, structure: Tensor, code: Tensor, lungs: Tensor) -> Tensor:
        return math.log(2) * code[:, :1, None, None] * lungs

    def remove(self, images: Tensor, lungs: Tensor) -> Removal:
        return Removal(images, torch.zeros_like(images), torch.zeros(len(images)))

    def encode(self, images: Tensor, lungs: Tensor) -> Tensor:
        return images.mean((2, 3)).expand(-1, 2)

    def prior(self, n: int, generator: torch.Generator, label: str = "covid") -> Tensor:
        return torch.rand(n, 2, generator=generator) + 0.5


class Brightness(nn.Module):
    """Logits of the mean brightness b: (normal, flu, covid) = (0, 20 (b - 0.6), 20 (b - 0.6))."""

    def forward(self, x: Tensor) -> Tensor:
        z = 20 * (x.mean((1, 2, 3)) - 0.6)
        return torch.stack([torch.zeros_like(z), z, z], dim=1)


@pytest.fixture
def uniform() -> Uniform:
    return Uniform()


@pytest.fixture
def brightness() -> ModuleTarget:
    """p(covid) alone counts: at brightness 0.6 it is 1/3, which is the operating point."""
    classes = ("normal", "flu", "covid")
    return ModuleTarget(Brightness(), classes=classes, positive=("covid",), size=SIDE, operating_point=1 / 3)


@pytest.fixture
def generator() -> Disentangler:
    """Untrained, with thick layers that differ from code to code."""
    network = Disentangler(GeneratorConfig(resolution=SIDE, width=8, code_dim=4, initial_tau=0.5))
    for head in (network.tau_added, network.tau_removed):
        nn.init.normal_(head.weight, std=0.3)
    return network.requires_grad_(False).eval()


@pytest.fixture
def structure() -> Tensor:
    return 0.1 + 0.4 * torch.rand(1, 1, SIDE, SIDE)


@pytest.fixture
def lungs() -> Tensor:
    mask = torch.zeros(1, 1, SIDE, SIDE)
    mask[..., 6:26, 3:14] = mask[..., 6:26, 18:29] = 1
    return mask


@pytest.fixture
def code() -> Tensor:
    return unit_strength(torch.randn(1, 4))
