"""The CycleGAN's networks: shapes, range, what they do before training, the size of a patch."""

from __future__ import annotations

import pytest
import torch

from gan_explain.nets.cyclegan import CycleGan, CycleGanConfig, PatchDiscriminator, ResnetGenerator, multiply_adds
from gan_explain.optics import compose

TINY = CycleGanConfig(resolution=32, width=8, blocks=1, judge_width=8)


@pytest.mark.parametrize("fold", [2, 4, 8])
def test_both_directions_keep_shape_and_range_whatever_the_weights(fold: int) -> None:
    network = CycleGan(TINY.model_copy(update={"fold": fold}))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(30)
        images = torch.rand(3, 1, 32, 32)
        images[:, :, :8] = 0  # a black border
        images[:, :, -8:] = 1  # and a white one
        for translated in (network.to_positive(images), network.to_negative(images)):
            assert translated.shape == images.shape
            assert 0 <= translated.min() < translated.max() <= 1
            assert not torch.equal(translated, images)


def test_an_untrained_network_is_close_to_the_identity() -> None:
    images = torch.rand(2, 1, 64, 64)
    network = CycleGan(CycleGanConfig(resolution=64))
    with torch.no_grad():
        assert 0 < (network.to_positive(images) - images).abs().mean() < 0.1
        torch.testing.assert_close(network(images), compose(images, network.adder.layer(images)))


@pytest.mark.parametrize("bias", [0.001, -0.001])
def test_doing_nothing_is_not_a_trap(bias: float) -> None:
    """A network that hardly changes its input has a full gradient either way; a sigmoid's would have vanished."""
    network = ResnetGenerator(TINY)
    torch.nn.init.zeros_(network.head.weight)
    torch.nn.init.constant_(network.head.bias, bias)  # type: ignore[arg-type]
    images = torch.full((1, 1, 32, 32), 0.5)
    output = network(images)
    torch.testing.assert_close(output, images, atol=0.001, rtol=0)
    output.mean().backward()
    gradient = dict(network.named_parameters())["head.bias"].grad
    assert gradient is not None
    assert gradient.sum().item() == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize("shape", [(1, 32, 32), (1, 3, 32, 32), (1, 1, 64, 64), (1, 1, 32, 16)])
def test_another_shape_is_refused_with_what_was_expected(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected images \(N, 1, 32, 32\) in \[0, 1\], got \("):
        CycleGan(TINY).to_negative(torch.zeros(shape))


@pytest.mark.parametrize("change", [{"fold": 3}, {"resolution": 34}, {"resolution": 8}])
def test_an_impossible_configuration_is_refused(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="multiple of the fold"):
        CycleGan(TINY.model_copy(update=change))


@pytest.mark.parametrize(("resolution", "patch"), [(32, 16), (64, 34), (128, 70)])
def test_a_logit_sees_a_patch_of_twice_the_papers_share(resolution: int, patch: int) -> None:
    """Instance norm sees the whole image, so it is left out of the count."""
    judge = PatchDiscriminator(CycleGanConfig(resolution=resolution, judge_width=4)).eval()
    for module in judge.layers:
        if isinstance(module, torch.nn.InstanceNorm2d):
            module.forward = lambda input: input  # type: ignore[method-assign, assignment]
    images = torch.rand(1, 1, resolution, resolution, requires_grad=True)
    logits = judge(images)
    side = logits.shape[-1]
    logits[0, 0, side // 2, side // 2].backward()
    assert images.grad is not None
    seen = images.grad[0, 0].abs() > 0
    assert (int(seen.any(0).sum()), int(seen.any(1).sum())) == (patch, patch)


def test_multiply_adds_of_a_network_counted_by_hand() -> None:
    config = CycleGanConfig(resolution=64, width=8, blocks=1, judge_width=8)
    counted = multiply_adds(config)
    assert counted["generator"] == 16 * 16 * 9 * (16 * 8 + 2 * 8 * 8 + 8 * 4)
    assert counted["discriminator"] == 16 * (32 * 32 * 8 + 16 * 16 * 8 * 16 + 15 * 15 * 16 * 32 + 14 * 14 * 32)
