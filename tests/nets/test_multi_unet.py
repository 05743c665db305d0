"""The U-Net with two outputs: one encoder, a decoder for the lungs, a head whose logits are the means of its activation maps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gan_explain.nets.multi_unet import MultiUNet

SMALL = (4, 8, 12)


def network(classes: int = 3, channels: int = 1) -> MultiUNet:
    net = MultiUNet(classes, channels, widths=SMALL).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # not an identity
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
    return net


@pytest.mark.parametrize(("classes", "channels", "size"), [(2, 1, 32), (4, 3, 48)])
def test_two_outputs_and_the_one_that_makes_it_a_target(classes: int, channels: int, size: int) -> None:
    net, x = network(classes, channels), torch.randn(2, channels, size, size)
    lungs, logits = net.outputs(x)
    assert lungs.shape == (2, 1, size, size)
    assert logits.shape == (2, classes)
    assert torch.equal(net(x), logits)


def test_a_logit_is_the_mean_of_its_activation_map_and_the_bias() -> None:
    net, seen = network(), list[Tensor]()
    net.unet.down[-1].register_forward_hook(lambda module, given, output: seen.append(output))
    logits = net(torch.randn(2, 1, 48, 48))
    linear = net.head[-1]
    assert isinstance(linear, torch.nn.Linear)
    maps = torch.einsum("kc,nchw->nkhw", linear.weight, seen[0])
    assert maps.shape == (2, 3, 6, 6)
    torch.testing.assert_close(maps.mean((2, 3)) + linear.bias, logits)


def test_its_unet_alone_segments_the_same_lungs() -> None:
    net, images = network(), torch.rand(2, 1, 32, 32)
    lungs, _ = net.outputs((images - 0.5) / 0.25)
    torch.testing.assert_close(net.unet(images), lungs)


def test_to_classify_no_decoder_is_run_and_none_learns() -> None:
    net, ran = network(), list[bool]()
    net.unet.head.register_forward_hook(lambda module, given, output: ran.append(True))
    net(torch.randn(1, 1, 32, 32)).sum().backward()
    assert not ran
    assert all(p.grad is None for p in [*net.unet.up.parameters(), *net.unet.head.parameters()])
    assert all(p.grad is not None for p in [*net.unet.stem.parameters(), *net.unet.down.parameters()])


def test_the_encoder_learns_from_masks_too() -> None:
    net = network()
    net.outputs(torch.randn(1, 1, 32, 32))[0].sum().backward()
    assert net.unet.stem[0][0].weight.grad is not None
    assert float(net.unet.stem[0][0].weight.grad.abs().sum()) > 0
    assert all(p.grad is None for p in net.head.parameters())
