"""What a measure reads where there is nothing to see: a random layer of equal load, shuffled weights, a constant target."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor

from gan_explain.lungs import opacity_load, support
from gan_explain.metrics.change import Change, Columns, logits_along
from gan_explain.metrics.flip import flips
from gan_explain.metrics.inputs import ask
from gan_explain.metrics.registry import NULLS, Entry, computes
from gan_explain.pixels import gaussian_blur
from gan_explain.targets import ModuleTarget
from gan_explain.types import Target

LARGEST = 64.0  # load above which a bounded layer is not tried
SMOOTH = 0.06  # of the width: standard deviation of the blur of a random layer
BISECTIONS = 40


def random_pathology(tau: Tensor, lungs: Tensor, seeds: Sequence[int], most: Tensor | None = None) -> Tensor:
    """A random smooth layer in the same lungs for each layer tau, of the same load: (N, 1, H, W) -> (N, 1, H, W).

    s max(0, g) M, g Gaussian noise blurred by SMOOTH, M the lungs with the soft border that every layer has; s gives it the load
    of tau. With `most` (N, 1, H, W) it is min(s max(0, g) M, most), of the load of tau or as near to it as `most` lets it.
    `seeds` (N,): one for each image, so that its layer does not depend on the batch.
    """
    noise = torch.cat([torch.randn(1, 1, *tau.shape[-2:], generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    shape = gaussian_blur(noise.to(tau), SMOOTH * tau.shape[-1]).clamp(min=0) * support(lungs)
    shape = shape / opacity_load(shape, lungs).nan_to_num().clamp(min=1e-12).view(-1, 1, 1, 1)  # of load 1
    wanted = opacity_load(tau, lungs).nan_to_num()
    if most is None:
        return shape * wanted.view(-1, 1, 1, 1)

    def bounded(strength: Tensor) -> Tensor:
        return torch.minimum(shape * strength.view(-1, 1, 1, 1), most)

    low, high = torch.zeros_like(wanted), torch.full_like(wanted, LARGEST)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        enough = opacity_load(bounded(middle), lungs).nan_to_num() >= wanted
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    return bounded(low)


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


SHUFFLED = Entry("null.shuffled.flip", "flips of a target with shuffled weights", NULLS, better="lower")
CONSTANT = Entry("null.constant.range", "movement of the curve of a target that always gives the same p", NULLS, better="lower")


@computes(SHUFFLED, sides=("negative",))
@torch.no_grad()
def shuffled_flips(change: Change) -> Columns:
    """The counterfactual, asked of the target with its weights in random order."""
    shuffled = change.models.shuffled
    if shuffled is None:
        return {}
    before, after = (ask(shuffled, images, change.lungs) for images in (change.images, change.counterfactual))
    return {SHUFFLED.name: torch.from_numpy(flips(before, after, change.target.operating_point))}


@computes(CONSTANT, sides=("negative",), dear=True)
@torch.no_grad()
def constant_range(change: Change) -> Tensor:
    """How far the response of a constant target moves along the traversal: 0."""
    constant = cast(Target, ConstantTarget())
    p = logits_along(constant, change.start, change.tau, change.lungs, change.settings.strengths).sigmoid()
    return p.amax(1) - p.amin(1)
