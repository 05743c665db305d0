"""Random views: in range, differentiable, the same for the same seed, never mirrored."""

from __future__ import annotations

import torch

from gan_explain.train.gan.views import SHOWN, ViewRanges, view

STILL = ViewRanges(rotate=0, zoom_in=0, shift=0, gamma=0, contrast=0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_no_range_is_no_change() -> None:
    images = torch.rand(3, 1, 16, 16)
    torch.testing.assert_close(view(images, seeded(), STILL), images, atol=1e-4, rtol=0)


def test_what_is_not_moved_keeps_its_pixels() -> None:
    images = torch.rand(40, 1, 16, 16)
    seen = view(images, seeded(), ViewRanges(gamma=0, contrast=0, moved=0.5))
    kept = (seen - images).abs().amax((1, 2, 3)) < 1e-4
    assert 0.3 < float(kept.float().mean()) < 0.7


def test_range_seed_and_gradient() -> None:
    images = torch.rand(8, 1, 32, 32, requires_grad=True)
    for ranges in (ViewRanges(), SHOWN):
        seen = view(images, seeded(), ranges)
        assert 0 <= float(seen.detach().min()) <= float(seen.detach().max()) <= 1
        assert torch.equal(seen, view(images, seeded(), ranges))
        assert not torch.equal(seen, view(images, seeded(1), ranges))
        (gradient,) = torch.autograd.grad(seen.sum(), images)
        assert bool((gradient != 0).any((1, 2, 3)).all())


def test_autocast_moves_no_pixel() -> None:
    images = torch.rand(4, 1, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        half = view(images, seeded(), SHOWN)
    assert torch.equal(half, view(images, seeded(), SHOWN))


def test_left_stays_left() -> None:
    images = torch.zeros(64, 1, 32, 32)
    images[..., :16] = 1
    seen = view(images, seeded(), SHOWN)
    assert bool((seen[..., :16].mean((1, 2, 3)) > seen[..., 16:].mean((1, 2, 3))).all())


def test_a_hole_is_a_square_of_zeros() -> None:
    seen = view(torch.ones(50, 1, 40, 40), seeded(), ViewRanges(0, 0, 0, 0, 0, 0, hole=0.25))
    share = (seen == 0).float().mean((1, 2, 3))
    assert float(share.max()) <= 0.25**2 + 1e-6
    assert float(share.mean()) > 0.4 * 0.25**2
