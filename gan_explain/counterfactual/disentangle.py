"""Radiographs taken apart: the layer that is on them, and the structure under it; the two give the image back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gan_explain.optics import compose, take_off
from gan_explain.pixels import check_images, quantize16
from gan_explain.types import Brief, Generator


@dataclass(frozen=True, repr=False)
class Disentangled(Brief):
    """Images on the 16-bit grid, the structure under their layer, the layer, and their lungs: (N, 1, H, W) each.

    The structure is not rounded: `laid(structure, layer)` is `image` to the last of 16 bits.
    """

    image: Tensor
    structure: Tensor
    layer: Tensor
    lungs: Tensor

    def untouched(self) -> Disentangled:
        """The same with the image for its structure: that of one without the disease."""
        return replace(self, structure=self.image)


@torch.no_grad()
def disentangle(generator: Generator, images: Tensor, lungs: Tensor) -> Disentangled:
    """Read the layer of radiographs and take it off: images in [0, 1] and lungs (N, 1, H, W), any size.
    ValueError for images of another shape or range."""
    check_images(images)
    images = quantize16(images)
    tau = generator.read(images, lungs)
    return Disentangled(images, take_off(images, tau), tau, lungs)


@torch.no_grad()
def laid(structure: Tensor, tau: Tensor, strength: Tensor | float = 1.0) -> Tensor:
    """A layer laid over a structure, on the 16-bit grid on which frames are scored and saved."""
    return quantize16(compose(structure, tau, strength))
