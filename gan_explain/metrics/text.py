"""Burned-in letters: side markers, dates, labels of figures; found by their shape, with no network.

A letter is bright, thin and compact. The white top-hat (Serra, "Image Analysis and Mathematical Morphology", 1982: the image
minus its opening) leaves what is brighter than its surroundings and thinner than STROKE; of its connected components those are
kept that fit a box of LETTER, are not lines, and lie clear of the lungs. Ribs, wires and borders are too long for the box. An
electrode or a clip is as compact as a letter and is taken for one, rightly: it too is no anatomy. Not so the bright end of a
child's clavicle, which can be taken for one as well; it comes with donors of both classes, and leaves their difference alone.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import max_pool2d

STROKE = 1 / 32  # of the image's side: structures at least this wide are not strokes
LETTER = 0.17  # of the side: the largest box around a letter
SMALLEST = 0.02  # of the side: a letter's box is at least this tall and wide
CONTRAST = 0.2  # a stroke's brightness above its surroundings
MARGIN = 1 / 64  # of the side: how far from the lungs
EIGHT = np.ones((3, 3), dtype=bool)  # pixels that touch at a corner belong together


def text(images: Tensor, lungs: Tensor) -> Tensor:
    """Where letters are burned in: images (N, 1, H, W) in [0, 1] and lungs in {0, 1} -> (N, 1, H, W) in {0, 1}.

    A letter is covered with a rim of one pixel (at 128 px), and no mask reaches into the lungs.
    """
    size = images.shape[-1]
    reach = max(1, round(MARGIN * size))
    near = max_pool2d((lungs > 0).float(), 2 * reach + 1, 1, reach)
    pairs = zip(images[:, 0].cpu().numpy(), near[:, 0].cpu().numpy() > 0, strict=True)
    found = torch.from_numpy(np.stack([_letters(image, mask) for image, mask in pairs])[:, None]).to(images)
    rim = max(1, round(size / 128))
    return max_pool2d(found, 2 * rim + 1, 1, rim) * (lungs <= 0).to(images)


def _letters(image: NDArray[np.float32], near: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The letters of one image (H, W), none of which touches `near` (H, W), in {0, 1}."""
    size = image.shape[-1]
    side = max(3, 2 * round(STROKE * size / 2) + 1)  # odd
    strokes = ndimage.white_tophat(image, size=(side, side)) > CONTRAST
    labelled, _ = ndimage.label(strokes, EIGHT)
    touching = set(np.unique(labelled[near]).tolist())
    found = np.zeros(image.shape, dtype=np.float32)
    smallest, largest = max(2, round(SMALLEST * size)), LETTER * size
    for number, box in enumerate(ndimage.find_objects(labelled), start=1):
        tall, wide = (edge.stop - edge.start for edge in box)
        if number not in touching and min(tall, wide) >= smallest and max(tall, wide) <= largest:
            found[box] += labelled[box] == number
    return found
