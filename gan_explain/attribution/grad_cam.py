"""Grad-CAM: the last feature maps, weighted by the mean gradient of the answer in each.

Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017,
arXiv 1610.02391: L = ReLU(sum_k a_k A^k), a_k = mean over the map of dy / dA^k. Differs: y is the log-odds of the whole set of
classes (for two classes, the difference of their logits), not one class's logit; tokens of a transformer are cells of a map too.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gan_explain.attribution.base import finite, log_odds, register
from gan_explain.attribution.layers import LayerMethod, laid_over, look, needs_places
from gan_explain.types import Target, TargetError


@register("grad_cam")
class GradCam(LayerMethod):
    """Grad-CAM at a layer of the target's network: by default its last feature map (`layers.feature_map`).

    The heat is in units of the log-odds, upsampled from the grid of the layer by bilinear interpolation, and >= 0: all zeros
    where nothing at that layer speaks for the positive set.
    """

    title = "Grad-CAM"
    caveat = (
        "A grid of a few cells, smoothed: it says roughly where, not what. A cell sees far beyond its own area, and a map may "
        "look right for a wrong reason."
    )
    unit = "log-odds a cell"
    needs_gradients = True

    def heat(self, images: Tensor, target: Target, lungs: Tensor | None, chosen: Tensor) -> Tensor:
        """images (N, C, H, W), chosen (N, K) bool -> (N, 1, H, W) >= 0. Raises TargetError without gradients or a feature map."""
        needs_places(target, self.name)
        found = self.map_of(images, target, lungs)
        with torch.enable_grad():
            logits, given = look(target, images.detach().clone().requires_grad_(), lungs, [found.name])
            output = given[found.name]
            y = log_odds(logits.double(), chosen).sum()
            [slope] = torch.autograd.grad(y, [output], allow_unused=True) if output.requires_grad else [None]
        if slope is None:
            raise TargetError(f"layer {found.name!r}: expected a layer that the answer depends on, got no gradient")
        weights = found.cells(slope).mean((2, 3), keepdim=True)  # (N, C, 1, 1)
        cells = (weights * found.cells(output)).sum(1, keepdim=True).relu()  # (N, 1, h, w)
        return laid_over(finite(cells, f"layer {found.name!r}"), images, target, lungs).clamp(min=0)
