"""Lung-cropped CAM: the class activation map of the positive set, cut to the lungs.

The class activation map is that of Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016, arXiv
1512.04150: the last feature maps weighted by the answer's weight of each, for a network that ends in average pooling and one
linear layer. For such a network Grad-CAM at the last map is that map divided by the number of its cells (Selvaraju et al., ICCV
2017, arXiv 1610.02391, section 3), so it is taken here, and other networks have a map too. As in `grad_cam` it is of the
log-odds of the whole positive set, and what speaks against the set is cut off.
"""

from __future__ import annotations

from torch import Tensor

from gan_explain.attribution.base import Layer, explained_set, register
from gan_explain.attribution.grad_cam import GradCam
from gan_explain.metrics.pointing import relevance_mass
from gan_explain.nets.multi_unet import MultiUNet
from gan_explain.nets.segmenter import LungSegmenter
from gan_explain.targets import ModuleTarget
from gan_explain.types import Segmenter, Target, TargetError


@register("lung_cam")
class LungCam(GradCam):
    """Grad-CAM at the last map (or `layer`), zero outside the lungs: those that a `MultiUNet` finds itself; for any other target
    those given, or what the target's segmenter or else `segmenter` reads."""

    title = "Lung-cropped CAM"
    caveat = (
        "Cut to the lungs: heat outside is hidden from view, not gone from the answer, and what is left is coloured as if it "
        "were all. A CNN that reads the border of the film has a map in the lungs too. A grid of a few cells, smoothed."
    )

    def __init__(self, layer: Layer = "", segmenter: Segmenter | None = None) -> None:
        super().__init__(layer)
        self.segmenter = segmenter

    def note(self, images: Tensor, target: Target, lungs: Tensor | None = None, chosen: Tensor | None = None) -> str:
        """How much of the heat was cropped away (the mean over images that have any), by whose lungs, and the number of cells."""
        mask, whose = lungs_of(images, target, lungs, self.segmenter)
        whole = super().heat(images, target, lungs, explained_set(target, chosen, images))
        found = self.map_of(images, target, lungs)
        kept = float(relevance_mass(whole, mask).nanmean())
        cut = "no heat to crop" if kept != kept else f"{1 - kept:.0%} of the heat cropped away"
        return f"{cut} ({whose}), {found.height} × {found.width} cells"

    def heat(self, images: Tensor, target: Target, lungs: Tensor | None, chosen: Tensor) -> Tensor:
        """images (N, 1, H, W), chosen (N, K) bool -> (N, 1, H, W) >= 0. Raises TargetError as `GradCam`, and without lungs."""
        mask, _ = lungs_of(images, target, lungs, self.segmenter)
        return super().heat(images, target, lungs, chosen) * mask


def lungs_of(images: Tensor, target: Target, lungs: Tensor | None, segmenter: Segmenter | None = None) -> tuple[Tensor, str]:
    """The lungs (N, 1, H, W) in {0, 1} to crop to, and whose they are. TargetError where nobody knows them."""
    segmenter = getattr(target, "segmenter", None) or segmenter
    if isinstance(target, ModuleTarget) and isinstance(target.network, MultiUNet):
        return LungSegmenter(target.network.unet, target.config.size)(images), "its own lungs"
    if lungs is None and segmenter is not None:
        lungs = segmenter(images)
    if lungs is None:
        raise TargetError(
            "lung_cam crops to the lungs: expected a lung mask (N, 1, H, W), or a network that segments, got neither"
        )
    return (lungs > 0.5).to(images), "lungs of a segmenter"
