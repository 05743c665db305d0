"""The projected discriminator: a grid of logits a level, fixed mixing, and one image judged by itself."""

from __future__ import annotations

import torch

from gan_explain.nets.projected import ProjectedDiscriminator, SpectralConv

SHAPES = [(4, 32), (6, 16), (8, 8)]


def levels(n: int = 2) -> list[torch.Tensor]:
    return [torch.randn(n, channels, side, side) for channels, side in SHAPES]


def test_every_level_is_judged_in_64_places() -> None:
    judge = ProjectedDiscriminator(SHAPES, width=16).eval()
    assert judge(levels()).shape == (2, 3 * 64)


def test_only_the_heads_learn() -> None:
    judge = ProjectedDiscriminator(SHAPES, width=16)
    assert {name.split(".")[0] for name, p in judge.named_parameters() if p.requires_grad} == {"heads"}


def test_what_is_said_of_one_image_does_not_depend_on_its_batch() -> None:
    judge, features = ProjectedDiscriminator(SHAPES, width=16).eval(), levels(3)
    with torch.no_grad():
        torch.testing.assert_close(judge(features)[:1], judge([f[:1] for f in features]), atol=1e-5, rtol=1e-4)


def test_levels_are_brought_to_one_scale() -> None:
    judge, features = ProjectedDiscriminator(SHAPES, width=16).eval(), levels(8)
    scaled = [f * s for f, s in zip(features, (100.0, 0.01, 1.0), strict=True)]
    with torch.no_grad():
        judge.calibrate(features)
        before = judge(features)
        judge.calibrate(scaled)
        torch.testing.assert_close(judge(scaled), before, atol=1e-4, rtol=1e-3)


def test_gradients_reach_the_features() -> None:
    features = [f.requires_grad_() for f in levels()]
    ProjectedDiscriminator(SHAPES, width=16)(features).mean().backward()
    assert all(float(f.grad.abs().sum()) > 0 for f in features if f.grad is not None)
    assert all(f.grad is not None for f in features)


def test_the_largest_singular_value_is_divided_out() -> None:
    layer = SpectralConv(4, 6, 3)
    with torch.no_grad():
        layer.weight.mul_(7)
        for _ in range(50):
            layer(torch.rand(1, 4, 8, 8))
        found = layer.u @ (layer.weight.flatten(1) @ layer.v)
    torch.testing.assert_close(found, torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2), rtol=1e-4, atol=0)


def test_autocast_leaves_the_filters_norm_in_32_bits() -> None:
    judge, features = ProjectedDiscriminator(SHAPES, width=16).eval(), levels()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        half = judge(features)
    torch.testing.assert_close(half, judge(features), atol=0.1, rtol=0.1)
