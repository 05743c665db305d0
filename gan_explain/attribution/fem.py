"""FEM: where the last feature maps are unusually strong; and the same over the frequencies of a radiograph.

Fuad, Martin, Giot, Bourqui, Benois-Pineau, Zemmari, "Features Understanding in 3D CNNs for Actions Recognition in Video",
IPTA 2020 (hal-02963298). For the activations A^c of the last convolution, mu_c and sigma_c over the cells of each channel:

    B^c = [A^c >= mu_c + k sigma_c],    L = sum_c mu_c B^c,    scaled to [0, 1]

with k = 1. No gradient and no class is asked for: L says what the network responds to, not for what.

Spectral FEM (Gebreamlak et al., IPTA 2023, hal-04684288): L of a network that was trained on log-magnitude spectra is an
importance m over frequencies. Differs: opposite frequencies, which a real image holds twice, get the mean of both; and the map
comes from the last block with at least 7 x 7 cells, as many as the last one of a ResNet-50 has at 224 px (at 64 px that one has
2 x 2, which hardly tell one frequency from another; the block is layer2, with 8 x 8).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_explain.attribution.base import Layer, finite, register
from gan_explain.attribution.layers import (
    LayerMethod,
    feature_map,
    laid_over,
    look,
    maps_of,
    modules_of,
    needs_places,
    network_of,
    reads_spectrum,
)
from gan_explain.data.spectral import HIGH, LOW, SpectralImportance
from gan_explain.spectrum import filtered, fitted, radius, symmetric
from gan_explain.targets import ModuleTarget
from gan_explain.types import Target, TargetError

K = 1.0
LEAST_CELLS = 7  # a side, of the map that tells frequencies apart


def fem(activations: Tensor, k: float = K) -> Tensor:
    """Activations (N, C, h, w) -> L (N, 1, h, w), float64, scaled to [0, 1]; all zeros where no cell stands out."""
    a = activations.double()
    mean = a.mean((2, 3), keepdim=True)  # (N, C, 1, 1)
    strong = a >= mean + k * a.std((2, 3), correction=0, keepdim=True)
    return scaled((mean * strong).sum(1, keepdim=True))


def scaled(maps: Tensor) -> Tensor:
    """Each map (N, 1, h, w) from its least value at 0 to its largest at 1; zeros for a constant one."""
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    span = high - low
    flat = span <= 1e-9 * torch.maximum(low.abs(), high.abs())
    return torch.where(flat, 0, (maps - low) / torch.where(flat, 1, span))


@torch.no_grad()
def activations(target: Target, images: Tensor, lungs: Tensor | None, layer: Layer = "") -> Tensor:
    """What a layer of the target's network gives for images (N, C, H, W), as (N, C, h, w). Raises TargetError as
    `feature_map`."""
    found = feature_map(target, images, lungs, layer)
    _, given = look(target, images, lungs, [found.name])
    return finite(found.cells(given[found.name]), f"layer {found.name!r}")


def finest_map(target: Target, images: Tensor, lungs: Tensor | None) -> str:
    """Name of the last block (any module that holds a convolution) whose output has at least LEAST_CELLS cells a side, found by
    running images (N, 1, H, W); of the last such convolution in a network without blocks. TargetError where there is none."""
    modules, ran = modules_of(network_of(target)), maps_of(target, images, lungs)
    wide = [read.name for _, _, read in ran if read is not None and read.name and min(read.height, read.width) >= LEAST_CELLS]
    maps = [name for name in wide if any(isinstance(part, torch.nn.Conv2d) for part in modules[name].modules())]
    blocks = [name for name in maps if not isinstance(modules[name], torch.nn.Conv2d)]
    if not maps:
        raise TargetError(f"expected a network with a feature map of {LEAST_CELLS} × {LEAST_CELLS} cells, found none")
    return (blocks or maps)[-1]


@register("fem")
class Fem(LayerMethod):
    """FEM at a layer of the target's network: by default its last feature map (`layers.feature_map`). Heat in [0, 1]."""

    title = "FEM"
    caveat = (
        "Where feature maps are unusually strong, on a grid of a few cells: what the network responds to, whichever class it "
        "speaks for. It is the same map for every class."
    )
    unit = "of the strongest cell"

    def __init__(self, layer: Layer = "", k: float = K) -> None:
        super().__init__(layer)
        self.k = k

    def heat(self, images: Tensor, target: Target, lungs: Tensor | None, chosen: Tensor) -> Tensor:
        """images (N, C, H, W) -> (N, 1, H, W) in [0, 1], whatever is `chosen`. TargetError without a map over the image."""
        needs_places(target, self.name)
        cells = fem(activations(target, images, lungs, self.layer), self.k).float()  # (N, 1, h, w)
        return laid_over(cells, images, target, lungs)


@register("spectral_fem")
class SpectralFem(Fem):
    """FEM over the frequencies of a target that reads the spectrum, and where in the image those frequencies are.

    The heat is |F^-1[ m F ]|, without the mean of the image: how far each pixel moves from it by the important frequencies alone,
    in units of brightness. `importance` is m itself.
    """

    title = "Spectral FEM"
    caveat = (
        "The network sees frequencies without their place: the map shows where this image holds those that it responds to, "
        "not where it looked. Coarse ones lead, which hold most of any image; random weights can give the same map."
    )
    unit = "brightness"

    def layer_of(self, images: Tensor, target: Target, lungs: Tensor | None = None) -> Layer:
        """The layer that is looked at; one image is run to find it. Raises TargetError."""
        return self.layer or finest_map(target, images[:1], None if lungs is None else lungs[:1])

    def importance(self, images: Tensor, target: Target, lungs: Tensor | None = None) -> Tensor:
        """m (N, 1, size, size) in [0, 1] for images (N, 1, H, W): centred, on the plane that the target is shown.

        Raises TargetError for a target that does not read the spectrum of the whole image, or has no feature map of 7 x 7 cells.
        """
        if not isinstance(target, ModuleTarget) or not reads_spectrum(target):
            raise TargetError(
                "spectral_fem needs a target trained on spectra (--set spectral.filter=importance), got one for images"
            )
        if target.prepare.crop:
            raise TargetError("spectral_fem needs a target that reads the spectrum of the whole image, got one that crops it")
        cells = fem(activations(target, images, lungs, self.layer_of(images, target, lungs)), self.k)
        size = target.prepare.size
        return scaled(symmetric(F.interpolate(cells, (size, size), mode="bilinear", align_corners=False))).float()

    def note(self, images: Tensor, target: Target, lungs: Tensor | None = None, chosen: Tensor | None = None) -> str:
        """The layer, and the mean frequency by importance."""
        mask = self.importance(images, target, lungs).mean((0, 1)).cpu()  # (size, size)
        middle = float((mask * radius(*mask.shape)).sum() / mask.sum().clamp(min=1e-12))
        name = feature_map(target, images, lungs, self.layer_of(images, target, lungs)).name
        return f"layer {name}; mean frequency by importance {middle:.0f} cycles an image"

    def heat(self, images: Tensor, target: Target, lungs: Tensor | None, chosen: Tensor) -> Tensor:
        """images (N, 1, H, W) -> (N, 1, H, W) >= 0, whatever is `chosen`. Raises TargetError as `importance` does."""
        height, width = images.shape[-2:]
        mask = fitted(self.importance(images, target, lungs), height, width).clone()
        mask[..., height // 2, width // 2] = 0
        return filtered(images.detach(), mask).abs()


def spectral_importance(
    target: Target, *, layer: Layer = "", k: float = K, low: float = LOW, high: float = HIGH
) -> SpectralImportance:
    """The transform that emphasises, in each image, the frequencies that a spectrum target responds to there."""
    method = SpectralFem(layer, k)
    return SpectralImportance(lambda images, lungs: method.importance(images, target, lungs), low, high)
