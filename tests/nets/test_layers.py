"""The layer autoencoder: codes on a sphere, layers in proportion to their strength, and a discriminator that sees a batch."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from gan_explain.lungs import COLUMNS, ROWS
from gan_explain.nets.layers import LayerDecoder, LayerDiscriminator, LayerEncoder, unit_strength

DIM = 5


def maps(n: int) -> Tensor:
    return torch.rand(n, 2, ROWS, COLUMNS)


def test_unit_strength_by_hand() -> None:
    """(3, 4) has a mean square of 12.5; (1, 1) is of strength 1; nothing stays nothing."""
    found = unit_strength(torch.tensor([[3.0, 4.0], [1.0, 1.0], [0.0, 0.0]]))
    expected = torch.tensor([[3 / math.sqrt(12.5), 4 / math.sqrt(12.5)], [1.0, 1.0], [0.0, 0.0]])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dim", [1, 5, 32])
def test_codes_lie_on_the_sphere(dim: int) -> None:
    codes = LayerEncoder(dim, 8)(10 * maps(4))
    assert codes.shape == (4, dim)
    torch.testing.assert_close(codes.norm(dim=1), torch.full((4,), math.sqrt(dim)))


def test_a_layer_is_its_strength_times_what_its_direction_decodes_to() -> None:
    decoder, codes = LayerDecoder(DIM, 8), torch.randn(3, DIM)
    one = decoder(unit_strength(codes))
    assert one.shape == (3, 2, ROWS, COLUMNS)
    assert float(one.detach().min()) >= 0
    strength = codes.square().mean(1).sqrt().view(-1, 1, 1, 1)
    torch.testing.assert_close(decoder(codes), strength * one)
    torch.testing.assert_close(decoder(1e-3 * codes), 1e-3 * strength * one)


def test_no_code_is_no_layer_and_its_slope_is_finite_nearby() -> None:
    decoder = LayerDecoder(DIM, 8)
    assert torch.equal(decoder(torch.zeros(2, DIM)), torch.zeros(2, 2, ROWS, COLUMNS))
    code = torch.full((1, DIM), 1e-4, requires_grad=True)
    (gradient,) = torch.autograd.grad(decoder(code).sum(), code)
    assert bool(torch.isfinite(gradient).all())


def test_the_direction_decides_the_shape() -> None:
    decoder, codes = LayerDecoder(DIM, 8), torch.eye(DIM)[:2]
    nn.init.normal_(decoder.head.weight)
    a, b = decoder(codes).detach().flatten(1)
    assert float(torch.corrcoef(torch.stack([a, b]))[0, 1]) < 0.9


def test_each_label_has_a_logit_and_a_batch_is_seen_as_one() -> None:
    judge, some = LayerDiscriminator(3, 8), maps(4)
    logits = judge(some)
    assert logits.shape == (4, 3)
    torch.testing.assert_close(judge(some.flip(0)), logits.flip(0))
    alike = judge(some[:1].expand(4, -1, -1, -1))
    torch.testing.assert_close(alike, alike[:1].expand(4, -1))
    torch.testing.assert_close(judge(some[:1]), alike[:1])  # no spread either way
    assert not torch.allclose(logits[:1], alike[:1], atol=1e-5)
