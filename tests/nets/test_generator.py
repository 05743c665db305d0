"""The disentangler keeps its promises for any weights: what holds by construction is tested on random, large ones."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from gan_explain.lungs import darkest
from gan_explain.nets.generator import DARKEST, Disentangler, GeneratorConfig
from gan_explain.nets.layers import unit_strength
from gan_explain.optics import compose, take_off

SIDE, DIM = 64, 6
SIZES = [(64, 64), (32, 32), (100, 70), (150, 260)]


def network(wild: bool = True, **options: object) -> Disentangler:
    """A small generator; `wild` replaces all weights by large random ones."""
    small = {"resolution": SIDE, "grid": 32, "backbone": "small", "width": 8, "layer_width": 8, "code_dim": DIM}
    net = Disentangler(GeneratorConfig.model_validate(small | options))
    if wild:
        for parameter in net.parameters():
            nn.init.normal_(parameter, std=0.3)
    return net.requires_grad_(False).eval()


def lungs(n: int, size: tuple[int, int] = (SIDE, SIDE), width: float = 0.25) -> Tensor:
    """Two ellipses."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, size[0]), torch.linspace(-1, 1, size[1]), indexing="ij")
    return (((x.abs() - 0.35) / width).square() + (y / 0.5).square() < 1).float().expand(n, 1, *size)


def beyond_reach(masks: Tensor) -> Tensor:
    """What is further from the lungs than 6 of 32 cells: no soft border of a small grid goes there."""
    down, across = (-(-6 * side // 32) for side in masks.shape[-2:])
    return nn.functional.max_pool2d(masks, (2 * down + 1, 2 * across + 1), stride=1, padding=(down, across)) == 0


# -- reading ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_what_is_read_can_be_taken_off_an_image_of_any_size(size: tuple[int, int]) -> None:
    images, masks = torch.rand(2, 1, *size), lungs(2, size)
    tau = network().read(images, masks)
    assert tau.shape == images.shape
    assert float(tau.min()) >= 0
    assert float(take_off(images, tau).min()) >= 0
    outside = beyond_reach(masks)
    assert bool(outside.any())
    assert bool((tau[outside] == 0).all())


def test_no_structure_is_read_to_be_much_darker_than_clear_lung() -> None:
    """Clear lung of 0.3, disease of 0.8 and a reader that would take everything off."""
    images, masks = torch.full((1, 1, SIDE, SIDE), 0.8), lungs(1)
    images[..., SIDE // 2 :, :] = 0.3
    net = network(wild=False)
    nn.init.constant_(net.reader.head.bias, 50.0)  # type: ignore[arg-type]
    structure = take_off(images, net.read(images, masks))
    floor = DARKEST * 0.3
    assert darkest(images, masks).item() == pytest.approx(0.3, abs=1e-4)
    assert float(structure.min()) == pytest.approx(floor, abs=0.01)
    assert float(structure.min()) >= floor


def test_lungs_on_their_own_grid_are_read_as_lungs() -> None:
    """Masks are not blurred into numbers between 0 and 1 on the way to the reader."""
    assert set(network().frame_mask(lungs(2, (150, 260))).unique().tolist()) == {0, 1}


def test_a_new_reader_finds_hardly_anything() -> None:
    images, masks = torch.rand(4, 1, SIDE, SIDE), lungs(4)
    tau = network(wild=False).read(images, masks)
    assert float((tau * masks).sum() / masks.sum()) < 0.15


@pytest.mark.parametrize(
    "wrong", [torch.full((1, 1, 8, 8), 1.5), torch.full((1, 1, 8, 8), -0.1), torch.full((1, 1, 8, 8), torch.nan)]
)
def test_images_out_of_range_are_refused(wrong: Tensor) -> None:
    with pytest.raises(ValueError, match=r"expected finite images in \[0, 1\], got"):
        network().read(wrong, torch.ones(1, 1, 8, 8))


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (8, 8), (0, 1, 8, 8)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected images \(N, 1, H, W\) in \[0, 1\], got"):
        network().read(torch.rand(shape), torch.ones(1, 1, 8, 8))


def test_images_of_another_kind_are_refused() -> None:
    for wrong in (torch.ones(1, 1, 8, 8, dtype=torch.uint8), torch.ones(1, 1, 8, 8, dtype=torch.float64)):
        with pytest.raises(ValueError, match="expected float32 images"):
            network().read(wrong, torch.ones(1, 1, 8, 8))


@pytest.mark.parametrize(
    "wrong", [torch.ones(2, 1, 8, 8), torch.ones(1, 1, 8, 9), torch.full((1, 1, 8, 8), 2.0), torch.full((1, 1, 8, 8), torch.nan)]
)
def test_other_lungs_are_refused(wrong: Tensor) -> None:
    tau = torch.ones(1, 1, 8, 8)
    for ask in (network().read, network().encode, lambda x, y: network().move(x, y, tau)):
        with pytest.raises(ValueError, match="expected lungs"):
            ask(tau, wrong)


def test_codes_of_another_length_are_refused() -> None:
    for wrong in (torch.ones(1, DIM + 1), torch.ones(2, DIM), torch.ones(DIM)):
        with pytest.raises(ValueError, match=rf"expected codes \(1, {DIM}\), got"):
            network().layer(wrong, lungs(1))


# -- codes --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_no_code_no_layer_and_scaling_a_code_scales_its_layer(size: tuple[int, int]) -> None:
    net, masks, codes = network(), lungs(2, size), torch.randn(2, DIM)
    tau = net.layer(codes, masks)
    assert tau.shape == masks.shape
    assert float(tau.amax((1, 2, 3)).min()) > 0.1
    assert float(tau.min()) >= 0
    assert bool((tau[beyond_reach(masks)] == 0).all())
    assert torch.equal(net.layer(0 * codes, masks), torch.zeros_like(masks))
    for factor in (0.25, 3.0):
        torch.testing.assert_close(net.layer(factor * codes, masks), factor * tau)
    structure = torch.rand(2, 1, *size)
    torch.testing.assert_close(compose(structure, net.layer(1.7 * codes, masks)), compose(structure, tau, 1.7))


def test_codes_of_layers_have_strength_one_however_thick_the_layer() -> None:
    net, masks = network(), lungs(3)
    tau = net.layer(torch.randn(3, DIM), masks)
    for thickness in (1.0, 0.1, 20.0):
        strength = net.encode(thickness * tau, masks).square().mean(1).sqrt()
        torch.testing.assert_close(strength, torch.ones(3))


def test_a_code_does_not_depend_on_the_size_of_the_image() -> None:
    """The same layer in the same lungs, at 64 and at 256 pixels."""
    net, code = network(), torch.randn(1, DIM)
    small, large = (net.encode(net.layer(code, lungs(1, size)), lungs(1, size)) for size in ((64, 64), (256, 256)))
    assert float(torch.cosine_similarity(small, large)) > 0.99


def test_a_layer_moves_from_lungs_to_lungs() -> None:
    net = network()
    wide, narrow = lungs(1), lungs(1, (120, 90), width=0.15)
    tau = net.layer(torch.randn(1, DIM), wide)
    there = net.move(tau, wide, narrow)
    assert there.shape == narrow.shape
    assert bool((there[beyond_reach(narrow)] == 0).all())
    load, moved = (float((t * m).sum() / m.sum()) for t, m in ((tau, wide), (there, narrow)))
    assert moved == pytest.approx(load, rel=0.15)
    same = net.move(tau, wide, wide)
    assert float(torch.corrcoef(torch.stack([same.flatten(), tau.flatten()]))[0, 1]) > 0.95
    assert float(net.move(0 * tau, wide, narrow).abs().max()) == 0


# -- the prior ----------------------------------------------------------------------------------------------------------------


def draws(net: Disentangler, label: str = "covid", n: int = 400, seed: int = 0) -> Tensor:
    return net.prior(n, torch.Generator().manual_seed(seed), label)


def test_draws_have_strength_one_and_follow_the_seed() -> None:
    net = network()
    codes = draws(net)
    torch.testing.assert_close(codes.square().mean(1).sqrt(), torch.ones(400))
    assert torch.equal(codes, draws(net))
    assert not torch.equal(codes, draws(net, seed=1))


def test_draws_have_the_direction_and_the_spread_of_the_codes_of_their_label() -> None:
    """Codes about the first axis that vary along the second only."""
    net = network(labels=("covid", "pneumonia"))
    codes = torch.zeros(300, DIM)
    codes[:, 0], codes[:, 1] = 5.0, 2.0 * torch.randn(300)
    net.fit_prior("covid", codes)
    drawn = draws(net)
    assert float(drawn[:, 0].mean()) > 0.8 * math.sqrt(DIM)
    assert float(drawn[:, 1].std()) > 5 * float(drawn[:, 2].std())
    assert float(draws(net, "pneumonia")[:, 0].mean().abs()) < 0.2  # the other label's prior is untouched


def test_the_prior_is_part_of_the_weights() -> None:
    one, other = network(), network()
    one.fit_prior("covid", torch.randn(50, DIM))
    other.load_state_dict(one.state_dict())
    assert torch.equal(draws(one), draws(other))


def test_strength_of_the_codes_does_not_matter_to_the_prior() -> None:
    one, other, codes = network(), network(), torch.randn(50, DIM)
    one.fit_prior("covid", codes)
    other.fit_prior("covid", 7 * codes)
    torch.testing.assert_close(draws(one), draws(other))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_prior_of_few_codes_is_round_about_their_mean(n: int) -> None:
    net, codes = network(), torch.randn(n, DIM)
    net.fit_prior("covid", codes)
    drawn = draws(net)
    assert bool(torch.isfinite(drawn).all())
    centre = unit_strength(codes).mean(0)
    assert float(torch.cosine_similarity(drawn.mean(0), centre, dim=0)) > 0.9


def test_noise_is_followed_smoothly() -> None:
    net, noise = network(), torch.randn(3, DIM, requires_grad=True)
    (gradient,) = torch.autograd.grad(net.layer(net.from_noise(noise, "covid"), lungs(3)).sum(), noise)
    assert bool(torch.isfinite(gradient).all())
    assert float(gradient.abs().min(0).values.max()) > 0


def test_a_label_without_a_prior_is_refused() -> None:
    with pytest.raises(ValueError, match="no code prior for 'flu': expected one of covid"):
        draws(network(), "flu")


# -- configurations -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("resolution", "grid"), [(100, 50), (64, 64), (64, 4), (64, 30), (16, 8), (96, 40)])
def test_a_grid_that_does_not_fit_is_refused_in_one_line(resolution: int, grid: int) -> None:
    with pytest.raises(ValueError, match=rf"multiple of 32 and a grid of .* got {resolution} and {grid}$"):
        network(resolution=resolution, grid=grid)


@pytest.mark.parametrize("grid", [0, -32])
def test_a_grid_of_nothing_is_refused(grid: int) -> None:
    with pytest.raises(ValueError, match="grid"):
        network(grid=grid)


@pytest.mark.parametrize("wrong", [{"backbone": "resnet"}, {"confine": "free"}, {"code_dim": "many"}])
def test_what_is_no_configuration_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        network(**wrong)


@pytest.mark.parametrize(("resolution", "grid"), [(64, 32), (64, 16), (64, 8), (96, 48), (160, 20)])
def test_grids(resolution: int, grid: int) -> None:
    net = network(resolution=resolution, grid=grid)
    images, masks = torch.rand(1, 1, SIDE, SIDE), lungs(1)
    assert net.read(images, masks).shape == net.layer(torch.randn(1, DIM), masks).shape == images.shape
