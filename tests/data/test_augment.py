"""Augmentation: drawn parameters and a deterministic function of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gan_explain.data.augment import Augmentation, Ranges, draw

STILL = Ranges(rotate=0, scale=0, shift=0, gamma=0, contrast=0, blur=0, noise=0)


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def disc(n: int = 1, side: int = 32) -> Tensor:
    axis = torch.linspace(-1, 1, side)
    return ((axis[:, None].square() + axis.square()) < 0.3).float().expand(n, 1, side, side)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31), st.sampled_from([8, 33]))
def test_range_shape_and_hard_masks(seed: int, side: int) -> None:
    images, masks = torch.rand(3, 1, side, side), disc(3, side)
    shown, shown_masks = draw(3, random(seed), Ranges(rotate=30, scale=0.5, shift=0.3, gamma=1, contrast=1, blur=2, noise=0.5))(
        images, masks
    )
    assert shown.shape == shown_masks.shape == images.shape
    assert 0 <= float(shown.min()) <= float(shown.max()) <= 1
    assert set(shown_masks.unique().tolist()) <= {0.0, 1.0}


def test_nothing_drawn_nothing_changed() -> None:
    images, masks = torch.rand(2, 1, 16, 16), disc(2, 16)
    shown, shown_masks = draw(2, random(), STILL)(images, masks)
    torch.testing.assert_close(shown, images, atol=1e-4, rtol=0)
    assert torch.equal(shown_masks, masks)


def test_one_seed_one_augmentation_and_one_result() -> None:
    images = torch.rand(4, 1, 16, 16)
    first, again, other = draw(4, random(1)), draw(4, random(1)), draw(4, random(2))
    assert torch.equal(first(images, images)[0], again(images, images)[0])
    assert torch.equal(first(images, images)[0], first(images, images)[0])
    assert not torch.equal(first(images, images)[0], other(images, images)[0])


def test_global_random_numbers_are_left_alone() -> None:
    before = torch.get_rng_state()
    draw(2, random())(torch.rand(2, 1, 8, 8, generator=random()), disc(2, 8))
    assert torch.equal(torch.get_rng_state(), before)


def still(n: int = 1) -> Augmentation:
    return draw(n, random(), STILL)


def test_shift_moves_image_and_mask_alike() -> None:
    images = torch.zeros(1, 1, 16, 16)
    images[..., 4:8, 4:8] = 1
    moved = replace(still(), affine=torch.tensor([[[1.0, 0, -0.25], [0, 1, 0.5]]]))  # 2 px to the right, 4 px up
    shown, mask = moved(images, images)
    assert torch.equal(mask, images.roll((-4, 2), (2, 3)))
    torch.testing.assert_close(shown, mask, atol=2e-4, rtol=0)


def test_quarter_turn() -> None:
    images = torch.rand(1, 1, 8, 8)
    turned = replace(still(), affine=torch.tensor([[[0.0, -1, 0], [1, 0, 0]]]))
    torch.testing.assert_close(turned(images, images)[0], images.rot90(1, (2, 3)), atol=2e-4, rtol=0)


@pytest.mark.parametrize("field", ["gamma", "contrast"])
def test_gamma_and_contrast_by_hand(field: str) -> None:
    images = torch.tensor([0.2, 0.4, 0.6, 0.8]).view(1, 1, 2, 2)
    shown, _ = replace(still(), **{field: torch.full((1, 1, 1, 1), 0.5)})(images, images)
    expected = images.sqrt() if field == "gamma" else torch.tensor([0.35, 0.45, 0.55, 0.65]).view(1, 1, 2, 2)
    torch.testing.assert_close(shown, expected, atol=1e-4, rtol=0)


def test_noise_and_blur_have_the_size_asked_for() -> None:
    gray = torch.full((1, 1, 64, 64), 0.5)
    noisy, _ = replace(still(), noise=torch.full((1, 1, 1, 1), 0.05))(gray, gray)
    assert float(noisy.std()) == pytest.approx(0.05, rel=0.1)
    point = torch.zeros(1, 1, 128, 128)
    point[..., 64, 64] = 1
    spread = replace(still(), blur=1.0)(point, point)[0]
    assert float(spread.max()) == pytest.approx(0.159, abs=0.01)  # 1 / (2 pi sigma^2) at sigma 1


def test_parameters_stay_in_their_ranges_and_fill_them() -> None:
    drawn = draw(2000, random(), Ranges(gamma=0.5, contrast=0.2, noise=0.1, shift=0.1, rotate=0, scale=0))
    assert 0.6 < float(drawn.gamma.min()) < 0.63
    assert 1.6 < float(drawn.gamma.max()) < 1.65
    assert 0.8 <= float(drawn.contrast.min()) < 0.81
    assert float(drawn.noise.min()) >= 0
    assert 0.19 < float(drawn.affine[:, :, 2].abs().max()) <= 0.2  # of half a side
    assert draw(1, random(), replace(STILL, blur=1.0)).blur <= 1.0


def test_gradient_reaches_the_image() -> None:
    images = torch.rand(2, 1, 16, 16, requires_grad=True)
    draw(2, random())(images, disc(2, 16))[0].sum().backward()
    assert images.grad is not None
    assert bool(torch.isfinite(images.grad).all())
    assert float((images.grad != 0).float().mean()) > 0.5


def test_mirrored_on_demand_and_no_number_is_drawn_for_it_otherwise() -> None:
    images = torch.rand(2000, 1, 2, 8)
    shown = draw(2000, random(), replace(STILL, flip=0.5))(images, images)[1]
    turned = (shown == images.flip(3)).flatten(1).all(1)
    assert bool((turned | (shown == images).flatten(1).all(1)).all())
    assert 0.45 < float(turned.float().mean()) < 0.55
    before, after = random(3), random(3)
    first, same = draw(5, before), draw(5, after, Ranges(flip=0.0))
    assert torch.equal(first.affine, same.affine)
    assert (first.seed, before.get_state().tolist()) == (same.seed, after.get_state().tolist())
