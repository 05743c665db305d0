"""The free map: signed, of any size, unconfined, and hardly anything before it is trained."""

from __future__ import annotations

import pytest
import torch

from gan_explain.nets.free import FreeConfig, FreeMap
from gan_explain.optics import compose


def small() -> FreeMap:
    return FreeMap(FreeConfig(resolution=32, width=8)).requires_grad_(False).eval()


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (50, 37)])
def test_a_map_comes_in_the_size_of_its_image(size: tuple[int, int]) -> None:
    images = torch.rand(2, 1, *size)
    tau = small().layer(images)
    assert tau.shape == images.shape
    assert float(tau.abs().max()) < 0.5
    assert bool((compose(images, tau) >= 0).all())
    assert bool((compose(images, tau) <= 1).all())


def test_it_brightens_and_darkens_up_to_the_border() -> None:
    network, images = small(), torch.rand(1, 1, 64, 64)
    signs = []
    for bias in (0.3, -0.3):
        torch.nn.init.constant_(network.head.bias, bias)  # type: ignore[arg-type]
        torch.nn.init.zeros_(network.head.weight)
        tau = network.layer(images)
        torch.testing.assert_close(tau, torch.full_like(tau, bias))
        signs.append(bool((compose(images, tau) > images).all()))
    assert signs == [True, False]


def test_a_map_is_smooth() -> None:
    """It is enlarged from half of the resolution: neighbours at the size of a radiograph differ by little."""
    network = small()
    torch.nn.init.normal_(network.head.weight)
    tau = network.layer(torch.rand(1, 1, 256, 256))
    assert float(tau.diff(dim=-1).abs().max()) < 0.2 * float(tau.amax() - tau.amin())


def test_images_are_mapped_one_by_one() -> None:
    network, images = small(), torch.rand(3, 1, 32, 32)
    torch.testing.assert_close(torch.cat([network.layer(each[None]) for each in images]), network.layer(images))


@pytest.mark.parametrize("wrong", [{"resolution": 40}, {"width": 12}])
def test_what_cannot_be_built_is_refused_in_one_line(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"expected a resolution that is a multiple of 16 and a width .* got \d+ and \d+$"):
        FreeMap(FreeConfig(**wrong))
