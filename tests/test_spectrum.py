"""Waves whose frequency is known, and what must hold of any image."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gan_explain import pixels, spectrum


def wave(down: int, across: int, size: int = 32, amplitude: float = 0.2) -> Tensor:
    """(1, 1, size, size): 0.5 plus a cosine of so many cycles an image."""
    y, x = torch.meshgrid(*[torch.arange(size, dtype=torch.float64) / size] * 2, indexing="ij")
    return (0.5 + amplitude * torch.cos(2 * math.pi * (down * y + across * x)))[None, None]


@pytest.mark.parametrize("size", [31, 32])
def test_a_wave_stands_at_its_frequency_and_at_the_opposite_one(size: int) -> None:
    plane = spectrum.transform(wave(3, 5, size)).abs()[0, 0]
    middle = size // 2
    assert float(plane[middle, middle]) == pytest.approx(0.5 * size)  # orthonormal: the mean times sqrt(H W)
    for sign in (1, -1):
        assert float(plane[middle + sign * 3, middle + sign * 5]) == pytest.approx(0.1 * size)
        plane[middle + sign * 3, middle + sign * 5] = 0
    plane[middle, middle] = 0
    assert float(plane.max()) < 1e-9


def test_energy_is_the_same_on_both_sides_and_the_way_back_is_exact() -> None:
    x = torch.rand(2, 1, 16, 24, dtype=torch.float64)
    plane = spectrum.transform(x)
    torch.testing.assert_close(plane.abs().square().sum(), x.square().sum())
    torch.testing.assert_close(spectrum.inverse(plane), x)


def test_log_magnitude_does_not_see_a_shift_and_has_a_gradient_even_where_there_is_nothing() -> None:
    x = torch.rand(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(spectrum.log_magnitude(x), spectrum.log_magnitude(torch.roll(x, (2, 3), (-2, -1))))
    assert torch.autograd.gradcheck(spectrum.log_magnitude, x)
    black = torch.zeros(1, 1, 8, 8, requires_grad=True)
    out = spectrum.standardised(spectrum.log_magnitude(black))
    out.square().sum().backward()
    assert black.grad is not None
    assert bool(torch.isfinite(black.grad).all())
    torch.testing.assert_close(out, torch.zeros(1, 1, 8, 8), atol=1e-2, rtol=0)


def test_standardised_log_magnitude_does_not_see_contrast() -> None:
    x = torch.rand(2, 1, 16, 16)
    planes = spectrum.standardised(spectrum.log_magnitude(x))
    torch.testing.assert_close(planes, spectrum.standardised(spectrum.log_magnitude(0.5 * x)), atol=1e-2, rtol=0)
    torch.testing.assert_close(planes.mean((-2, -1)), torch.zeros(2, 1), atol=1e-5, rtol=0)
    torch.testing.assert_close(planes.std((-2, -1), correction=0), torch.ones(2, 1))


def test_radius_counts_cycles() -> None:
    distance = spectrum.radius(8, 6)
    assert float(distance[4, 3]) == 0
    assert float(distance[4 + 3, 3 - 2]) == pytest.approx(math.sqrt(13))


def test_radial_bands_are_means_over_rings() -> None:
    plane = spectrum.radius(64, 64)
    bands = spectrum.radial_bands(plane, 8)
    assert bands.shape == (8,)
    assert bool((bands[:-1] > torch.arange(7) * 4).all())
    assert bool((bands[:-1] < torch.arange(1, 8) * 4).all())
    torch.testing.assert_close(spectrum.radial_bands(torch.full((2, 1, 16, 16), 0.3), 4), torch.full((2, 1, 4), 0.3))


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (8, 7)])
def test_a_symmetric_gain_keeps_images_real(size: tuple[int, int]) -> None:
    gain = torch.rand(size, dtype=torch.float64)
    both = spectrum.symmetric(gain)
    torch.testing.assert_close(spectrum.mirrored(spectrum.mirrored(gain)), gain)
    torch.testing.assert_close(spectrum.mirrored(both), both)
    plane = spectrum.transform(torch.rand(1, 1, *size, dtype=torch.float64)) * both
    back = torch.fft.ifft2(torch.fft.ifftshift(plane, dim=(-2, -1)), norm="ortho")
    assert float(back.imag.abs().max()) < 1e-12


def test_a_gain_of_one_changes_nothing_and_one_of_zero_at_a_wave_takes_it_out() -> None:
    x = wave(3, 5) + wave(7, 0) - 0.5
    gain = torch.ones(32, 32)
    torch.testing.assert_close(spectrum.filtered(x, gain), x)
    for sign in (1, -1):
        gain[16 + sign * 3, 16 + sign * 5] = 0
    torch.testing.assert_close(spectrum.filtered(x, gain), wave(7, 0))
    with pytest.raises(ValueError, match=r"expected a gain of \(32, 32\)"):
        spectrum.filtered(x, gain[:16, :16])


def test_phase_is_kept() -> None:
    x = torch.rand(1, 1, 16, 16, dtype=torch.float64)
    y = spectrum.filtered(x, 0.5 + torch.rand(16, 16, dtype=torch.float64))
    before, after = spectrum.transform(x), spectrum.transform(y)
    torch.testing.assert_close(before / before.abs(), after / after.abs())


def test_gaussian_gain_is_a_gaussian_blur() -> None:
    """Against the blur in the image, away from the borders, which it continues otherwise."""
    x = torch.rand(1, 1, 48, 48)
    blurred = spectrum.filtered(x, spectrum.gaussian_gain(48, 48, 1.5))
    torch.testing.assert_close(blurred[..., 8:-8, 8:-8], pixels.gaussian_blur(x, 1.5)[..., 8:-8, 8:-8], atol=5e-3, rtol=0)


@pytest.mark.parametrize(("before", "after"), [(8, 12), (8, 5), (7, 10), (9, 4)])
def test_fitted_keeps_each_frequency_where_it_was(before: int, after: int) -> None:
    plane = spectrum.radius(before, before) + 1
    moved = spectrum.fitted(plane, after, after)
    assert moved.shape == (after, after)
    shared = moved > 0
    torch.testing.assert_close(moved[shared], (spectrum.radius(after, after) + 1)[shared])
    assert int(shared.sum()) == min(before, after) ** 2


def test_keep_mean_touches_zero_frequency_alone() -> None:
    gain = torch.zeros(2, 1, 6, 8)
    kept = spectrum.keep_mean(gain)
    assert float(kept.sum()) == 2
    assert bool((kept[..., 3, 4] == 1).all())
    assert float(gain.sum()) == 0
