"""The difference map: what a disentangling generator changes between a healthy image and a diseased one, as opacity.

    (x_1 - x_0) / (1 - x_0) where the path brightens,  (x_0 - x_1) / x_0 where it darkens

between the two ends of `latent_path`'s path: the share of the way to white (or black). Where only a layer acts it is the layer's
opacity 1 - exp(-|tau|); what removal changes beside its layer counts too. VA-GAN (Baumgartner et al., CVPR 2018, arXiv
1711.08998) and its successors show |x_1 - x_0| itself, which fades where a rib or the heart lies behind the same opacity.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from gan_explain.attribution.base import check_input, finite
from gan_explain.attribution.latent_path import GeneratorMethod, way_of
from gan_explain.types import Target

LEAST_ROOM = 0.1  # of brightness, to divide by: where there is less, hardly anything can be seen to change


class Difference(GeneratorMethod):
    """What is taken off a positive, or laid over a negative, as opacity; the target only says which of the two."""

    title: ClassVar[str] = "difference"
    caveat: ClassVar[str] = (
        "Opacity that the generator takes off (of a negative: lays over). It shows where the generator sees or puts disease, not "
        "how much of it this CNN's answer rests on."
    )
    unit: ClassVar[str] = "opacity"

    def heat(self, images: Tensor, target: Target, lungs: Tensor | None, chosen: Tensor) -> Tensor:
        """images (N, 1, H, W) -> (N, 1, H, W) in [0, 1], the same for any `chosen`; no gradients are needed."""
        check_input(images, target, "difference", gradients=False)
        paths = self.paths(images, target, lungs)
        gained, room = paths.end - paths.start, torch.where(paths.end >= paths.start, 1 - paths.start, paths.start)
        return finite(gained.abs() / room.clamp(min=LEAST_ROOM), "difference")

    def note(self, images: Tensor, target: Target, lungs: Tensor | None = None) -> str:
        """What the map shows, for the first image."""
        return way_of(self.paths(images[:1], target, None if lungs is None else lungs[:1]))
