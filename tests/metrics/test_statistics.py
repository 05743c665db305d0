"""A statistic that was matched is the donor's; what it does not touch stays."""

from __future__ import annotations

import pytest
import torch

from gan_explain.metrics.statistics import STATISTICS, matched
from gan_explain.pixels import gaussian_blur

SIZE = 64
LUNGS = torch.zeros(1, 1, SIZE, SIZE)
LUNGS[..., 16:48, 8:56] = 1


def noise(mean: float, spread: float, blur: float = 1.0, n: int = 1) -> torch.Tensor:
    field = gaussian_blur(torch.randn(n, 1, SIZE, SIZE), blur)
    return mean + spread * field / field.std()


def inside(images: torch.Tensor) -> torch.Tensor:
    return images[..., 16:48, 8:56].flatten(1)


def test_the_lungs_become_as_dark_as_the_donors_and_the_rest_stays() -> None:
    x, y = noise(0.5, 0.05), noise(0.35, 0.05, n=3)
    found = matched(x, y, LUNGS, LUNGS.expand(3, -1, -1, -1))["lung_darkness"]
    torch.testing.assert_close(inside(found).mean(1), inside(y).mean(1), atol=1e-5, rtol=0)
    outside = (LUNGS == 0).expand_as(found)
    assert torch.equal(found[outside], x.expand_as(found)[outside])


def test_the_lungs_get_the_donors_contrast_about_their_own_mean() -> None:
    x, y = noise(0.5, 0.04), noise(0.3, 0.08)
    found = matched(x, y, LUNGS, LUNGS)["lung_contrast"]
    deep = (..., slice(20, 44), slice(12, 52))  # clear of the feathered rim
    wanted = inside(x).mean() + (x[deep] - inside(x).mean()) * inside(y).std() / inside(x).std()
    torch.testing.assert_close(found[deep], wanted, atol=1e-4, rtol=0)
    assert float(inside(found).mean()) == pytest.approx(float(inside(x).mean()), abs=2e-3)


def test_exposure_is_the_mean_and_spread_of_the_whole_image() -> None:
    x, y = noise(0.5, 0.04), noise(0.4, 0.08)
    found = matched(x, y, LUNGS, LUNGS)["exposure"]
    assert (float(found.mean()), float(found.std())) == pytest.approx((float(y.mean()), float(y.std())), abs=1e-4)


def test_sharpness_is_the_fine_detail_alone() -> None:
    x, y = noise(0.5, 0.05, blur=0.6), noise(0.5, 0.05, blur=1.5)
    found = matched(x, y, LUNGS, LUNGS)["sharpness"]

    def detail(image: torch.Tensor) -> float:
        return float((image - gaussian_blur(image, 1.0)).std())

    assert detail(y) < 0.8 * detail(x)
    assert detail(found) == pytest.approx(detail(y), rel=0.01)
    assert float(found.mean()) == pytest.approx(float(x.mean()), abs=1e-3)


def test_a_match_with_itself_changes_nothing_and_images_stay_in_range() -> None:
    x = noise(0.5, 0.1).clamp(0, 1)
    for found in matched(x, x, LUNGS, LUNGS).values():
        torch.testing.assert_close(found, x, atol=1e-5, rtol=0)
    wild = matched(x, torch.rand(2, 1, SIZE, SIZE), LUNGS, LUNGS.expand(2, -1, -1, -1))
    assert tuple(wild) == STATISTICS
    assert all(float(image.min()) >= 0 and float(image.max()) <= 1 for image in wild.values())


def test_without_lungs_or_contrast_there_is_nothing_to_match() -> None:
    x, none, flat = noise(0.5, 0.05), torch.zeros_like(LUNGS), torch.full((1, 1, SIZE, SIZE), 0.5)
    for lungs_x, lungs_y in ((none, LUNGS), (LUNGS, none)):
        found = matched(x, flat, lungs_x, lungs_y)
        assert torch.equal(found["lung_darkness"], x)
        assert torch.equal(found["lung_contrast"], x)
    assert all(bool(image.isfinite().all()) for image in matched(flat, x, LUNGS, LUNGS).values())
