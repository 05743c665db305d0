"""A CycleGAN's sequences, charted as traversals are: a straight line in pixels between a radiograph and its translation.

For a negative x and G = to_positive the frames are x + lambda (G(x) - x): strength 0 is x, 1 its translation. For a positive x
and F = to_negative they are F(x) + lambda (x - F(x)), the same line walked the other way, so that strength 0 is the healed image
and 1 is x, as for the disentangling generator. A strength above 1 exaggerates. Unlike a layer's, these frames blend two pictures:
what a CycleGAN changes outside the lungs (borders, contrast, letters: all that differs between its two sides) is on the way too.
"""

from __future__ import annotations

from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_explain.counterfactual.checks import check_radiographs, check_target
from gan_explain.counterfactual.frames import blended
from gan_explain.counterfactual.pathology import Pathology
from gan_explain.counterfactual.radiograph import Radiograph
from gan_explain.counterfactual.respond import probability
from gan_explain.counterfactual.traversal import Traversal
from gan_explain.counterfactual.traverse import Strengths, as_strengths, chart
from gan_explain.pixels import quantize16, resize
from gan_explain.types import Target

Direction = Literal["positive", "negative"]


class Translator(Protocol):
    """Both directions of an image-to-image translation, as `nets.cyclegan.CycleGan` has them."""

    def to_positive(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) in [0, 1] -> the same."""
        ...

    def to_negative(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) in [0, 1] -> the same."""
        ...


@torch.no_grad()
def ends(translator: Translator, images: Tensor, direction: Direction, resolution: int | None = None) -> tuple[Tensor, Tensor]:
    """The images at strength 0 and at strength 1, (N, 1, H, W) each, both on the 16-bit grid; one of the two is `images`.

    With a `resolution` the translator sees the images resized to that side, and its change is enlarged and added to them."""
    images = quantize16(images)
    change = translator.to_positive if direction == "positive" else translator.to_negative
    small = images if resolution is None else resize(images, resolution)
    other = change(small)
    if small.shape != images.shape:
        size = images.shape[-2], images.shape[-1]
        other = images + F.interpolate(other - small, size, mode="bilinear", align_corners=False)
    other = quantize16(other)
    return (images, other) if direction == "positive" else (other, images)


def translate(
    translator: Translator,
    target: Target,
    radiograph: Radiograph,
    *,
    strengths: Strengths = 33,
    resolution: int | None = None,
) -> Traversal:
    """Chart a radiograph that the target calls negative on its way to its translation, one that it calls positive from its
    translation to itself; `resolution` as for `ends`.

    The result's `pathology` is "to_positive" or "to_negative", `structure` the image at strength 0, `layer` the signed difference
    of the two ends (not an optical thickness), `code` empty: a CycleGAN has none.
    """
    check_target(target)
    check_radiographs(radiograph)
    at = as_strengths(strengths)
    before = probability(target, radiograph.image, radiograph.lungs)
    direction: Direction = "positive" if before < target.operating_point else "negative"
    start, end = ends(translator, radiograph.image, direction, resolution)
    frames = blended(start[0], end[0], at)
    return chart(target, start, Pathology(f"to_{direction}", end - start), radiograph, at, before, frames)
