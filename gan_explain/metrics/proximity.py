"""How far a counterfactual is from its image: L1, SSIM, LPIPS, sparsity, and change where there must be none.

SSIM: Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE TIP 2004 (torchmetrics).
LPIPS: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018, arXiv 1801.03924; its
backbone comes from a local file, without which there is no LPIPS.
"""

from __future__ import annotations

import os
import warnings

import lpips
import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from gan_explain.metrics.change import Change, Columns, Perceptual
from gan_explain.metrics.registry import AMOUNT, PLACES, Entry, computes
from gan_explain.metrics.structure import widened
from gan_explain.targets import read_weights
from gan_explain.types import CheckpointError

REACH = 1 / 8  # of the side: a layer is exactly 0 this far from the lungs


def l1(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of images (N, 1, H, W) in [0, 1] -> (N,)."""
    return (a - b).abs().flatten(1).mean(1)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of images (N, 1, H, W) in [0, 1], at least 11 x 11 -> (N,), 1 for equal images."""
    values = structural_similarity_index_measure(a, b, data_range=1.0, reduction="none")
    assert isinstance(values, Tensor)
    return values.reshape(len(a))


def sparsity(a: Tensor, b: Tensor, least: float = 0.05) -> Tensor:
    """Share of the pixels that changed by more than `least`: (N, 1, H, W) -> (N,)."""
    return ((a - b).abs() > least).to(a.dtype).flatten(1).mean(1)


def outside_change(a: Tensor, b: Tensor, inside: Tensor) -> Tensor:
    """Largest absolute change where `inside` (N, 1, H, W), a mask or a feathered one, is exactly 0 -> (N,)."""
    return ((a - b).abs() * (inside == 0)).flatten(1).amax(1)


def perceptual(backbone: str | os.PathLike[str], net: str = "alex") -> Perceptual:
    """LPIPS on a local file of torchvision weights ("alex", "vgg" or "squeeze"): images in [0, 1], (N, 1, H, W) twice -> (N,).

    Raises CheckpointError when the file is missing or of another network.
    """
    state = read_weights(backbone)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # lpips calls torchvision by an older convention
        network = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    try:
        for name, parameter in network.net.named_parameters():  # slice2.3.weight is torchvision's features.3.weight
            parameter.data.copy_(state[f"features.{name.split('.', 1)[1]}"])
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(f"{backbone}: expected torchvision weights of the LPIPS backbone {net!r}, got: {error}") from error
    network.requires_grad_(False).eval()

    @torch.no_grad()
    def measure(a: Tensor, b: Tensor) -> Tensor:
        network.to(a.device)
        distance: Tensor = network(a.expand(-1, 3, -1, -1), b.expand(-1, 3, -1, -1), normalize=True)
        return distance.reshape(len(a))

    return measure


@computes(
    Entry("proximity.l1", "mean absolute change of brightness", AMOUNT, better="lower"),
    Entry("proximity.ssim", "structural similarity", AMOUNT, better="higher"),
    Entry("proximity.lpips", "perceptual distance, LPIPS", AMOUNT, better="lower"),
    Entry("sparsity", "share of pixels that change", AMOUNT, better="lower"),
    Entry("outside.change", "largest change away from the lungs", PLACES, "max", better="lower"),
)
def nearness(change: Change) -> Columns:
    """How far the counterfactuals are from their images."""
    a, b = change.images, change.counterfactual
    columns = {
        "proximity.l1": l1(a, b),
        "proximity.ssim": ssim(a, b),
        "sparsity": sparsity(a, b),
        "outside.change": outside_change(a, b, widened(change.lungs, REACH)),
    }
    if change.models.perceptual is not None:
        columns["proximity.lpips"] = change.models.perceptual(a, b)
    return change.named(columns)
