"""The difference map: what a disentangling generator changes between a healthy image and a diseased one.

    alpha = 1 - exp(-|tau|)

the opacity, in [0, 1), of the layer between the two ends of `latent_path`'s path. VA-GAN (Baumgartner et al., CVPR 2018, arXiv
1711.08998) and its successors show |x_c - x|; here that would be (1 - S) alpha, which fades where a rib or the heart lies behind
the same opacity.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from gan_explain.attribution.base import check_input, finite
from gan_explain.attribution.latent_path import GeneratorMethod, way_of
from gan_explain.optics import opacity
from gan_explain.types import Target


class Difference(GeneratorMethod):
    """The opacity of the layer that is taken off a positive, or laid over a negative; the target only says which of the two."""

    title: ClassVar[str] = "difference"
    caveat: ClassVar[str] = (
        "Opacity that the generator takes off (of a negative: lays over). It shows where the generator sees or puts disease, not "
        "how much of it this CNN's answer rests on."
    )
    unit: ClassVar[str] = "opacity"

    def heat(self, images: Tensor, target: Target, lungs: Tensor | None, chosen: Tensor) -> Tensor:
        """images (N, 1, H, W) -> (N, 1, H, W) in [0, 1), the same for any `chosen`; no gradients are needed."""
        check_input(images, target, "difference", gradients=False)
        return finite(opacity(self.paths(images, target, lungs).tau).abs(), "difference")

    def note(self, images: Tensor, target: Target, lungs: Tensor | None = None) -> str:
        """What the map shows, for the first image."""
        return way_of(self.paths(images[:1], target, None if lungs is None else lungs[:1]))
