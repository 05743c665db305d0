"""The lung U-Net: a logit for each pixel, at every size that halves evenly."""

from __future__ import annotations

import pytest
import torch

from gan_explain.nets.unet import UNet, UNetConfig


@pytest.mark.parametrize(("resolution", "widths"), [(32, (4, 8)), (64, (4, 8, 12, 16)), (96, (24, 48, 96, 128)), (20, (4, 4))])
def test_shapes(resolution: int, widths: tuple[int, ...]) -> None:
    net = UNet(UNetConfig(resolution=resolution, widths=widths)).eval()
    with torch.no_grad():
        assert net(torch.rand(2, 1, resolution, resolution)).shape == (2, 1, resolution, resolution)


def test_every_pixel_depends_on_its_surroundings() -> None:
    net = UNet(UNetConfig(resolution=32, widths=(4, 8, 16))).eval()
    image = torch.rand(1, 1, 32, 32, requires_grad=True)
    net(image)[0, 0, 16, 16].backward()
    assert image.grad is not None
    assert int((image.grad != 0).sum()) > 200


def test_encoder_and_decoder_are_the_network() -> None:
    net = UNet(UNetConfig(resolution=32, widths=(4, 8, 16))).eval()
    image = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        features = net.encode(2 * image - 1)
        assert [tuple(each.shape[1:]) for each in features] == [(4, 16, 16), (8, 8, 8), (16, 4, 4)]
        assert torch.equal(net.decode(features), net(image))
        features[-1] = features[-1] + 1  # the decoder reads the deepest features
        assert not torch.equal(net.decode(features), net(image))


def test_more_channels_than_one() -> None:
    net = UNet(UNetConfig(resolution=32, widths=(4, 8), channels=3)).eval()
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert net(image).shape == (1, 1, 32, 32)
        assert not torch.allclose(net(image), net(image.flip(1)))


def test_a_resolution_that_does_not_halve_evenly() -> None:
    with pytest.raises(ValueError, match="multiple of 16, got 100"):
        UNet(UNetConfig(resolution=100))
