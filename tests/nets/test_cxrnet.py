"""CXR-Net: what its maps keep is all that the second encoder sees."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gan_explain.nets.cxrnet import CxrNet, CxrNetConfig, mixture

TINY = CxrNetConfig(classes=3, width=4, second_width=4, decoder_widths=(4, 4, 4))


@pytest.fixture
def network() -> CxrNet:
    return CxrNet(TINY).eval()


@pytest.mark.parametrize("size", [(32, 32), (50, 36)])
def test_shapes_and_range(network: CxrNet, size: tuple[int, int]) -> None:
    x = torch.randn(2, 1, *size)
    with torch.no_grad():
        first, maps = network.look(x)
        kept = mixture(maps, first)
        second, logits = network.through(x, kept), network(x)
    assert first.shape == second.shape == logits.shape == (2, 3)
    assert maps.shape == (2, 3, *size)
    assert kept.shape == (2, 1, *size)
    assert 0 <= float(maps.min()) < float(maps.max()) <= 1


def test_the_answer_is_the_mean_of_both(network: CxrNet) -> None:
    x = torch.randn(2, 1, 32, 32)
    first, maps = network.look(x)
    second = network.through(x, mixture(maps, first))
    torch.testing.assert_close(network(x), (first + second) / 2)
    assert not torch.allclose(first, second)


def test_the_second_encoder_sees_what_is_kept_and_no_more(network: CxrNet) -> None:
    x = torch.randn(1, 1, 32, 32)
    kept = torch.zeros(1, 1, 32, 32)
    kept[..., :16] = 1
    other = x + 3 * torch.randn_like(x) * (1 - kept)
    torch.testing.assert_close(network.through(x, kept), network.through(other, kept))
    assert not torch.allclose(network.through(x, 1 - kept), network.through(other, 1 - kept))


def test_an_untrained_map_keeps_most_of_the_image() -> None:
    maps = CxrNet(TINY).eval().look(torch.zeros(1, 1, 32, 32))[1]
    assert bool(maps.mean() > 0.5)


def test_mixture_by_hand() -> None:
    maps = torch.tensor([0.2, 0.4, 1.0]).view(1, 3, 1, 1)
    logits = torch.tensor([[0.5, 0.25, 0.25]]).log().requires_grad_()
    assert mixture(maps, logits).item() == pytest.approx(0.1 + 0.1 + 0.25)
    chosen = torch.tensor([[False, True, True]])
    assert mixture(maps, logits, chosen).item() == pytest.approx(0.7)
    assert mixture(maps, logits, torch.tensor([[False, True, False]])).item() == pytest.approx(0.4)
    assert not mixture(maps, logits).requires_grad


def test_a_held_encoder_passes_gradient_to_the_map_alone() -> None:
    network = CxrNet(TINY).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    kept = torch.rand(2, 1, 32, 32, requires_grad=True)
    network.held(torch.randn(2, 1, 32, 32), kept).square().sum().backward()
    assert kept.grad is not None
    assert float(kept.grad.abs().sum()) > 0
    assert all(parameter.grad is None for parameter in network.parameters())
    assert network.second.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_held_is_the_second_encoder_as_it_is(network: CxrNet) -> None:
    x, kept = torch.randn(2, 1, 32, 32), torch.rand(2, 1, 32, 32)

    def parts() -> tuple[Tensor, Tensor]:
        return network.held(x, kept), network.through(x, kept)

    torch.testing.assert_close(*parts())
