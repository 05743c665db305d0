"""The disentangler keeps its promises for any weights: what holds by construction is tested on random, large ones."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gan_explain.nets.generator import Disentangler, GeneratorConfig, unit_strength
from gan_explain.optics import compose

SIZE, DIM = 64, 6


def network(confine: str = "lungs", resolution: int = SIZE, wild: bool = True, **options: object) -> Disentangler:
    """A small generator; `wild` replaces all weights by large random ones."""
    settings = {"resolution": resolution, "confine": confine, "width": 8, "code_dim": DIM, **options}
    net = Disentangler(GeneratorConfig.model_validate(settings))
    if wild:
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return net.requires_grad_(False).eval()


def lungs(n: int, size: int = SIZE) -> Tensor:
    """Two ellipses."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    return (((x.abs() - 0.45) / 0.35).square() + (y / 0.7).square() < 1).float().expand(n, 1, size, size)


def inputs(n: int = 2, size: int = SIZE) -> tuple[Tensor, Tensor, Tensor]:
    """Structures, codes and lungs."""
    return torch.rand(n, 1, size, size), torch.randn(n, DIM), lungs(n, size)


@pytest.mark.parametrize("confine", ["lungs", "free"])
def test_strength_zero_is_the_structure_to_the_bit(confine: str) -> None:
    structure, code, masks = inputs()
    tau = network(confine).layer(structure, code, masks)
    assert float(tau.abs().max()) > 0.1
    assert torch.equal(compose(structure, tau, 0.0), structure)


@pytest.mark.parametrize("confine", ["lungs", "free"])
def test_no_code_no_layer(confine: str) -> None:
    structure, code, masks = inputs()
    tau = network(confine).layer(structure, code * torch.tensor([[0.0], [1.0]]), masks)
    assert bool((tau[0] == 0).all())
    assert bool((tau[1] != 0).any())


@pytest.mark.parametrize("confine", ["lungs", "free"])
def test_scaling_the_code_scales_the_layer(confine: str) -> None:
    net, (structure, code, masks) = network(confine), inputs()
    tau = net.layer(structure, code, masks)
    for factor in (0.25, 3.0):
        torch.testing.assert_close(net.layer(structure, factor * code, masks), factor * tau)
    torch.testing.assert_close(compose(structure, net.layer(structure, 1.7 * code, masks)), compose(structure, tau, 1.7))


def test_confined_layers_leave_the_outside_alone() -> None:
    net, (structure, code, masks) = network(), inputs()
    tau = net.layer(structure, 5 * code, masks)
    outside = masks == 0
    assert bool((tau[outside] == 0).all())
    assert torch.equal(compose(structure, tau, 3.0)[outside], structure[outside])
    assert bool((tau >= 0).all())


def test_confined_removal_leaves_the_outside_alone() -> None:
    images, _, masks = inputs()
    removal = network().remove(images, masks)
    outside = masks == 0
    assert torch.equal(removal.structure[outside], images[outside])
    assert float((removal.structure - images)[~outside].abs().mean()) > 0.01
    assert bool((removal.tau >= 0).all())
    assert removal.clamped.shape == (2,)
    assert float(removal.clamped.max()) <= float(masks[0].mean())


def test_free_layers_brighten_and_darken_anywhere() -> None:
    structure, code, masks = inputs()
    tau = network("free").layer(structure, code, masks)
    outside = tau[masks == 0]
    assert float(outside.max()) > 0.05
    assert float(outside.min()) < -0.05


@pytest.mark.parametrize("confine", ["lungs", "free"])
def test_layers_are_bounded(confine: str) -> None:
    net, (structure, code, masks) = network(confine), inputs()
    for head in (net.tau_added, net.tau_removed):
        torch.nn.init.constant_(head.bias, 50.0)  # type: ignore[arg-type]
    bound, thickest = net.config.max_tau, net.layer(structure, unit_strength(code), masks).abs().max().item()
    assert 0.99 * bound < thickest < 1.001 * bound
    assert 1.98 * bound < net.remove(structure, masks).tau.abs().max().item() < 2.002 * bound


def test_layers_cannot_carry_pixel_noise() -> None:
    """Next to nothing of a free layer's energy is above half of the Nyquist frequency."""
    structure, code, masks = inputs()
    tau = network("free").layer(structure, code, masks)[:, 0]
    window = torch.hann_window(SIZE)
    energy = torch.fft.fft2((tau - tau.mean((1, 2), keepdim=True)) * window * window[:, None]).abs().square().mean(0)
    frequency = torch.fft.fftfreq(SIZE).abs()
    high = torch.maximum(frequency, frequency[:, None]) > 0.25
    assert float(energy[high].sum() / energy.sum()) < 1e-3


def test_a_new_network_starts_from_a_thin_haze() -> None:
    structure, code, masks = inputs()
    tau = network(wild=False, initial_tau=0.1).layer(structure, unit_strength(code), masks)
    assert 0.05 < float(tau[masks > 0].mean()) < 0.12
    assert float(network(wild=False).remove_and_read(structure, masks)[3].abs().max()) == 0  # and without a residual


def test_residual_can_be_switched_off() -> None:
    net, (images, _, masks) = network(residual=0.0), inputs()
    assert net.residual is None
    assert bool((net.remove_and_read(images, masks)[3] == 0).all())


@pytest.mark.parametrize("size", [32, 64, 96, 128, 256])
def test_resolutions(size: int) -> None:
    net, (images, code, masks) = network(resolution=size), inputs(1, size)
    assert net.layer(images, code, masks).shape == images.shape
    removal, mean, log_variance, residual = net.remove_and_read(images, masks)
    assert removal.structure.shape == removal.tau.shape == residual.shape == images.shape
    assert mean.shape == log_variance.shape == (1, DIM)
    assert 0 <= float(removal.structure.min()) <= float(removal.structure.max()) <= 1
    assert torch.equal(net.encode(images, masks), mean)


@pytest.mark.parametrize(("size", "multiple"), [(0, 32), (16, 32), (-64, 32), (100, 32), (416, 64), (480, 64)])
def test_resolutions_that_do_not_halve_evenly_are_refused(size: int, multiple: int) -> None:
    with pytest.raises(ValueError, match=f"multiple of {multiple}, got {size}"):
        network(resolution=size, wild=False)


@pytest.mark.parametrize("size", [160, 224, 320, 352, 384, 448, 512])
def test_large_resolutions(size: int) -> None:
    with torch.device("meta"):  # shapes alone
        net = Disentangler(GeneratorConfig(resolution=size, width=8))
        image = torch.rand(1, 1, size, size)
        assert net.layer(image, torch.rand(1, 16), image).shape == image.shape
        assert net.remove(image, image).structure.shape == image.shape


# -- the prior ----------------------------------------------------------------------------------------------------------------


def draws(net: Disentangler, label: str = "covid", n: int = 400, seed: int = 0) -> Tensor:
    return net.prior(n, torch.Generator().manual_seed(seed), label)


def test_draws_have_strength_one_and_follow_the_seed() -> None:
    net = network()
    codes = draws(net)
    torch.testing.assert_close(codes.square().mean(1).sqrt(), torch.ones(400))
    assert torch.equal(codes, draws(net))
    assert not torch.equal(codes, draws(net, seed=1))


def test_draws_have_the_direction_and_the_spread_of_the_codes() -> None:
    """Codes about the first axis that vary along the second only."""
    net = network(labels=("covid", "pneumonia"))
    codes = torch.zeros(300, DIM)
    codes[:, 0], codes[:, 1] = 5.0, 2.0 * torch.randn(300)
    net.fit_prior("covid", codes)
    drawn = draws(net)
    assert float(drawn[:, 0].mean()) > 0.8 * math.sqrt(DIM)
    assert float(drawn[:, 1].std()) > 5 * float(drawn[:, 2].std())
    assert float(draws(net, "pneumonia")[:, 0].mean().abs()) < 0.2  # the other label's prior is untouched


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


def test_a_label_without_a_prior_is_refused() -> None:
    with pytest.raises(ValueError, match="no code prior for 'flu': expected one of covid"):
        draws(network(), "flu")
