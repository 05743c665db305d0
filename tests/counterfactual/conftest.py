"""The generator and the target that can be solved on paper, and a small real generator."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gan_explain.nets.generator import Disentangler, GeneratorConfig
from gan_explain.targets import ModuleTarget, TargetConfig

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for solvable.py, which the tests import too
from solvable import SIDE, Brightness, Uniform


@pytest.fixture
def uniform() -> Uniform:
    return Uniform()


@pytest.fixture
def brightness() -> ModuleTarget:
    """p(covid) alone counts: at brightness 0.6 it is 1/3, which is the operating point."""
    classes = ("normal", "flu", "covid")
    return ModuleTarget(
        Brightness(), TargetConfig(classes=classes, positive=("covid",), size=SIDE, operating_point=1 / 3, channels=1)
    )


@pytest.fixture
def generator() -> Disentangler:
    """Untrained, with thick layers that differ from code to code."""
    network = Disentangler(GeneratorConfig(resolution=64, grid=32, backbone="small", width=8, layer_width=8, code_dim=4))
    for head in (network.reader.head, network.decoder.head):
        nn.init.normal_(head.weight, std=0.3)
        nn.init.constant_(head.bias, 0.5)  # type: ignore[arg-type]
    return network.requires_grad_(False).eval()


@pytest.fixture
def structure() -> Tensor:
    return 0.2 + 0.3 * torch.rand(1, 1, 48, 64)


@pytest.fixture
def lungs() -> Tensor:
    mask = torch.zeros(1, 1, 48, 64)
    mask[..., 9:39, 6:28] = mask[..., 9:39, 36:58] = 1
    return mask
