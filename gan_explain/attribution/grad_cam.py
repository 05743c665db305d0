"""Grad-CAM: the last feature maps, weighted by the mean gradient of the answer in each.

Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017,
arXiv 1610.02391: L = ReLU(sum_k a_k A^k), a_k = mean over the map of dy / dA^k. Run by captum's LayerGradCam. Differs: y is the
log-odds of the whole positive set (for two classes, the difference of their logits), not one class's logit.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from captum.attr import LayerGradCam
from torch import Tensor

from gan_explain.attribution.base import Method, answer, check_input, finite
from gan_explain.attribution.layers import laid_over, last_map, map_size, named_layer, needs_places
from gan_explain.targets import masks_for
from gan_explain.types import Target, TargetError


class GradCam(Method):
    """Grad-CAM at a layer of the target's network: by default its last feature map (`layers.last_map`).

    The heat is in units of the log-odds, upsampled from the grid of the layer by bilinear interpolation, and >= 0: all zeros
    where nothing at that layer speaks for the positive set.
    """

    title: ClassVar[str] = "Grad-CAM"
    caveat: ClassVar[str] = (
        "A grid of a few cells, smoothed: it says roughly where, not what. A cell sees far beyond its own area, and a map may "
        "look right for a wrong reason."
    )
    unit: ClassVar[str] = "log-odds a cell"

    def __init__(self, layer: str = "") -> None:
        self.layer = layer

    def layer_of(self, images: Tensor, target: Target, lungs: Tensor | None = None) -> str:
        """The name of the layer that is looked at; a few images (N, 1, H, W) are run to find it. Raises TargetError."""
        return self.layer or last_map(target, images[:1], None if lungs is None else lungs[:1])

    def note(self, images: Tensor, target: Target, lungs: Tensor | None = None) -> str:
        """The layer and the number of its cells."""
        name = self.layer_of(images, target, lungs)
        height, width = map_size(target, images[:1], None if lungs is None else lungs[:1], name)
        return f"layer {name}, {height} × {width} cells"

    def heat(self, images: Tensor, target: Target, lungs: Tensor | None, chosen: Tensor) -> Tensor:
        """images (N, 1, H, W), chosen (N, K) bool -> (N, 1, H, W) >= 0. Raises TargetError without gradients or a feature map."""
        check_input(images, target, "grad_cam")
        needs_places(target, "grad_cam")
        name = self.layer_of(images, target, lungs)
        with torch.enable_grad():
            found = LayerGradCam(answer(target), named_layer(target, name))
            given = (masks_for(target, lungs), chosen)
            x = images.detach().clone().requires_grad_()
            cells = found.attribute(x, additional_forward_args=given, relu_attributions=True)
        if not isinstance(cells, Tensor) or cells.ndim != 4 or cells.shape[:2] != (len(images), 1):
            came = tuple(cells.shape) if isinstance(cells, Tensor) else f"{len(cells)} tensors"
            raise TargetError(f"layer {name!r}: expected feature maps (N, C, h, w), got a map of {came}")
        cells = finite(cells, f"layer {name!r}")  # (N, 1, h, w)
        return laid_over(cells, images, target, lungs).clamp(min=0)
