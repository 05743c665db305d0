"""Layers of optical thickness: what they do is Beer-Lambert, and every number can be had on paper."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gan_explain.optics import compose, opacity, take_off

Pixels = list[tuple[float, float]]
LN2 = math.log(2)


def pixels(thickest: float, thinnest: float | None = None) -> st.SearchStrategy[Pixels]:
    """(brightness, tau) of 1 to 8 pixels."""
    tau = st.floats(-thickest if thinnest is None else thinnest, thickest, width=32)
    return st.lists(st.tuples(st.floats(0, 1, width=32), tau), min_size=1, max_size=8)


def images(values: Pixels) -> tuple[Tensor, Tensor]:
    """Structure and tau (1, 1, 1, n)."""
    structure, tau = torch.tensor(values).T
    return structure.view(1, 1, 1, -1), tau.view(1, 1, 1, -1)


@given(pixels(1e6))
def test_strength_zero_is_the_structure_to_the_bit(values: Pixels) -> None:
    structure, tau = images(values)
    assert torch.equal(compose(structure, tau, 0.0), structure)
    assert torch.equal(compose(structure, torch.zeros_like(tau), 3.0), structure)


@pytest.mark.parametrize(
    ("brightness", "tau", "strength", "expected"),
    [(0.2, LN2, 1.0, 0.6), (0.2, LN2, 2.0, 0.8), (0.2, -LN2, 1.0, 0.1), (0.2, -LN2, 3.0, 0.025), (1.0, 5.0, 1.0, 1.0)],
)
def test_the_law(brightness: float, tau: float, strength: float, expected: float) -> None:
    x = compose(torch.tensor([[[[brightness]]]]), torch.tensor([[[[tau]]]]), strength)
    assert x.item() == pytest.approx(expected, abs=1e-6)


def test_thicknesses_add() -> None:
    structure, a, b = torch.rand(3, 2, 1, 8, 8)
    torch.testing.assert_close(compose(compose(structure, a), b), compose(structure, a + b))


def test_strengths_of_a_batch_and_of_a_film() -> None:
    structure, tau = torch.rand(2, 3, 1, 4, 4)
    strengths = torch.tensor([0.0, 0.5, 2.0]).view(3, 1, 1, 1)
    for i in range(3):
        torch.testing.assert_close(compose(structure, tau, strengths)[i], compose(structure[i], tau[i], float(strengths[i])))


@given(pixels(30), st.floats(0, 4), st.floats(0, 4))
def test_range_and_monotone_in_strength(values: Pixels, one: float, other: float) -> None:
    structure, tau = images(values)
    weak, strong = (compose(structure, tau, strength) for strength in sorted((one, other)))
    assert float(torch.stack([weak, strong]).min()) >= -1e-6
    assert float(torch.stack([weak, strong]).max()) <= 1 + 1e-6
    assert bool(((strong - weak) * torch.sign(tau) >= -1e-6).all())


@given(pixels(3))
def test_take_off_undoes_compose(values: Pixels) -> None:
    structure, tau = images(values)
    found, clamped = take_off(compose(structure, tau), tau)
    torch.testing.assert_close(found, structure, atol=1e-5, rtol=0)
    assert clamped.shape == (1,)


def test_compose_undoes_take_off_where_nothing_was_clamped() -> None:
    image, tau = 0.5 + 0.1 * torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8) - 0.5
    structure, clamped = take_off(image, tau)
    assert clamped.tolist() == [0, 0]
    torch.testing.assert_close(compose(structure, tau), image)


def test_what_cannot_be_taken_off_is_clamped_and_counted() -> None:
    image = torch.tensor([[[[0.1, 0.9]]], [[[0.9, 0.9]]], [[[0.1, 0.9]]]])
    tau = torch.tensor([[[[2 * LN2, LN2]]], [[[-1.0, -1.0]]], [[[0.0, 0.0]]]])
    structure, clamped = take_off(image, tau)
    torch.testing.assert_close(structure, torch.tensor([[[[0.0, 0.8]]], [[[1.0, 1.0]]], [[[0.1, 0.9]]]]))
    assert clamped.tolist() == [0.5, 1.0, 0.0]


@given(pixels(0.0))
def test_no_layer_takes_nothing_off_to_the_bit(values: Pixels) -> None:
    image, tau = images(values)
    assert torch.equal(take_off(image, tau)[0], image)


def test_opacity_is_the_share_of_darkness_taken() -> None:
    tau = torch.tensor([LN2, -LN2, 0.0, 50.0])
    torch.testing.assert_close(opacity(tau), torch.tensor([0.5, -0.5, 0.0, 1.0]))
    torch.testing.assert_close(opacity(tau[:1], 2.0), torch.tensor([0.75]))
    structure, thickness = torch.rand(2, 1, 1, 8, 8)
    torch.testing.assert_close((compose(structure, thickness) - structure) / (1 - structure), opacity(thickness))
