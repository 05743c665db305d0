"""Realism of a set of images against real ones, in the features of a named, injected network; no weights are downloaded.

KID: Binkowski et al., Demystifying MMD GANs, ICLR 2018, arXiv 1801.01401; unbiased, so primary below n = 3000. Frechet distance:
Heusel et al., GANs Trained by a Two Time-Scale Update Rule, NeurIPS 2017, arXiv 1706.08500; biased upwards at small n. Neither
means anything without the same distance between two sets of real images of equal size. Features are (N, F).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from gan_explain.metrics.registry import BELIEF, Entry, register
from gan_explain.nets.efficientnet_lite import folded, imagenet_features
from gan_explain.pixels import resize
from gan_explain.targets import ModuleTarget
from gan_explain.types import TargetError

PAIRS = {  # what is made of which generated images and which real ones
    "real": ("real negative", "real positive"),  # the distance that a transition has to cover
    "counterfactual.negative": ("counterfactual negative", "real positive"),
    "counterfactual.healed": ("counterfactual healed", "real negative"),
    "synthetic.negative": ("synthetic negative", "real negative"),
    "synthetic.positive": ("synthetic positive", "real positive"),
}
register(
    Entry("realism", "distance of generated images to real ones", BELIEF),
    Entry("kid", "kernel distance to real images", BELIEF, better="lower"),
    Entry("frechet", "Fréchet distance to real images", BELIEF, better="lower"),
    Entry("density", "how densely images lie where real ones do", BELIEF),
    Entry("coverage", "share of real images that have one of them near", BELIEF, better="higher"),
    Entry("synthetic", "synthetic patients", BELIEF),
    Entry("synthetic.negative_at_0", "synthetic patients called negative without a layer", BELIEF, better="higher"),
    Entry("synthetic.positive_at_1.5", "synthetic patients called positive at λ = 1.5", BELIEF, better="higher"),
    Entry("synthetic.nearest", "distance of synthetic patients to the nearest training image", BELIEF),
)

Distance = Callable[[Tensor, Tensor], float]
EMPTY = "expected features (N, F) of at least two images on each side, of one F, got {} and {}"


class Penultimate:
    """Images (N, 1, H, W) in [0, 1] -> (N, F): what a target's last linear layer reads. `name`, as in KID[name]: "small-cxr".

    Raises TargetError for a network without a linear layer.
    """

    def __init__(self, target: ModuleTarget, name: str) -> None:
        linear = [module for module in target.network.modules() if isinstance(module, nn.Linear)]
        if not linear:
            raise TargetError(f"features of {name}: expected a network with a linear layer, got none")
        self.target, self.name, self.last = target, name, linear[-1]

    @torch.no_grad()
    def __call__(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        """A lungs-only target that gets no lungs segments the images itself."""
        caught: list[Tensor] = []
        handle = self.last.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0].detach()))
        try:
            self.target.logits(images, lungs)
        finally:
            handle.remove()
        return caught[-1].flatten(1)


class ImageNet:
    """Images (N, 1, H, W) in [0, 1] -> (N, 320): EfficientNet-Lite0 trained on ImageNet, its last level averaged over the image.
    No network under explanation had a part in it. CheckpointError where its weights are not installed."""

    name = "efficientnet_lite0"
    side = 224

    def __init__(self) -> None:
        self.network = folded(imagenet_features())

    @torch.no_grad()
    def __call__(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        levels: list[Tensor] = self.network.to(images.device)(resize(images, self.side))
        return levels[-1].mean((2, 3))


def kid(a: Tensor, b: Tensor) -> float:
    """Unbiased squared MMD of features (N, F) and (M, F) under the kernel (x.y / F + 1)^3: about 0 for two samples of one
    distribution, and then as often below 0 as above. Symmetric. Raises ValueError for fewer than two samples."""
    if min(len(a), len(b)) < 2 or a.shape[1:] != b.shape[1:]:
        raise ValueError(EMPTY.format(tuple(a.shape), tuple(b.shape)))
    x, y = a.flatten(1).double(), b.flatten(1).double()

    def kernel(p: Tensor, q: Tensor) -> Tensor:
        return (p @ q.T / p.shape[1] + 1) ** 3

    def within(p: Tensor) -> Tensor:
        matrix = kernel(p, p)
        return (matrix.sum() - matrix.diagonal().sum()) / (len(p) * (len(p) - 1))

    return float(within(x) + within(y) - 2 * kernel(x, y).mean())


def frechet(a: Tensor, b: Tensor) -> float:
    """|mu_a - mu_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) of features (N, F) and (M, F); >= 0 up to rounding.

    The trace of the root is the sum of the roots of the eigenvalues of C_a C_b, which needs no matrix root and no N > F.
    """
    if min(len(a), len(b)) < 2 or a.shape[1:] != b.shape[1:]:
        raise ValueError(EMPTY.format(tuple(a.shape), tuple(b.shape)))
    x, y = a.flatten(1).double().cpu().numpy(), b.flatten(1).double().cpu().numpy()
    first, second = np.atleast_2d(np.cov(x, rowvar=False)), np.atleast_2d(np.cov(y, rowvar=False))
    root = np.sqrt(np.linalg.eigvals(first @ second).real.clip(min=0)).sum()
    return float(np.square(x.mean(0) - y.mean(0)).sum() + np.trace(first) + np.trace(second) - 2 * root)


def density(made: Tensor, real: Tensor, k: int = 5) -> float:
    """How densely features (N, F) lie where real ones (M, F) do: mean number of real balls that hold one, over k; about 1 for two
    samples of one distribution. A ball reaches to the k-th nearest other real one. ValueError for k real ones or fewer.

    Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models", ICML 2020, arXiv 2002.09797.
    """
    return float(_held(made, real, k).double().mean() * len(real) / k)


def coverage(made: Tensor, real: Tensor, k: int = 5) -> float:
    """Share of the real balls (see `density`) that hold one of the others: low where only a part of the real is drawn."""
    return float(_held(made, real, k).any(0).double().mean())


def _held(made: Tensor, real: Tensor, k: int) -> Tensor:
    """Whether each of N features lies in the ball of each of M real ones: (N, M) bool."""
    if len(real) <= k or not len(made) or made.shape[1:] != real.shape[1:]:
        raise ValueError(
            f"expected features (N, F) of one F, more than {k} of them real, got {tuple(made.shape)}, {tuple(real.shape)}"
        )
    x, y = made.flatten(1).double(), real.flatten(1).double()
    exact = "donot_use_mm_for_euclid_dist"
    radius = torch.cdist(y, y, compute_mode=exact).kthvalue(k + 1, dim=1).values  # each is nearest to itself
    return torch.cdist(x, y, compute_mode=exact) <= radius


def real_floor(real: Tensor, n: int | None = None, distance: Distance = kid, seed: int = 0) -> float:
    """The distance between two disjoint random sets of n real features (default: half): what a perfect generator gets."""
    half = len(real) // 2 if n is None else n
    if half < 2 or 2 * half > len(real):
        raise ValueError(f"expected at least {2 * max(half, 2)} real images for two sets of {half}, got {len(real)}")
    order = torch.randperm(len(real), generator=torch.Generator().manual_seed(seed))
    return distance(real[order[:half]], real[order[half : 2 * half]])


@dataclass(frozen=True)
class Neighbours:
    """distance (N,) of each generated image to its nearest real one in feature space, and the index (N,) of that."""

    distance: Tensor
    index: Tensor


def nearest_neighbours(fake: Tensor, real: Tensor, chunk: int = 1024) -> Neighbours:
    """Nearest real features (M, F) of generated ones (N, F), Euclidean. A copy of a training image has distance 0; honest ones
    lie about as far from the training set as held-out images do, which the caller measures with the same function."""
    nearest = [torch.cdist(part, real, compute_mode="donot_use_mm_for_euclid_dist").min(1) for part in fake.split(chunk)]
    return Neighbours(torch.cat([n.values for n in nearest]), torch.cat([n.indices for n in nearest]))
