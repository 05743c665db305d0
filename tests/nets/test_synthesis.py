"""The structure generator starts as the principal components of real negatives, in low and in full resolution."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gan_explain.nets.synthesis import LOW, StructureGenerator, SynthesisConfig

FACTORS = 5
CONFIG = SynthesisConfig(resolution=64, z_dim=FACTORS, low_width=8, width=16)


def family(n: int = 60, size: int = LOW) -> Tensor:
    """Images (n, 1, size, size) in [0, 1] that vary along five smooth directions, and nothing else."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    basis = torch.stack([x, y, x * y, x.square() - y.square(), torch.cos(3 * x)])
    weights = 0.05 * torch.randn(n, FACTORS) * torch.tensor([1.0, 0.8, 0.6, 0.5, 0.4])
    return (0.5 + torch.einsum("nk,khw->nhw", weights, basis))[:, None].clamp(0, 1)


@pytest.fixture
def network() -> StructureGenerator:
    net = StructureGenerator(CONFIG)
    net.anatomy.start_from(family())
    return net.requires_grad_(False).eval()


def test_codes_of_the_training_images_are_white(network: StructureGenerator) -> None:
    images = family(50)
    network.anatomy.start_from(images)
    z = network.encode(images)
    torch.testing.assert_close(z.mean(0), torch.zeros(FACTORS), atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.cov(z.T), torch.eye(FACTORS), atol=1e-3, rtol=0)


def test_linear_stage_gives_back_what_five_components_can_say(network: StructureGenerator) -> None:
    images = family(20)  # others of the same family
    linear = network.anatomy.linear(network.encode(images)).view(-1, 1, LOW, LOW)
    mean = network.anatomy.centre.view(1, 1, LOW, LOW).expand_as(images)
    assert float(F.mse_loss(linear, images)) < 1e-3 * float(F.mse_loss(mean, images))


def test_a_new_detail_stage_enlarges_smoothly(network: StructureGenerator) -> None:
    small = family(8)
    large = F.interpolate(small, (64, 64), mode="bicubic", align_corners=False)
    assert float((network.detail(small) - large).abs().mean()) < 0.03


@pytest.mark.parametrize("resolution", [32, 64, 128])
def test_shape_range_and_determinism(resolution: int) -> None:
    net = StructureGenerator(SynthesisConfig(resolution=resolution, z_dim=4, low_width=8, width=16)).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    z = torch.randn(2, 4)
    with torch.no_grad():
        images = net(z)
        again = net(z)
    assert images.shape == (2, 1, resolution, resolution)
    assert torch.equal(images, again)
    assert 0 <= float(images.min()) < float(images.max()) <= 1
    assert not torch.equal(images[0], images[1])


def test_components_travel_with_the_weights(network: StructureGenerator) -> None:
    other = StructureGenerator(CONFIG)
    other.load_state_dict(network.state_dict())
    images = family(3, 64)
    assert torch.equal(other.encode(images), network.encode(images))
