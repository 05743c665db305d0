"""Occlusion: how far the answer falls when a patch is covered.

Zeiler & Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, arXiv 1311.2901. Run by captum's Occlusion: a
pixel's heat is the mean fall of the log-odds over the patches that cover it. Differs: a patch is covered with the radiograph
itself, so blurred that no structure is left, and not with gray, whose edges would be structure of their own.
"""

from __future__ import annotations

import torch
from captum.attr import Occlusion as Covering
from torch import Tensor

from gan_explain.attribution.base import Method, answer, register
from gan_explain.pixels import gaussian_blur
from gan_explain.targets import masks_for
from gan_explain.types import Target

PATCHES = 8  # patches in the side of an image; they overlap by half
CHUNK = 64  # images that a target sees at a time


@register("occlusion")
class Occlusion(Method):
    """Occlusion, signed: below zero where covering raises the log-odds. Needs no gradients."""

    title = "occlusion"
    caveat = (
        "What each patch is worth alone: disease in two places gets little, for covering one leaves the other. A coarse grid, "
        "and covered images are no radiographs."
    )
    unit = "log-odds, when covered"
    signed = True

    def heat(self, images: Tensor, target: Target, lungs: Tensor | None, chosen: Tensor) -> Tensor:
        """images (N, C, H, W), chosen (N, K) bool -> (N, C, H, W), in log-odds; a patch covers all channels."""
        (patch, stride), channels = window(max(images.shape[-2:])), images.shape[1]
        with torch.no_grad():
            found: Tensor = Covering(answer(target)).attribute(
                images, (channels, patch, patch), (channels, stride, stride), blurred(images),
                additional_forward_args=(masks_for(target, lungs), chosen), perturbations_per_eval=max(1, CHUNK // len(images)),
            )  # fmt: skip
        return found

    def note(self, images: Tensor, target: Target, lungs: Tensor | None = None, chosen: Tensor | None = None) -> str:
        """Size and step of the patches."""
        patch, stride = window(max(images.shape[-2:]))
        return f"patches of {patch} × {patch} pixels, blurred, every {stride}"


def window(side: int) -> tuple[int, int]:
    """Side and step of a patch in pixels, for an image of that longer side: 16 and 8 at 128."""
    return max(1, side // PATCHES), max(1, side // (2 * PATCHES))


def blurred(images: Tensor) -> Tensor:
    """What patches are covered with: (N, 1, H, W) -> the same, blurred with a standard deviation of one patch."""
    return gaussian_blur(images, max(images.shape[-2:]) / PATCHES)
