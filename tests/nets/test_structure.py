"""The structure generator: shapes, range, one image a code, and a prior that has the codes' mean and covariance."""

from __future__ import annotations

import pytest
import torch

from gan_explain.nets.structure import StructureConfig, StructureGenerator

CONFIG = StructureConfig(resolution=32, z_dim=6, width=4, max_width=16, first_width=8, encoder_width=8)


@pytest.fixture
def network() -> StructureGenerator:
    return StructureGenerator(CONFIG).requires_grad_(False).eval()


@pytest.mark.parametrize("resolution", [32, 64, 128])
def test_shape_range_and_determinism(resolution: int) -> None:
    network = StructureGenerator(CONFIG.model_copy(update={"resolution": resolution})).eval()
    z = torch.randn(2, 6)
    with torch.no_grad():
        images = network(z)
        assert images.shape == (2, 1, resolution, resolution)
        assert torch.equal(images, network.decode(z))
        assert 0 < float(images.min()) < float(images.max()) < 1
        assert not torch.equal(images[0], images[1])
        assert network.encode(images).shape == (2, 6)
        extreme = network(1000 * z)
    assert 0 <= float(extreme.min()) <= float(extreme.max()) <= 1


def test_what_is_said_of_one_image_does_not_depend_on_its_batch(network: StructureGenerator) -> None:
    images, z = torch.rand(3, 1, 32, 32), torch.randn(3, 6)
    torch.testing.assert_close(network.encode(images)[:1], network.encode(images[:1]), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(network(z)[:1], network(z[:1]), atol=1e-5, rtol=1e-4)


def test_images_of_another_size_are_brought_to_the_networks(network: StructureGenerator) -> None:
    assert network.encode(torch.rand(1, 1, 80, 80)).shape == (1, 6)


def test_a_filter_as_large_as_you_like_gives_the_same_image(network: StructureGenerator) -> None:
    z = torch.randn(1, 6)
    before = network(z)
    network.decoder.stay[0].weight.mul_(50)  # type: ignore[operator]
    torch.testing.assert_close(network(z), before, atol=1e-4, rtol=1e-3)


def test_the_prior_has_the_mean_and_covariance_of_the_codes(network: StructureGenerator) -> None:
    codes = torch.randn(500, 6) @ torch.randn(6, 6) + torch.arange(6.0)
    network.fit_prior(codes)
    torch.testing.assert_close(network.prior_scale @ network.prior_scale.T, torch.cov(codes.T), atol=1e-4, rtol=1e-4)
    drawn = network.sample(40000, torch.Generator().manual_seed(0), 1.0)
    torch.testing.assert_close(drawn.mean(0), codes.mean(0), atol=0.1, rtol=0)
    torch.testing.assert_close(torch.cov(drawn.T), torch.cov(codes.T), atol=0.3, rtol=0.1)


def test_truncation_draws_towards_the_mean(network: StructureGenerator) -> None:
    network.fit_prior(torch.randn(20, 6) + 3)
    whole, half, none = (network.sample(5, torch.Generator().manual_seed(0), t) for t in (1.0, 0.5, 0.0))
    torch.testing.assert_close(half - network.prior_mean, (whole - network.prior_mean) / 2)
    torch.testing.assert_close(none, network.prior_mean.expand(5, 6))


def test_fewer_codes_than_dimensions_make_a_flat_prior(network: StructureGenerator) -> None:
    codes = torch.zeros(3, 6)
    codes[:, 0] = torch.tensor([-1.0, 0.0, 1.0])
    network.fit_prior(codes)
    drawn = network.sample(10, torch.Generator().manual_seed(0))
    assert float(drawn[:, 1:].abs().max()) < 1e-5 < float(drawn[:, 0].abs().max())


def test_the_prior_travels_with_the_weights(network: StructureGenerator) -> None:
    network.fit_prior(torch.randn(20, 6) + 3)
    other = StructureGenerator(CONFIG)
    other.load_state_dict(network.state_dict())
    z = other.sample(2, torch.Generator().manual_seed(0))
    assert torch.equal(z, network.sample(2, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(other.eval()(z), network(z))  # the noise does too


@pytest.mark.parametrize("codes", [torch.zeros(1, 6), torch.zeros(4, 5), torch.zeros(4)])
def test_codes_of_another_shape(network: StructureGenerator, codes: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="expected codes"):
        network.fit_prior(codes)


@pytest.mark.parametrize("resolution", [16, 100])
def test_resolution_is_a_power_of_two(resolution: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        StructureConfig(resolution=resolution)


def test_the_default_is_small_enough_to_keep() -> None:
    with torch.device("meta"):
        network = StructureGenerator(StructureConfig())
    assert sum(p.numel() for p in network.decoder.parameters()) < 8e6
    assert sum(2 * value.numel() for value in network.state_dict().values()) < 14e6  # bytes in 16 bits
