"""The map of a CXR-Net (nets/cxrnet.py): what the network itself drew before it answered.

Zhang et al., IEEE JBHI 2023, arXiv 2110.10813. For a set of classes C it is sum_{k in C} p_k A_k / sum_{k in C} p_k, with the
first encoder's p: for one class its map A_k, in [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor

from gan_explain.attribution.base import Method, register
from gan_explain.nets.cxrnet import CxrNet, mixture
from gan_explain.targets import ModuleTarget
from gan_explain.types import Target, TargetError


@register("cxrnet")
class CxrNetMap(Method):
    """The map of the positive set, from one forward pass: no gradient is needed."""

    title = "CXR-Net's own map"
    caveat = (
        "The network drew it and then answered, half of it through the map: it says what was looked at, not that it is diseased. "
        "The other half of the answer never saw the map."
    )

    def heat(self, images: Tensor, target: Target, lungs: Tensor | None, chosen: Tensor) -> Tensor:
        """images (N, 1, H, W), chosen (N, K) bool -> (N, 1, H, W) in [0, 1]. TargetError for a target that is no CXR-Net."""
        if not isinstance(target, ModuleTarget) or not isinstance(target.network, CxrNet):
            came = type(target.network if isinstance(target, ModuleTarget) else target).__name__
            raise TargetError(f"expected a target that is a CXR-Net (gan-explain train target --arch cxrnet), got a {came}")
        with torch.no_grad():
            first, maps = target.network.look(target.prepared(images, lungs))
        return target.laid_over(mixture(maps, first, chosen).float(), images, lungs)
