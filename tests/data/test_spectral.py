"""The spectral filters as transforms: what they keep, what they change, and by which formula."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gan_explain import augment
from gan_explain.data.spectral import GaussianLowPass, SpectralImportance, with_gain
from gan_explain.pixels import gaussian_blur
from gan_explain.spectrum import radius, transform

SIZE = 32


def smooth(n: int = 3, size: int = SIZE) -> Tensor:
    """Images well within [0, 1], so that nothing is cut."""
    return 0.35 + 0.3 * gaussian_blur(torch.rand(n, 1, size, size), 1.0)


def low_band(cycles: float, size: int = SIZE) -> Tensor:
    return (radius(size, size) <= cycles).float()


def test_the_formula() -> None:
    """Important magnitudes against unimportant ones: high / low times what they were, whatever contrast is given back."""
    x = smooth()
    before, after = transform(x).abs(), transform(SpectralImportance(low_band(6), 0.5, 1.5)(x)).abs()
    distance = radius(SIZE, SIZE)
    inner = (after / before)[..., (distance > 0) & (distance <= 6)]
    outer = (after / before)[..., (distance > 6) & (distance < 15)]
    torch.testing.assert_close(inner.mean(-1) / outer.mean(-1), torch.full((3, 1), 3.0), rtol=1e-3, atol=0)
    torch.testing.assert_close(inner.amin(-1), inner.amax(-1), rtol=1e-3, atol=0)


def test_mean_contrast_and_phase_are_kept() -> None:
    x = smooth()
    y = SpectralImportance(low_band(6))(x)
    torch.testing.assert_close(y.mean((2, 3)), x.mean((2, 3)))
    torch.testing.assert_close(y.std((2, 3)), x.std((2, 3)), rtol=1e-4, atol=0)
    a, b = transform(x), transform(y)
    strong = a.abs() > 1e-3
    torch.testing.assert_close((a / a.abs())[strong], (b / b.abs())[strong], atol=1e-2, rtol=0)


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_importance_that_is_the_same_everywhere_changes_nothing(value: float) -> None:
    x = smooth()
    torch.testing.assert_close(SpectralImportance(torch.full((SIZE, SIZE), value))(x), x, atol=1e-4, rtol=0)


def test_results_stay_in_range_and_are_deterministic() -> None:
    x = (torch.rand(2, 1, SIZE, SIZE) > 0.5).float()
    emphasis = SpectralImportance(1 - low_band(8), 0.0, 2.0)
    y = emphasis(x)
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    assert 0 <= float(y.min()) <= float(y.max()) <= 1
    assert torch.equal(y, emphasis(x))
    for level in (0.0, 0.3, 1.0):
        flat = torch.full((1, 1, SIZE, SIZE), level)
        torch.testing.assert_close(emphasis(flat), flat, atol=1e-6, rtol=0)


def test_each_image_may_have_a_mask_of_its_own_and_the_lungs_are_handed_on() -> None:
    x, lungs, given = smooth(2), torch.ones(2, 1, SIZE, SIZE), list[Tensor | None]()
    masks = torch.stack([low_band(4), 1 - low_band(4)])[:, None]

    def importance(images: Tensor, lungs: Tensor | None) -> Tensor:
        given.append(lungs)
        return masks[: len(images)]

    y = SpectralImportance(importance)(x, lungs)
    assert given == [lungs]
    for i in range(2):
        torch.testing.assert_close(y[i : i + 1], SpectralImportance(masks[i, 0])(x[i : i + 1]))


def test_a_mask_of_another_size_is_laid_on_by_frequency() -> None:
    x = smooth(size=48)
    torch.testing.assert_close(SpectralImportance(low_band(6, 24))(x), SpectralImportance(low_band(6, 48))(x))
    gain = SpectralImportance(torch.ones(24, 24), 0.5, 1.5).gain(x)
    assert gain.shape == (48, 48)
    assert (float(gain[0, 0]), float(gain[24, 20]), float(gain[24, 24])) == (0.5, 1.5, 1.0)


def test_the_low_pass_takes_fast_waves_out_and_leaves_slow_ones() -> None:
    t = 2 * math.pi * torch.arange(SIZE) / SIZE
    slow, fast = (0.1 * torch.cos(k * t)[None, None, :, None].expand(1, 1, SIZE, SIZE) for k in (1, 12))
    y = GaussianLowPass(2.0)(0.5 + slow + fast)
    ratio = transform(y).abs()[0, 0, [16 + 1, 16 + 12], 16]
    assert float(ratio[1] / ratio[0]) == pytest.approx(math.exp(-2 * (math.pi * 2 / SIZE) ** 2 * (12**2 - 1)), abs=1e-4)
    torch.testing.assert_close(GaussianLowPass(0.0)(0.5 + slow), 0.5 + slow)


def test_a_gradient_passes_through() -> None:
    x = smooth(1).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda images: with_gain(images, 0.5 + low_band(6).double()).mean((2, 3)) ** 2, x)


@pytest.mark.parametrize(("low", "high"), [(-0.1, 1.0), (1.0, 0.5), (0.0, 0.0)])
def test_gains_that_make_no_sense_are_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="expected 0 <= low <= high"):
        SpectralImportance(torch.ones(4, 4), low, high)
    with pytest.raises(ValueError, match="expected sigma >= 0"):
        GaussianLowPass(-1.0)


def test_it_is_found_under_augment() -> None:
    assert (augment.SpectralImportance, augment.GaussianLowPass) == (SpectralImportance, GaussianLowPass)
