"""Layers as sets: descriptions on paper, and a classifier that tells apart what differs and nothing else."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from gan_explain.lungs import COLUMNS, ROWS
from gan_explain.metrics.layers import canonical, describe, nearest, scores
from gan_explain.stats import auroc


def even(value: float = 0.2) -> Tensor:
    return torch.full((1, 2, ROWS, COLUMNS), value)


def spots(count: int, down: float, seed: int) -> Tensor:
    """One soft spot in each lung, about `down` the lung, of a place and size of its own."""
    random = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.linspace(0, 1, ROWS), torch.linspace(0, 1, COLUMNS), indexing="ij")
    place = torch.rand(count, 2, 2, generator=random) * 0.3 + torch.tensor([down - 0.15, 0.35])
    return 0.5 * torch.exp(-30 * ((y - place[..., :1, None]) ** 2 + (x - place[..., 1:, None]) ** 2))


def test_an_even_layer_lies_in_the_middle_and_has_no_edge() -> None:
    found = {name: float(values[0]) for name, values in describe(even()).items()}
    assert {name: round(value, 5) for name, value in found.items()} == {
        "load": 0.2, "extent": 1.0, "down": 0.5, "across": 0.5, "left": 0.5, "sharpness": 0.0,
    }  # fmt: skip


def test_a_layer_at_the_base_of_the_left_lung_is_said_to_be_there() -> None:
    maps = torch.zeros(1, 2, ROWS, COLUMNS)
    maps[:, 0, 3 * ROWS // 4 :] = 1
    found = describe(maps)
    assert float(found["left"]) == 1
    assert float(found["down"]) > 0.8
    assert float(found["across"]) == 0.5
    assert 0 < float(found["extent"]) < 0.5
    assert float(found["sharpness"]) > 0


def test_no_layer_has_no_place() -> None:
    found = describe(torch.zeros(1, 2, ROWS, COLUMNS))
    assert float(found["load"]) == float(found["extent"]) == 0
    assert all(math.isnan(float(found[name])) for name in ("down", "across", "left", "sharpness"))


def test_layers_of_one_kind_are_not_told_apart_and_of_two_kinds_are() -> None:
    names = [str(i) for i in range(40)]
    truth = np.arange(80) < 40
    alike = scores(spots(40, 0.5, 0), spots(40, 0.5, 1), names)
    apart = scores(spots(40, 0.3, 0), spots(40, 0.7, 1), names)
    assert 0.25 < auroc(alike, truth) < 0.75
    assert auroc(apart, truth) > 0.95
    assert np.isnan(scores(even(), even(), ["one"])).all()


def test_a_copy_is_at_no_distance() -> None:
    known = spots(10, 0.5, 0)
    torch.testing.assert_close(nearest(known[3:5], known), torch.zeros(2), rtol=0, atol=1e-4)
    torch.testing.assert_close(nearest(even(0.3), even(0.2)), torch.tensor([0.1]), rtol=1e-3, atol=0)


def test_the_shape_of_the_lungs_plays_no_part() -> None:
    lungs = torch.zeros(2, 1, 64, 64)
    lungs[0, :, 8:56, 6:28] = lungs[0, :, 8:56, 36:58] = 1
    lungs[1, :, 20:50, 14:28] = lungs[1, :, 20:50, 36:50] = 1
    maps = canonical(0.3 * lungs, lungs)
    middle = maps[:, :, 12:28, 8:16]
    torch.testing.assert_close(middle, torch.full_like(middle, 0.3), rtol=0.05, atol=0.02)
