"""Rendered disease: what is drawn is within its ranges, inside the lungs, and the same for the same seed."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from torch import Tensor

from gan_explain.data.opacities import Opacities, Tones, draw_opacities, draw_tones, move, textured
from gan_explain.lungs import enlarge, shrink

SIDE, GRID = 64, 32
ONE_EVEN_PATCH = {"empty": 0.0, "patches": 1, "hazy": 0.0, "consolidated": 1.0, "edge": (0.01, 0.01), "one_sided": 0.0}


def masks(n: int) -> Tensor:
    """Two ellipses."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, SIDE), torch.linspace(-1, 1, SIDE), indexing="ij")
    return (((x.abs() - 0.4) / 0.27).square() + (y / 0.6).square() < 1).float().expand(n, 1, SIDE, SIDE)


def seed(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def draw(n: int = 200, number: int = 0, **ranges: object) -> Tensor:
    return draw_opacities(masks(n), GRID, seed(number), Opacities(**ranges))  # type: ignore[arg-type]


def shown(tau: Tensor) -> Tensor:
    """Of layers, those with something on them."""
    return tau[tau.amax((1, 2, 3)) > 0]


# -- layers -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "slack"), [(0.0, 0.0), (0.25, 0.1), (1.0, 0.0)])
def test_the_share_of_empty_layers(share: float, slack: float) -> None:
    tau = draw(300, empty=share)
    empty = (tau == 0).all(3).all(2).all(1).float().mean()
    assert float(empty) == pytest.approx(share, abs=slack)


def test_layers_are_thickness_inside_the_lungs_alone() -> None:
    tau = draw()
    assert tau.shape == (200, 1, GRID, GRID)
    assert bool(torch.isfinite(tau).all())
    assert float(tau.min()) >= 0
    far = torch.nn.functional.max_pool2d(shrink(masks(1), GRID), 7, stride=1, padding=3)[0] == 0
    assert bool(far.any())
    assert float(tau[:, far].max()) == 0
    assert float(draw_opacities(torch.zeros(4, 1, SIDE, SIDE), GRID, seed()).max()) == 0


def test_thickness_stays_within_its_ranges_and_reaches_them() -> None:
    ranges = Opacities()
    dense = draw(hazy=0.0, empty=0.0, consolidated=1.0).amax((1, 2, 3))
    assert float(dense.max()) < ranges.dense[1] * ranges.patches ** (1 / 3)  # patches of one place do not add up
    assert float(dense.max()) > 0.7 * ranges.dense[1]
    faint = draw(empty=0.0, hazy=0.0, consolidated=0.0, haze=(1e-3, 2e-3)).amax((1, 2, 3))
    assert float(faint.max()) < ranges.faint[1] * ranges.patches ** (1 / 3)
    assert float(faint.quantile(0.5)) < 0.5 * float(dense.quantile(0.5))


@pytest.mark.parametrize("area", [0.1, 0.3, 0.6])
def test_a_patch_covers_the_share_of_the_lungs_that_was_asked_for(area: float) -> None:
    tau = shown(draw(area=(area, area), haze=(1e-4, 2e-4), length=(0.1, 0.2), dense=(1.0, 1.0), **ONE_EVEN_PATCH))
    inside = shrink(masks(1), GRID)[0] > 0.5
    tau = tau[tau.amax((1, 2, 3)) > 0.3]  # the others are the haze of a layer without a patch
    assert len(tau) > 50
    covered = (tau[:, inside] > 0.4).float().mean(1)
    assert float(covered.mean()) == pytest.approx(area, abs=0.05)
    assert float(covered.std()) < 0.05


def test_one_sided_patches_lie_in_one_lung() -> None:
    even = {**ONE_EVEN_PATCH, "one_sided": 1.0, "haze": (1e-4, 2e-4), "area": (0.1, 0.2)}
    tau = shown(draw(**even))
    tau = tau[tau.amax((1, 2, 3)) > 0.3]
    left, right = (tau[..., part].sum((1, 2, 3)) for part in (slice(None, GRID // 2), slice(GRID // 2, None)))
    assert float(torch.minimum(left, right).sum() / (left + right).sum()) < 0.05
    assert 0.3 < float((left > right).float().mean()) < 0.7


def test_layers_without_patches_are_haze_of_both_lungs() -> None:
    """Whole lungs: nowhere in them is it gone."""
    tau = draw(empty=0.0, patches=1, hazy=1.0, faint=(1e-4, 2e-4), consolidated=0.0, haze=(0.5, 0.5))
    inside = shrink(masks(1), GRID)[0] > 0.99
    assert float((tau[:, inside] > 0.05).float().mean()) > 0.95
    assert float(tau.max()) < 0.5 * 4


def test_a_seed_gives_the_same_layers_and_each_layer_is_its_own() -> None:
    assert torch.equal(draw(8), draw(8))
    assert not torch.equal(draw(8), draw(8, number=1))
    some = shown(draw(20)).flatten(1)
    assert len(some.unique(dim=0)) == len(some) > 5


def test_ranges_are_shares_and_intervals() -> None:
    for field in fields(Opacities):
        value = getattr(Opacities(), field.name)
        if isinstance(value, tuple):
            assert 0 < value[0] <= value[1]


# -- texture ------------------------------------------------------------------------------------------------------------------


def test_texture_is_finer_than_the_grid_and_leaves_its_means_about_as_they_are() -> None:
    tau = draw(40, empty=0.0)
    fine = textured(tau, (256, 256), seed(), Opacities(textured=1.0))
    plain = enlarge(tau, (256, 256))
    assert fine.shape == plain.shape
    assert float(fine.min()) >= 0
    assert float((fine - plain).abs().mean() / plain.mean()) > 0.03
    assert float((shrink(fine, GRID) - shrink(plain, GRID)).abs().mean() / plain.mean()) < 0.06
    assert float(fine.mean() / plain.mean()) == pytest.approx(1, abs=0.01)
    assert bool((fine[plain == 0] == 0).all())


def test_layers_without_a_texture_are_enlarged_alone() -> None:
    tau = draw(5)
    torch.testing.assert_close(textured(tau, (128, 128), seed(), Opacities(textured=0.0)), enlarge(tau, (128, 128)))
    some = textured(tau.new_ones(60, 1, 8, 8), (16, 16), seed(), Opacities(textured=0.5))
    assert 0.3 < float((some.flatten(1).std(1) > 1e-4).float().mean()) < 0.7


# -- tones and places ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(8))
def test_tones_stay_in_range_and_keep_the_order_of_dark_and_bright(number: int) -> None:
    """On a ramp: black stays the darkest, whatever the tone."""
    ramp = torch.linspace(0, 1, 64).expand(3, 1, 64, 64)
    found = draw_tones(ramp, seed(number), Tones(noise=0.0))
    assert found.shape == ramp.shape
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert float(found.mean(2).diff(dim=-1).min()) > -1e-5
    assert float((found - ramp).abs().max()) > 0.01
    noisy = draw_tones(torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8)]), seed(number))
    assert 0 <= float(noisy.min()) <= float(noisy.max()) <= 1


def test_a_tone_is_each_images_own_and_the_same_for_a_seed() -> None:
    grey = torch.full((6, 1, 32, 32), 0.5)
    found = draw_tones(grey, seed(), Tones(noise=0.0))
    assert float(found.std((1, 2, 3)).max()) < 1e-5  # a flat image stays flat
    assert len(found[:, 0, 0, 0].unique()) == 6
    assert torch.equal(draw_tones(grey, seed(3)), draw_tones(grey, seed(3)))


def test_no_tone_is_the_image() -> None:
    images = torch.rand(2, 1, 32, 32)
    plain = draw_tones(images, seed(0), Tones(gamma=0.0, curve=0.1001, sharpen=0.0, blur=0.0, noise=0.0))
    assert float((plain - images).abs().max()) < 0.1


def test_images_and_masks_move_together() -> None:
    """A mask's own picture: what was lung stays lung."""
    lungs = masks(6)
    images, moved = move(0.2 + 0.6 * lungs, lungs, seed())
    assert set(moved.unique().tolist()) == {0, 1}
    assert float(((images > 0.5).float() - moved).abs().mean()) < 0.02
    assert float((moved - lungs).abs().mean()) > 0.01
    assert len(moved.flatten(1).unique(dim=0)) == 6
    again = move(0.2 + 0.6 * lungs, lungs, seed())
    assert torch.equal(again[0], images)
    assert torch.equal(again[1], moved)


def test_moving_by_nothing_changes_nothing() -> None:
    images, lungs = torch.rand(2, 1, 32, 32), (torch.rand(2, 1, 32, 32) > 0.5).float()
    still = move(images, lungs, seed(), rotate=0, scale=0, shift=0)
    torch.testing.assert_close(still[0], images, atol=1e-5, rtol=0)
    assert torch.equal(still[1], lungs)
