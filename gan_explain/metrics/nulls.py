"""What a measure reads where there is nothing to see: a random layer of equal norm, shuffled weights, a constant target."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gan_explain.image import feather, gaussian_blur
from gan_explain.optics import compose
from gan_explain.targets import ModuleTarget

LARGEST = 64.0  # strength above which a norm is out of reach


def random_pathology(
    images: Tensor, counterfactuals: Tensor, lungs: Tensor, seeds: Sequence[int], smooth: float = 0.06
) -> Tensor:
    """Each image under a random layer that changes the lungs by as much as its counterfactual does: (N, 1, H, W) -> (N, 1, H, W).

    tau = s max(0, g) M, g Gaussian noise blurred by `smooth` of the width, M the feathered lungs; s is bisected until the L2 norm
    of the change is that of (x_c - x) inside the lungs, or as near to it as attenuation can come. Outside the lungs x stays.
    `seeds` (N,): one for each image, so that its layer does not depend on the batch.
    """
    size = images.shape[-1]
    noise = torch.cat([torch.randn(1, 1, *images.shape[-2:], generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    field_ = gaussian_blur(noise.to(images), smooth * size)
    shape = (field_ / field_.flatten(1).std(1).clamp(min=1e-12).view(-1, 1, 1, 1)).clamp(min=0) * feather(lungs, size / 64)
    wanted = _norm((counterfactuals - images) * lungs)

    def changed(strength: Tensor) -> Tensor:
        return compose(images, shape, strength.view(-1, 1, 1, 1))

    low, high = torch.zeros_like(wanted), torch.full_like(wanted, LARGEST)
    for _ in range(40):
        middle = (low + high) / 2
        enough = _norm(changed(middle) - images) >= wanted
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    return changed(low)


def _norm(x: Tensor) -> Tensor:
    length: Tensor = x.flatten(1).norm(dim=1)
    return length


def shuffled_target(target: ModuleTarget, seed: int = 0) -> ModuleTarget | None:
    """The same network with the entries of every parameter in random order: what it learned is gone, the scale of its weights is
    kept (after Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, arXiv 1810.03292, who draw them anew). None for a
    network whose weights are out of reach (ONNX)."""
    if not any(True for _ in target.network.parameters()):
        return None
    random = torch.Generator().manual_seed(seed)
    shuffled = copy.deepcopy(target)
    with torch.no_grad():
        for parameter in shuffled.network.parameters():
            order = torch.randperm(parameter.numel(), generator=random).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return shuffled


@dataclass(frozen=True)
class ConstantTarget:
    """A target that gives p to the positive set, whatever it is shown: every response curve under it must be flat."""

    p: float = 0.3
    operating_point: float = 0.5
    classes: tuple[str, ...] = ("negative", "positive")
    positive: tuple[str, ...] = field(default=("positive",))
    uses_lungs: bool = False
    differentiable: bool = False

    def logits(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        return images.new_tensor([math.log(1 - self.p), math.log(self.p)]).expand(len(images), 2)

    def probability(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        return self.logits(images).softmax(1)[:, 1]
