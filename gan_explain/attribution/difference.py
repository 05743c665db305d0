"""The difference map and the reader's map: a layer of the disentangling generator as opacity, alpha = 1 - exp(-tau).

`difference` is the layer between the two ends of `latent_path`'s path, (x_1 - x_0) / (1 - x_0): the share of the way to white.
VA-GAN (Baumgartner et al., CVPR 2018, arXiv 1711.08998) and its successors show |x_1 - x_0| itself, which fades where a rib or
the heart lies behind the same opacity. `reader` is the layer that is read on the image, whatever the target calls it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gan_explain.attribution.base import register
from gan_explain.attribution.latent_path import GeneratorMethod, way_of
from gan_explain.optics import opacity
from gan_explain.pixels import quantize16
from gan_explain.types import Target


@register("difference")
class Difference(GeneratorMethod):
    """What is taken off a positive, or laid over a negative, as opacity; the target only says which of the two."""

    title = "difference"
    caveat = (
        "Opacity that the generator takes off (of a negative: lays over). It shows where the generator sees or puts disease, not "
        "how much of it this CNN's answer rests on."
    )
    unit = "opacity"

    def heat(self, images: Tensor, target: Target, lungs: Tensor | None, chosen: Tensor) -> Tensor:
        """images (N, 1, H, W) -> (N, 1, H, W) in [0, 1], the same for any `chosen`; no gradients are needed."""
        return opacity(self.paths(images, target, lungs).tau)

    def note(self, images: Tensor, target: Target, lungs: Tensor | None = None, chosen: Tensor | None = None) -> str:
        """What the map shows, for the first image."""
        return way_of(self.paths(images[:1], target, None if lungs is None else lungs[:1]))


@register("reader")
class ReaderMap(GeneratorMethod):
    """The layer that the generator's reader finds on the image, as opacity. The target is not asked at all."""

    title = "reader's layer"
    caveat = (
        "Opacity of the disease that the generator reads on this image. No CNN is asked: the map is the same for every target, "
        "and says nothing of what this one looked at."
    )
    unit = "opacity"
    needs_target = False

    def heat(self, images: Tensor, target: Target, lungs: Tensor | None, chosen: Tensor) -> Tensor:
        """images (N, 1, H, W) -> (N, 1, H, W) in [0, 1], the same for any target and any `chosen`."""
        generator, inside = self.parts(images, lungs)
        with torch.no_grad():
            return opacity(generator.read(quantize16(images), inside))

    def note(self, images: Tensor, target: Target, lungs: Tensor | None = None, chosen: Tensor | None = None) -> str:
        return "what is read on the image, no target asked"
