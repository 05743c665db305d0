"""Sequences of a translation that is known in full: both directions, their ends, their curve, and what is saved of them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gan_explain.image import quantize16
from gan_explain.latent.translate import Direction, blend, ends, translate
from gan_explain.render import load_traversal, save_traversal
from gan_explain.targets import ModuleTarget

STRENGTHS = torch.tensor([0.0, 0.25, 0.5, 1.0, 1.5])


class Fog:
    """Half of what is missing to white is added; the way back is exact."""

    def to_positive(self, images: Tensor) -> Tensor:
        return images + 0.5 * (1 - images)

    def to_negative(self, images: Tensor) -> Tensor:
        return (2 * images - 1).clamp(0, 1)


def answer(brightness: float) -> float:
    """p(covid) of the brightness target."""
    z = 20 * (brightness - 0.6)
    return math.exp(z) / (1 + 2 * math.exp(z))


def test_a_negative_is_followed_from_itself_to_its_translation(
    brightness: ModuleTarget, structure: Tensor, lungs: Tensor
) -> None:
    film = translate(Fog(), brightness, structure, lungs, STRENGTHS, "positive")
    x = quantize16(structure)[0]
    assert torch.equal(film.frames[0], x)
    assert torch.equal(film.structure, x)
    torch.testing.assert_close(film.frames[3], x + 0.5 * (1 - x), atol=2e-5, rtol=0)
    torch.testing.assert_close(film.frames[1], x + 0.125 * (1 - x), atol=2e-5, rtol=0)
    torch.testing.assert_close(film.layer, 0.5 * (1 - x), atol=2e-5, rtol=0)
    assert film.probability.tolist() == pytest.approx([answer(float(frame.mean())) for frame in film.frames], abs=1e-5)
    assert film.crossing is not None
    assert film.code.shape == (0,)
    assert film.clamped == 0


def test_a_positive_is_followed_from_its_healed_self_to_itself(brightness: ModuleTarget, lungs: Tensor) -> None:
    x = quantize16(0.55 + 0.4 * torch.rand(1, 1, 32, 32))
    film = translate(Fog(), brightness, x, lungs, STRENGTHS, "negative")
    torch.testing.assert_close(film.frames[0], 2 * x[0] - 1, atol=2e-5, rtol=0)
    torch.testing.assert_close(film.frames[3], x[0], atol=1e-6, rtol=0)
    assert film.probability[0] < film.operating_point < film.probability[3]
    assert bool((film.layer >= 0).all())


def test_what_a_strength_pushes_out_of_range_is_counted(brightness: ModuleTarget, lungs: Tensor) -> None:
    x = torch.full((1, 1, 32, 32), 0.1)
    film = translate(Fog(), brightness, x, lungs, torch.tensor([0.0, 3.0]), "positive")
    assert film.clamped == 1
    assert film.frames.max() == 1


@pytest.mark.parametrize("direction", ["positive", "negative"])
def test_one_end_is_the_image_itself(direction: Direction) -> None:
    images = quantize16(torch.rand(3, 1, 8, 8))
    start, end = ends(Fog(), images, direction)
    assert torch.equal(start if direction == "positive" else end, images)
    frames = blend(start, end, torch.tensor([0.0, 1.0]))
    assert frames.shape == (3, 2, 1, 8, 8)
    assert torch.equal(frames[:, 0], start)
    torch.testing.assert_close(frames[:, 1], end, atol=1e-6, rtol=0)


def test_a_sequence_is_saved_and_loaded_like_any_traversal(
    brightness: ModuleTarget, structure: Tensor, lungs: Tensor, tmp_path: Path
) -> None:
    film = translate(Fog(), brightness, structure, lungs, STRENGTHS, "positive")
    save_traversal(film, tmp_path / "film")
    loaded = load_traversal(tmp_path / "film")
    assert torch.equal(loaded.frames, film.frames)
    assert loaded.code.shape == (0,)
    assert loaded.crossing == pytest.approx(film.crossing)
