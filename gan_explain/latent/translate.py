"""A CycleGAN's sequences, charted as traversals are: a straight line in pixels between a radiograph and its translation.

For a negative x and G = to_positive the frames are x + lambda (G(x) - x): strength 0 is x, 1 its translation. For a positive x
and F = to_negative they are F(x) + lambda (x - F(x)), the same line walked the other way, so that strength 0 is the healed image
and 1 is x, as for the disentangling generator. A strength above 1 exaggerates. Unlike a layer's, these frames blend two pictures:
what a CycleGAN changes outside the lungs (borders, contrast, letters: all that differs between its two sides) is on the way too.
"""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor

from gan_explain.image import quantize16
from gan_explain.latent.traverse import positive_probability, respond
from gan_explain.types import Target, Traversal

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
def ends(translator: Translator, images: Tensor, direction: Direction) -> tuple[Tensor, Tensor]:
    """The images at strength 0 and at strength 1, (N, 1, H, W) each, both on the 16-bit grid; one of the two is `images`."""
    images = quantize16(images)
    if direction == "positive":
        return images, quantize16(translator.to_positive(images))
    return quantize16(translator.to_negative(images)), images


def blend(start: Tensor, end: Tensor, strengths: Tensor) -> Tensor:
    """start and end (N, 1, H, W), strengths (L,) -> frames (N, L, 1, H, W) in [0, 1] on the 16-bit grid; strength 0 is `start` to
    the bit."""
    steps = strengths.view(1, -1, 1, 1, 1).to(start)
    return quantize16(start[:, None] + steps * (end - start)[:, None])


@torch.no_grad()
def translate(
    translator: Translator, target: Target, image: Tensor, lungs: Tensor, strengths: Tensor, direction: Direction
) -> Traversal:
    """Chart one radiograph and its lungs (1, 1, H, W) along strengths (L,) towards `direction`.

    The result's `structure` is the image at strength 0, `layer` the signed difference of the two ends (not an optical thickness)
    and `code` is empty: a CycleGAN has none. `clamped` is the share of pixels that the last strength would push out of [0, 1].
    """
    start, end = ends(translator, image, direction)
    frames = blend(start, end, strengths)[0]
    last = start + float(strengths[-1]) * (end - start)
    probability = respond(target, frames, lungs)
    return Traversal(
        frames=frames, strengths=strengths, probability=positive_probability(target, probability), class_probability=probability,
        layer=(end - start)[0], structure=start[0], lungs=lungs[0], code=start.new_zeros(0), classes=tuple(target.classes),
        positive=tuple(target.positive), operating_point=target.operating_point,
        clamped=float(((last < 0) | (last > 1)).float().mean()),
    )  # fmt: skip
