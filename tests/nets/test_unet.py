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


def test_a_resolution_that_does_not_halve_evenly() -> None:
    with pytest.raises(ValueError, match="multiple of 16, got 100"):
        UNet(UNetConfig(resolution=100))
