"""Letters are found where they are burned in, and nowhere in a clean chest."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from gan_explain.data import open_dataset
from gan_explain.metrics.text import text


def written(words: str, size: int = 128, at: tuple[int, int] = (8, 8)) -> torch.Tensor:
    """White words on a dark gray image (1, 1, H, W)."""
    image = Image.new("L", (size, size), 60)
    ImageDraw.Draw(image).text(at, words, fill=250)
    return torch.from_numpy(np.asarray(image, dtype=np.float32) / 255)[None, None]


def test_rendered_words_are_covered_and_little_else() -> None:
    image = written("AP 12:30")
    found = text(image, torch.zeros_like(image)) > 0
    letters = image > 0.6
    assert float(found[letters].float().mean()) > 0.9
    assert int(found.sum()) < 8 * int(letters.sum())
    assert not found[..., 40:, :].any()


@pytest.mark.parametrize("size", [64, 128])
def test_clean_phantoms_have_none_and_every_marker_is_found(size: int) -> None:
    clean = open_dataset("phantom:n=40", size=size).batch()
    assert not text(clean.images, clean.lungs).any()
    marked = open_dataset("phantom:n=40,marker_normal=1,marker_covid=1", size=size).batch()
    found = text(marked.images, marked.lungs)
    changed = (marked.images - clean.images).abs() > 0.2
    assert bool((found * changed).flatten(1).any(1).all())
    assert float(found.mean()) < 0.03


def test_neither_lines_nor_blocks_nor_edges_are_letters() -> None:
    image = torch.full((4, 1, 128, 128), 0.2)
    image[0, 0, 60:62, 5:120] = 1  # a line
    image[1, 0, 40:70, 40:70] = 1  # a block
    image[2, 0, :, 64:] = 1  # an edge
    image[3, 0, 64, 64] = 1  # a speck
    assert not text(image, torch.zeros_like(image)).any()


def test_a_letter_in_the_lungs_is_left_alone() -> None:
    image = written("R", at=(60, 60))
    lungs = torch.zeros_like(image)
    assert text(image, lungs).any()
    lungs[..., 50:80, 50:80] = 1
    assert not text(image, lungs).any()
