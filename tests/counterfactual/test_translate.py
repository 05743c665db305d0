"""Sequences of a translation that is known in full: both directions, their ends, their curve, and what is saved of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from solvable import answer, radiograph
from torch import Tensor

from gan_explain.counterfactual import load_traversal
from gan_explain.counterfactual.translate import Direction, ends, translate
from gan_explain.pixels import quantize16
from gan_explain.targets import ModuleTarget

STRENGTHS = (0.0, 0.25, 0.5, 1.0, 1.5)


class Fog:
    """Half of what is missing to white is added; the way back is exact."""

    def to_positive(self, images: Tensor) -> Tensor:
        return images + 0.5 * (1 - images)

    def to_negative(self, images: Tensor) -> Tensor:
        return (2 * images - 1).clamp(0, 1)


def test_a_negative_is_followed_from_itself_to_its_translation(brightness: ModuleTarget, structure: Tensor) -> None:
    film = translate(Fog(), brightness, radiograph(structure), strengths=STRENGTHS)
    x = quantize16(structure)[0]
    assert film.pathology == "to_positive"
    assert torch.equal(film.frames[0], x)
    assert torch.equal(film.structure, x)
    torch.testing.assert_close(film.frames[3], x + 0.5 * (1 - x), atol=2e-5, rtol=0)
    torch.testing.assert_close(film.frames[1], x + 0.125 * (1 - x), atol=2e-5, rtol=0)
    torch.testing.assert_close(film.layer, 0.5 * (1 - x), atol=2e-5, rtol=0)
    assert film.probability.tolist() == pytest.approx([answer(float(frame.mean())) for frame in film.frames], abs=5e-3)
    assert film.crossing is not None
    assert film.code.shape == (0,)


def test_a_positive_is_followed_from_its_healed_self_to_itself(brightness: ModuleTarget) -> None:
    x = quantize16(0.55 + 0.4 * torch.rand(1, 1, 32, 32))
    film = translate(Fog(), brightness, radiograph(x), strengths=STRENGTHS)
    assert film.pathology == "to_negative"
    torch.testing.assert_close(film.frames[0], 2 * x[0] - 1, atol=2e-5, rtol=0)
    assert torch.equal(film.frames[3], x[0])
    assert film.probability[0] < film.operating_point < film.probability[3]
    assert bool((film.layer >= 0).all())


def test_frames_stay_in_range(brightness: ModuleTarget) -> None:
    film = translate(Fog(), brightness, radiograph(torch.full((1, 1, 32, 32), 0.1)), strengths=(0.0, 3.0))
    assert film.frames[1].max() == 1


@pytest.mark.parametrize("direction", ["positive", "negative"])
@pytest.mark.parametrize("resolution", [None, 8, 16])
def test_one_end_is_the_image_itself(direction: Direction, resolution: int | None) -> None:
    images = quantize16(torch.rand(3, 1, 12, 8))
    start, end = ends(Fog(), images, direction, resolution)
    assert torch.equal(start if direction == "positive" else end, images)
    assert start.shape == end.shape == images.shape


def test_a_change_at_another_resolution_is_enlarged(brightness: ModuleTarget) -> None:
    """Of a uniform image it is the same change."""
    images = torch.full((1, 1, 30, 20), 0.5)
    torch.testing.assert_close(ends(Fog(), images, "positive", 8)[1], torch.full_like(images, 0.75), atol=2e-5, rtol=0)


def test_a_sequence_is_saved_and_loaded_like_any_traversal(brightness: ModuleTarget, structure: Tensor, tmp_path: Path) -> None:
    film = translate(Fog(), brightness, radiograph(structure), strengths=STRENGTHS)
    film.save(tmp_path / "film")
    loaded = load_traversal(tmp_path / "film")
    assert torch.equal(loaded.frames.stack(), film.frames.stack())
    assert loaded.code.shape == (0,)
    assert loaded.crossing == pytest.approx(film.crossing)
