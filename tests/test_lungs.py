"""Lungs as coordinates: a place means the same in every pair of lungs, and a layer goes from one pair to another and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_explain.data.phantom import render_phantom
from gan_explain.lungs import (
    COLUMNS,
    MARGIN,
    ROWS,
    SOFT,
    LungFrame,
    darkest,
    enlarge,
    lung_coordinates,
    shrink,
    split_lungs,
    support,
)

GRID = 64


def ellipses(
    size: tuple[int, int] = (64, 64),
    across: tuple[float, ...] = (-0.45, 0.45),
    down: float = 0.0,
    half: tuple[float, float] = (0.7, 0.3),
) -> Tensor:
    """Lungs (1, 1, H, W): an ellipse at each place across, with half axes (down, across); the image is [-1, 1] squared."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, size[0]), torch.linspace(-1, 1, size[1]), indexing="ij")
    inside = [((x - centre) / half[1]).square() + ((y - down) / half[0]).square() < 1 for centre in across]
    return torch.stack(inside).any(0).float()[None, None]


def canonical() -> Tensor:
    """Maps (1, 2, ROWS, COLUMNS) that are smooth functions of the place: 0 and 1 at the borders of a lung; half on the right."""
    down, across = ((torch.arange(n) + 0.5) / n * (1 + 2 * MARGIN) - MARGIN for n in (ROWS, COLUMNS))
    left = 0.5 + 0.4 * torch.sin(3 * down)[:, None] + 0.3 * across[None]
    return torch.stack([left, 0.5 * left])[None]


def bump(down: float, across: float, side: int) -> Tensor:
    """Maps with one spot at a place of one lung."""
    y, x = ((torch.arange(n) + 0.5) / n * (1 + 2 * MARGIN) - MARGIN for n in (ROWS, COLUMNS))
    maps = torch.zeros(1, 2, ROWS, COLUMNS)
    maps[:, side] = torch.exp(-(((y[:, None] - down) / 0.1).square() + ((x[None] - across) / 0.15).square()))
    return maps


def well_inside(maps: Tensor) -> Tensor:
    """Of canonical maps, what lies away from corners, where a lung's border is too soft to be undone."""
    return maps[..., 6:-6, 4:-4]


def centroid(tau: Tensor) -> tuple[float, float]:
    """Of a layer (1, 1, H, W), down and across, in [-1, 1]."""
    y, x = (torch.linspace(-1, 1, n) for n in tau.shape[-2:])
    weight = tau[0, 0] / tau.sum()
    return float((weight.sum(1) * y).sum()), float((weight.sum(0) * x).sum())


# -- the soft border ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [64, 128, 256])
def test_support_is_half_at_a_straight_border_and_nothing_beyond_its_reach(side: int) -> None:
    lungs = torch.zeros(1, 1, side, side)
    lungs[..., side // 2 :] = 1
    soft = support(lungs)
    reach = int(3 * max(SOFT * side, 0.5) + 0.5)
    edge = side // 2
    assert float((soft[..., edge - 1] + soft[..., edge]).mean() / 2) == pytest.approx(0.5, abs=1e-5)
    assert bool((soft[..., : edge - reach] == 0).all())
    torch.testing.assert_close(soft[..., edge + reach :], torch.ones_like(soft[..., edge + reach :]))
    assert bool((soft.diff(dim=-1) >= -1e-6).all())
    assert float(soft[..., edge - reach].min()) > 0


def test_support_of_nothing_is_nothing_and_of_everything_is_everything() -> None:
    assert float(support(torch.zeros(1, 1, 32, 32)).abs().max()) == 0
    torch.testing.assert_close(support(torch.ones(1, 1, 32, 32)), torch.ones(1, 1, 32, 32))


# -- left and right -----------------------------------------------------------------------------------------------------------


def test_two_regions_are_two_lungs_and_specks_are_none() -> None:
    mask = ellipses()[0, 0].numpy() > 0.5
    left, right = split_lungs(mask)
    assert left.sum() == right.sum() == mask.sum() / 2
    mask[2, 30] = mask[60, 3] = True
    again = split_lungs(mask)
    assert (again[0] == left).all()
    assert (again[1] == right).all()


@pytest.mark.parametrize("present", [0, 1])
def test_one_lung_is_not_cut_in_two(present: int) -> None:
    mask = ellipses(across=((-0.45, 0.45)[present],))[0, 0].numpy() > 0.5
    sides = split_lungs(mask)
    assert (sides[present] == mask).all()
    assert not sides[1 - present].any()


def test_no_lungs_are_two_empty_ones() -> None:
    assert not any(side.any() for side in split_lungs(np.zeros((8, 8), bool)))


# -- canonical coordinates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lungs",
    [
        ellipses(),
        ellipses(down=0.2),
        ellipses(half=(0.45, 0.2)),
        ellipses((128, 128)),
        ellipses((64, 96)),
        ellipses((150, 90), half=(0.8, 0.35)),
    ],
    ids=["as it is", "lower", "small", "large image", "wide image", "tall image"],
)
def test_a_function_of_the_place_survives_the_way_into_the_image_and_back(lungs: Tensor) -> None:
    frame, maps = LungFrame(lungs, GRID), canonical()
    tau = frame.to_image(maps)
    assert tau.shape == (1, 1, GRID, GRID)
    again = frame.to_canonical(tau)
    assert again.shape == maps.shape
    torch.testing.assert_close(well_inside(again), well_inside(maps), atol=0.01, rtol=0)
    inside = (frame.supports.sum(1, keepdim=True) > 0.5).float()
    back = frame.to_image(again)
    assert float(((back - tau) * inside).abs().mean() / (tau * inside).mean()) < 0.01


@pytest.mark.parametrize("index", range(3))
def test_disease_of_a_patient_survives_it_too(index: int) -> None:
    """The layer of a phantom comes back; its load to one in thirty: what lies at the border is taken from further in."""
    phantom = render_phantom(0, index, GRID, "covid", 0.6)
    lungs, tau = (torch.from_numpy(each).float()[None, None] for each in (phantom.lungs, phantom.tau))
    frame = LungFrame(lungs, GRID)
    back = frame.to_image(frame.to_canonical(tau))
    assert float((back * lungs).sum() / (tau * lungs).sum()) == pytest.approx(1, abs=0.033)
    assert float(torch.corrcoef(torch.stack([back.flatten(), tau.flatten()]))[0, 1]) > 0.97


def test_a_place_is_where_it_should_be() -> None:
    """Halfway down a lung is the middle of its ellipse; 0 is the apex; inner and outer are those of each side."""
    frame = LungFrame(ellipses(), GRID)
    for side, sign in ((0, -1), (1, 1)):
        y, x = centroid(frame.to_image(bump(0.5, 0.5, side)))
        assert (y, x) == pytest.approx((0, sign * 0.45), abs=0.03)
        assert centroid(frame.to_image(bump(0.2, 0.5, side)))[0] < -0.3
        inner, outer = (abs(centroid(frame.to_image(bump(0.5, across, side)))[1]) for across in (0.2, 0.8))
        assert inner == pytest.approx(0.45 - 0.3 * 0.6, abs=0.04)
        assert outer == pytest.approx(0.45 + 0.3 * 0.6, abs=0.04)


def test_mirrored_lungs_give_mirrored_maps() -> None:
    lungs = torch.maximum(ellipses(across=(-0.45,)), ellipses(across=(0.5,), half=(0.5, 0.25)))
    tau = torch.rand(1, 1, GRID, GRID) * lungs
    maps = LungFrame(lungs, GRID).to_canonical(tau)
    mirrored = LungFrame(lungs.flip(-1), GRID).to_canonical(tau.flip(-1))
    torch.testing.assert_close(mirrored, maps.flip(1), atol=1e-4, rtol=1e-4)


def test_a_layer_goes_along_with_lungs_that_are_elsewhere_or_of_another_size() -> None:
    frame = LungFrame(ellipses(), GRID)
    tau = frame.to_image(bump(0.7, 0.6, 0) + 0.5 * bump(0.3, 0.4, 1))
    y, x = centroid(tau)
    maps = frame.to_canonical(tau)
    again = frame.to_image(maps)  # in the same lungs
    assert float((again - tau).abs().sum() / tau.sum()) < 0.08  # two interpolations blunt a narrow spot a little
    assert centroid(again) == pytest.approx((y, x), abs=0.01)
    lower = LungFrame(ellipses(down=0.2), GRID).to_image(maps)
    assert centroid(lower) == pytest.approx((y + 0.2, x), abs=0.02)
    assert float(lower.sum() / tau.sum()) == pytest.approx(1, abs=0.03)
    small = LungFrame(ellipses(half=(0.49, 0.21)), GRID).to_image(maps)
    assert centroid(small)[0] == pytest.approx(0.7 * y, abs=0.02)
    assert float(small.sum() / tau.sum()) == pytest.approx(0.49, rel=0.1)  # of the area
    assert float(small.max()) == pytest.approx(float(tau.max()), rel=0.1)  # not of the thickness


@pytest.mark.parametrize("present", [0, 1])
def test_nothing_is_laid_on_a_lung_that_is_missing(present: int) -> None:
    lungs = ellipses(across=((-0.45, 0.45)[present],))
    frame = LungFrame(lungs, GRID)
    assert float(frame.supports[:, 1 - present].max()) == 0
    tau = frame.to_image(torch.ones(1, 2, ROWS, COLUMNS))
    torch.testing.assert_close(tau, support(lungs))
    maps = frame.to_canonical(tau)
    assert float(maps[:, 1 - present].abs().max()) == 0
    torch.testing.assert_close(well_inside(maps[:, present]), torch.ones_like(well_inside(maps[:, present])), atol=0.01, rtol=0)


def test_without_lungs_there_is_no_layer() -> None:
    frame = LungFrame(torch.zeros(2, 1, 40, 40), 32)
    assert float(frame.to_image(torch.ones(2, 2, ROWS, COLUMNS)).abs().max()) == 0
    assert float(frame.to_canonical(torch.ones(2, 1, 40, 40)).abs().max()) == 0
    assert LungFrame(torch.zeros(0, 1, 40, 40), 32).to_image(torch.ones(0, 2, ROWS, COLUMNS)).shape == (0, 1, 32, 32)


def test_a_layer_is_laid_at_any_size_and_stays_within_reach_of_the_lungs() -> None:
    frame, lungs = LungFrame(ellipses((300, 200)), GRID), ellipses((300, 200))
    tau = frame.to_image(canonical(), (300, 200))
    assert tau.shape == (1, 1, 300, 200)
    assert float(tau.min()) >= 0
    far = torch.nn.functional.max_pool2d(lungs, 51, stride=1, padding=25) == 0
    assert float(tau[far].abs().max()) == 0


def test_a_layer_depends_smoothly_on_its_map_and_each_patient_on_his_own() -> None:
    lungs, maps = torch.cat([ellipses(), ellipses(down=0.2)]), torch.rand(2, 2, ROWS, COLUMNS, requires_grad=True)
    both = LungFrame(lungs, GRID).to_image(maps)
    torch.testing.assert_close(both[1:], LungFrame(lungs[1:], GRID).to_image(maps[1:]))
    (gradient,) = torch.autograd.grad(both[0].sum(), maps)
    assert float(gradient[0].min()) >= 0
    assert float(gradient[1].abs().max()) == 0


@pytest.mark.parametrize("shape", [(64, 64), (1, 64, 64), (1, 2, 64, 64)])
def test_lungs_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected lungs \(N, 1, H, W\) in {0, 1}, got \("):
        LungFrame(torch.ones(shape), GRID)


# -- clear lung ---------------------------------------------------------------------------------------------------------------


def test_darkest_is_the_clear_lung_of_each_radiograph() -> None:
    """Of each image a tenth of the lungs is clear, at 0.2 and 0.4; what is darker outside the lungs does not count."""
    lungs = torch.zeros(2, 1, 64, 64)
    lungs[..., 16:48, 16:56] = 1
    images = torch.full((2, 1, 64, 64), 0.05) * (1 - lungs) + 0.8 * lungs
    images[0, :, 16:48, 16:20], images[1, :, 16:48, 16:20] = 0.2, 0.4
    found = darkest(images, lungs)
    assert found.shape == (2, 1, 1, 1)
    assert found.flatten().tolist() == pytest.approx([0.2, 0.4])


def test_one_dark_pixel_is_not_clear_lung_and_no_lungs_have_none() -> None:
    image, lungs = torch.full((1, 1, 128, 96), 0.7), ellipses((128, 96))
    image[..., 64, 26] = 0
    assert darkest(image, lungs).item() == pytest.approx(0.7, abs=1e-4)
    assert darkest(image, torch.zeros_like(lungs)).item() == 0


# -- grids --------------------------------------------------------------------------------------------------------------------


def test_shrinking_is_a_mean_over_cells() -> None:
    ramp = torch.arange(64.0).expand(1, 1, 64, 64)
    torch.testing.assert_close(shrink(ramp, 64), ramp)
    torch.testing.assert_close(shrink(ramp, 16)[..., 2:-2], ramp.view(1, 1, 64, 16, 4).mean(-1)[..., :16, 2:-2])
    assert float(shrink(torch.rand(1, 1, 50, 30), 8).mean()) == pytest.approx(0.5, abs=0.05)


def test_what_is_nothing_around_a_place_stays_nothing_when_enlarged() -> None:
    layer = torch.zeros(1, 1, 16, 16)
    layer[..., 8, 8] = 1
    large = enlarge(layer, (160, 80))
    assert large.shape == (1, 1, 160, 80)
    assert float(large.min()) == 0
    assert float(large.max()) == pytest.approx(1, abs=0.05)
    assert float(large[..., :60, :].abs().max()) == float(large[..., :30].abs().max()) == 0
    assert torch.equal(enlarge(layer, (16, 16)), layer)


def test_coordinates_do_not_depend_on_where_the_lungs_are() -> None:
    """Two lungs, the second pair the first moved by 8 pixels: coordinates move along."""
    lungs = torch.zeros(1, 1, 64, 64)
    lungs[..., 16:40, 12:44] = 1
    moved = lungs.roll((8, 8), (2, 3))
    first, second = lung_coordinates(lungs, 64), lung_coordinates(moved, 64)
    torch.testing.assert_close(first[..., 16:40, 12:44], second[..., 24:48, 20:52], atol=0.02, rtol=0)
    inside = first[..., 16:40, 12:44]
    assert inside.mean((2, 3)).abs().max().item() < 0.02
    torch.testing.assert_close(inside.square().mean((2, 3)), torch.ones(1, 2), atol=0.03, rtol=0)
    torch.testing.assert_close(lung_coordinates(torch.zeros_like(lungs), 64), lung_coordinates(torch.ones_like(lungs), 64))


def test_a_rim_at_the_border_is_not_carried_on() -> None:
    """A bright line along the border of a lung, as the chest wall gives, is not moved: the place inside it is."""
    lungs = ellipses()
    frame = LungFrame(lungs, GRID)
    maps = canonical() * 0 + 0.2
    rim = maps.clone()
    rim[..., :4, :] = rim[..., -4:, :] = rim[..., :, :2] = rim[..., :, -2:] = 3.0
    assert float(frame.to_image(rim).max()) < 0.25
