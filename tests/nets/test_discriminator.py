"""One logit an image."""

from __future__ import annotations

import pytest
import torch

from gan_explain.nets.discriminator import Discriminator, DiscriminatorConfig


@pytest.mark.parametrize(("resolution", "fold"), [(32, 1), (32, 2), (64, 4), (96, 4), (128, 2)])
def test_a_logit_for_each_image_judged_by_itself(resolution: int, fold: int) -> None:
    net = Discriminator(DiscriminatorConfig(resolution=resolution, width=8, fold=fold)).eval()
    images = torch.rand(3, 1, resolution, resolution)
    together = net(images)
    assert together.shape == (3,)
    torch.testing.assert_close(torch.cat([net(each[None]) for each in images]), together)
    assert len(set(together.tolist())) == 3
