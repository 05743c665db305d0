"""The reader: shapes at every grid, nothing far from the lungs, smooth, and one radiograph at a time."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from gan_explain.lungs import shrink, support
from gan_explain.nets.efficientnet_lite import CHANNELS, STRIDES
from gan_explain.nets.reader import START, PretrainedEncoder, Reader, SmallEncoder

SIDE = 64


def small(grid: int = 32, width: int = 8) -> Reader:
    return Reader(SmallEncoder(8), SIDE, grid, width).requires_grad_(False).eval()


def wild(reader: Reader) -> Reader:
    for parameter in reader.parameters():
        nn.init.normal_(parameter, std=0.3)
    return reader


def masks(n: int) -> Tensor:
    lungs = torch.zeros(n, 1, SIDE, SIDE)
    lungs[..., 12:52, 8:26] = lungs[..., 12:52, 38:56] = 1
    return lungs


@pytest.mark.parametrize("grid", [32, 16, 8])
def test_a_layer_on_each_grid(grid: int) -> None:
    tau = wild(small(grid))(torch.rand(2, 1, SIDE, SIDE), masks(2))
    assert tau.shape == (2, 1, grid, grid)
    assert float(tau.min()) >= 0
    assert float(tau.max()) > 0


def test_a_reader_that_has_learnt_nothing_sees_a_thin_even_veil() -> None:
    """softplus of the head's start, under the soft border of the lungs."""
    reader = small()
    nn.init.zeros_(reader.head.weight)
    tau = reader(torch.rand(2, 1, SIDE, SIDE), masks(2))
    torch.testing.assert_close(tau, math.log1p(math.exp(START)) * support(shrink(masks(2), 32)), atol=1e-5, rtol=0)


def test_what_is_far_from_the_lungs_is_exactly_nothing() -> None:
    tau = wild(small())(torch.rand(1, 1, SIDE, SIDE), masks(1))
    for outside in (tau[..., :1], tau[..., :3, :], tau[..., -3:, :]):  # lungs begin at cells 4 and 6: three cells are soft
        assert float(outside.max()) == 0
    assert float(wild(small())(torch.rand(1, 1, SIDE, SIDE), torch.zeros(1, 1, SIDE, SIDE)).max()) == 0


def test_radiographs_are_read_one_by_one_in_training_too() -> None:
    """Group norm: nothing is told by the others of a batch."""
    reader, images = wild(small()).train(), torch.rand(3, 1, SIDE, SIDE)
    apart = torch.cat([reader(images[i : i + 1], masks(1)) for i in range(3)])
    torch.testing.assert_close(reader(images, masks(3)), apart, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("grid", [32, 16])
def test_brightness_is_seen_whatever_the_features_say(grid: int) -> None:
    reader = wild(small(grid))
    features = [f[:1] for f in reader.encoder(torch.rand(1, 1, SIDE, SIDE))]
    used = [features[i] for i in reader.used]
    image = torch.rand(1, 1, SIDE, SIDE)
    one, other = (reader.decode(used, each, masks(1)) for each in (image, 0.5 * image))
    assert float((one - other).abs().max()) > 1e-3


def test_lungs_are_asked_too() -> None:
    reader, images = wild(small()), torch.rand(1, 1, SIDE, SIDE)
    other = masks(1)
    other[..., 40:, :] = 0
    both = reader(images, masks(1)), reader(images, other)
    assert float((both[0] - both[1])[..., 8:14, :].abs().max()) > 1e-3


def test_a_pretrained_pyramid_is_used_from_the_grids_stride_on() -> None:
    with torch.device("meta"):  # shapes alone
        for grid, used in ((128, [0, 1, 2, 3, 4]), (64, [1, 2, 3, 4]), (32, [2, 3, 4])):
            reader = Reader(PretrainedEncoder(), 256, grid, 48)
            assert reader.used == used
            assert all(STRIDES[i] >= 256 // grid for i in used)
            image = torch.rand(1, 1, 256, 256)
            features = [torch.rand(1, CHANNELS[i], 256 // STRIDES[i], 256 // STRIDES[i]) for i in used]
            tau = reader.decode(features, image, torch.ones_like(image))
            assert tau.shape == (1, 1, grid, grid)


def test_a_small_encoders_features_are_of_its_strides() -> None:
    encoder = SmallEncoder(8)
    features = encoder(torch.rand(1, 1, SIDE, SIDE))
    assert [f.shape[1] for f in features] == list(encoder.channels)
    assert [SIDE // f.shape[-1] for f in features] == list(encoder.strides)
