"""Building blocks: coordinates that mean the same place in every patient, smooth enlargement, codes that modulate."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from gan_explain.lungs import lung_coordinates
from gan_explain.nets.blocks import ConvAct, Residual, upsample
from gan_explain.nets.generator import GeneratorConfig
from gan_explain.nets.unet import UNetConfig


def rectangle(top: int, left: int, height: int = 16, width: int = 8, side: int = 64) -> torch.Tensor:
    mask = torch.zeros(1, 1, side, side)
    mask[..., top : top + height, left : left + width] = 1
    return mask


def test_lung_coordinates_are_zero_at_the_centre_and_one_at_a_deviation() -> None:
    mask = rectangle(16, 20, 32, 24)
    coordinates = lung_coordinates(mask, 64)
    inside = coordinates[:, :, mask[0, 0] > 0]  # (1, 2, pixels)
    torch.testing.assert_close(inside.mean(2), torch.zeros(1, 2), atol=0.02, rtol=0)
    torch.testing.assert_close(inside.std(2, correction=0), torch.ones(1, 2), atol=0.05, rtol=0)
    assert float(coordinates.abs().max()) <= 3
    assert bool((coordinates[0, 0].diff(dim=0) >= 0).all())  # the first counts rows, downwards
    assert bool((coordinates[0, 1].diff(dim=1) >= 0).all())


def test_lung_coordinates_move_and_grow_with_the_lungs() -> None:
    small, large = rectangle(8, 8, 24, 16), rectangle(12, 24, 48, 32)
    here, there = lung_coordinates(small, 64)[0, :, 8:32, 8:24], lung_coordinates(large, 64)[0, :, 12:60, 24:56]
    torch.testing.assert_close(there[:, ::2, ::2], here, atol=0.15, rtol=0)


def test_no_lungs_count_as_the_whole_image() -> None:
    torch.testing.assert_close(lung_coordinates(torch.zeros(1, 1, 32, 32), 8), lung_coordinates(torch.ones(1, 1, 32, 32), 8))


def test_upsample_keeps_a_constant_and_a_mean() -> None:
    assert torch.equal(upsample(torch.full((1, 2, 4, 4), 0.25), 4), torch.full((1, 2, 16, 16), 0.25))
    x = torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(upsample(x).mean((2, 3)), x.mean((2, 3)))


def test_code_modulates_each_image_by_its_own() -> None:
    block, x = ConvAct(8, 16, code_dim=4), torch.rand(1, 8, 4, 4).expand(2, -1, -1, -1)
    codes = torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0]])
    out = block(x, codes)
    assert out.shape == (2, 16, 4, 4)
    assert not torch.allclose(out[0], out[1])
    torch.testing.assert_close(block(x, codes.flip(0)), out.flip(0))


def test_residual_halves() -> None:
    assert Residual(4, 8, 2)(torch.rand(2, 4, 8, 8)).shape == (2, 8, 4, 4)


def test_configurations_are_frozen_and_know_their_keys() -> None:
    with pytest.raises(ValidationError, match="colour"):
        GeneratorConfig.model_validate({"colour": "blue"})
    with pytest.raises(ValidationError, match="frozen"):
        GeneratorConfig().width = 4  # type: ignore[misc]


@pytest.mark.parametrize("size", [{"width": 0}, {"code_dim": -4}, {"layer_width": 0}])
def test_a_network_without_channels_is_refused(size: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="expected at least 1"):
        GeneratorConfig(**size)  # type: ignore[arg-type]


def test_a_network_with_a_stage_without_channels_is_refused() -> None:
    with pytest.raises(ValidationError, match="expected at least 1"):
        UNetConfig(widths=(8, 0, 8))
