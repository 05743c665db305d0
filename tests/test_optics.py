"""Layers of optical thickness: what they do is Beer-Lambert, and every number can be had on paper."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gan_explain.optics import KEPT, bounded, compose, headroom, opacity, take_off
from gan_explain.pixels import quantize16

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


@given(pixels(3, 0))
def test_take_off_undoes_compose(values: Pixels) -> None:
    structure, tau = images(values)
    torch.testing.assert_close(take_off(compose(structure, tau), tau), structure, atol=1e-5, rtol=0)


@given(pixels(0.0))
def test_no_layer_takes_nothing_off_to_the_bit(values: Pixels) -> None:
    image, tau = images(values)
    assert torch.equal(take_off(image, tau), image)


# -- what can be taken off ----------------------------------------------------------------------------------------------------


def limit(image: Tensor, floor: float = 0.0) -> Tensor:
    """The thickness that leaves exactly `floor` at each pixel, in double precision; 0 where the image is darker."""
    return ((1 - floor) / (1 - image.double())).log().clamp(min=0)


@pytest.mark.parametrize(("floor", "expected"), [(0.0, LN2), (0.25, math.log(1.5)), (0.5, 0.0), (0.9, 0.0)])
def test_headroom_of_a_flat_image(floor: float, expected: float) -> None:
    """Half of the film is dark: all of its brightness is ln 2, the part above 1/4 is ln 3/2, and above 1/2 there is none."""
    for size in ((6, 6), (300, 200)):
        found = headroom(torch.full((1, 1, *size), 0.5), floor)
        torch.testing.assert_close(found, torch.full((1, 1, *size), KEPT * expected))


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (128, 128), (129, 64), (200, 333), (640, 37)])
def test_headroom_is_below_the_exact_limit_at_every_pixel_of_an_image_of_any_size(size: tuple[int, int]) -> None:
    for image in (
        torch.rand(2, 1, *size),
        1e-5 * torch.rand(2, 1, *size),
        torch.rand(2, 1, *size).round(),
        torch.ones(2, 1, *size),
    ):
        for floor in (0.0, 0.3):
            found = headroom(image, floor)
            assert float(take_off(image, found).min()) >= 0
            assert found.shape == image.shape
            assert bool(torch.isfinite(found).all())
            assert float(found.min()) >= 0
            assert bool((found.double() <= limit(image, floor) + (1e-6 if floor else 0)).all())


def test_each_image_has_its_own_floor() -> None:
    image, floors = 0.3 + 0.7 * torch.rand(2, 1, 20, 20), torch.tensor([0.0, 0.3]).view(2, 1, 1, 1)
    found = headroom(image, floors)
    for i in range(2):
        torch.testing.assert_close(found[i : i + 1], headroom(image[i : i + 1], float(floors[i])))
    assert bool((found[1] < found[0]).any())


def test_headroom_is_smooth_about_a_black_pixel() -> None:
    """512 pixels are 128 cells of four: from ln 2 to nothing in no fewer than four steps, and all of it back soon after."""
    image = torch.full((1, 1, 512, 384), 0.5)
    image[..., 201, 97] = 0
    found = headroom(image)
    assert found[..., 201, 97].item() == 0
    assert max(float(found.diff(dim=d).abs().max()) for d in (2, 3)) <= KEPT * LN2 / 4 + 1e-6
    away = torch.ones_like(image)
    away[..., 201 - 12 : 201 + 13, 97 - 12 : 97 + 13] = 0
    torch.testing.assert_close(found[away > 0], torch.full_like(found[away > 0], KEPT * LN2))


def test_a_layer_that_is_thin_enough_is_left_as_it_is() -> None:
    image, tau = 0.6 + 0.4 * torch.rand(1, 1, 16, 16), 0.9 * torch.rand(1, 1, 16, 16)
    assert torch.equal(bounded(tau, image), tau)  # ln 1 / 0.4 is 0.92
    assert torch.equal(bounded(tau + 100, image), headroom(image))


def some_image(seed: int, height: int, width: int, dark: float) -> Tensor:
    """Noise on the 16-bit grid, some of it black and some white."""
    random = torch.Generator().manual_seed(seed)
    image = torch.rand(1, 1, height, width, generator=random) ** dark
    ends = torch.rand(1, 1, height, width, generator=random)
    return quantize16(torch.where(ends < 0.02, 0.0, torch.where(ends > 0.98, 1.0, image)))


sizes = st.integers(1, 140)


@settings(derandomize=True, deadline=None, max_examples=80, database=None)
@given(st.integers(0, 2**31 - 1), sizes, sizes, st.floats(0.05, 4), st.floats(0, 20), st.floats(0, 0.9))
def test_what_is_bounded_comes_off_with_nothing_clamped_and_laid_on_again_is_the_image(
    seed: int, height: int, width: int, dark: float, thickest: float, floor: float
) -> None:
    image = some_image(seed, height, width, dark)
    tau = bounded(thickest * torch.rand(image.shape, generator=torch.Generator().manual_seed(seed)), image, floor)
    structure = take_off(image, tau)
    assert 0 <= float(structure.min()) <= float(structure.max()) <= 1
    assert bool((structure >= torch.minimum(image, torch.tensor(floor)) - 1e-6).all())
    assert bool((structure <= image).all())
    assert torch.equal(quantize16(compose(structure, tau)), image)


def test_opacity_is_the_share_of_darkness_taken() -> None:
    tau = torch.tensor([LN2, -LN2, 0.0, 50.0])
    torch.testing.assert_close(opacity(tau), torch.tensor([0.5, -0.5, 0.0, 1.0]))
    torch.testing.assert_close(opacity(tau[:1], 2.0), torch.tensor([0.75]))
    structure, thickness = torch.rand(2, 1, 1, 8, 8)
    torch.testing.assert_close((compose(structure, thickness) - structure) / (1 - structure), opacity(thickness))
