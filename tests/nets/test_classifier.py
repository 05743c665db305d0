"""Every architecture that has a name can be built and answers in the right shape."""

from __future__ import annotations

import pytest
import torch

from gan_explain.nets.classifier import ARCHITECTURES, THREE_CHANNELS, ClassifierConfig, build

OWN = sorted(set(ARCHITECTURES) - THREE_CHANNELS)


@pytest.mark.parametrize("arch", sorted(ARCHITECTURES))
@pytest.mark.parametrize("classes", [2, 3])
def test_shapes(arch: str, classes: int) -> None:
    channels = 3 if arch in THREE_CHANNELS else 1
    with torch.device("meta"):  # shapes alone: VGG16 is half a gigabyte
        net = build(ClassifierConfig(arch=arch, classes=classes, channels=channels)).eval()
        assert net(torch.rand(2, channels, 128, 128)).shape == (2, classes)


@pytest.mark.parametrize("arch", OWN)
@pytest.mark.parametrize(("channels", "size"), [(1, 32), (3, 96)])
def test_our_own_take_any_channels_and_sizes(arch: str, channels: int, size: int) -> None:
    net = build(ClassifierConfig(arch=arch, classes=3, channels=channels)).eval()
    images = torch.rand(2, channels, size, size)
    with torch.no_grad():
        logits = net(images)
        torch.testing.assert_close(net(images[1:]), logits[1:])
    assert logits.shape == (2, 3)
    assert not torch.allclose(logits[0], logits[1])


@pytest.mark.parametrize("arch", [arch for arch in OWN if arch.startswith("small")])
def test_small_ones_are_small(arch: str) -> None:
    assert sum(p.numel() for p in build(ClassifierConfig(arch=arch)).parameters()) < 1_000_000


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"unknown architecture 'resnet9000': expected one of small, .*efficientnet_b0"):
        build(ClassifierConfig(arch="resnet9000"))
