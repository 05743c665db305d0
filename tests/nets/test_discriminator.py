"""One real/fake output for each cell of (source, class)."""

from __future__ import annotations

import pytest
import torch

from gan_explain.nets.discriminator import Discriminator, DiscriminatorConfig


@pytest.mark.parametrize(("resolution", "fold"), [(32, 1), (32, 2), (64, 4), (96, 4), (128, 2)])
@pytest.mark.parametrize("cells", [1, 5])
def test_a_logit_for_each_cell(resolution: int, fold: int, cells: int) -> None:
    net = Discriminator(DiscriminatorConfig(resolution=resolution, cells=cells, width=8, fold=fold))
    images = torch.rand(3, 1, resolution, resolution)
    assert net(images, torch.ones_like(images)).shape == (3, cells)


def test_cells_have_outputs_of_their_own() -> None:
    net = Discriminator(DiscriminatorConfig(resolution=32, cells=3, width=8))
    images = torch.rand(2, 1, 32, 32)
    net(images, torch.ones_like(images))[:, 1].sum().backward()
    assert net.head.weight.grad is not None
    assert [bool((row != 0).any()) for row in net.head.weight.grad] == [False, True, False]


def test_images_are_judged_one_by_one_and_with_their_lungs() -> None:
    net = Discriminator(DiscriminatorConfig(resolution=32, cells=2, width=8)).eval()
    images, masks = torch.rand(4, 1, 32, 32), (torch.rand(4, 1, 32, 32) > 0.5).float()
    together = net(images, masks)
    torch.testing.assert_close(torch.cat([net(images[i : i + 1], masks[i : i + 1]) for i in range(4)]), together)
    assert not torch.allclose(net(images, torch.ones_like(masks)), together)
