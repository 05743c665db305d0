"""Filters of the frequency plane as transforms of images: emphasis of important frequencies, and the Gaussian low-pass.

Gebreamlak, Ayyar, Benois-Pineau, Salmon, Zemmari, "Leveraging Explainability methods in Spectral Domain for Data Augmentation and
efficient training of CNN classifiers for Covid-19 Detection", IPTA 2023 (hal-04684288): an importance mask over frequencies is
the filter. The published summary gives no formula; here, for a mask m in [0, 1] and an image x with spectrum F,

    g(f) = low + (high - low) m(f),    g(0) = 1,    x' = F^-1[ g |F| e^(i arg F) ]

so that frequencies of importance 1 are emphasised `high` times, those of importance 0 attenuated to `low`, and every phase is
kept. Then x' gets the mean and the standard deviation of x back and is cut to [0, 1]: a filter changes which frequencies an image
is made of, not its contrast. The low-pass goes the same way, so that the two differ in their gain alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from gan_explain.spectrum import filtered, fitted, gaussian_gain, keep_mean

LOW, HIGH = 0.5, 1.5

# (images (N, 1, H, W) in [0, 1], lungs (N, 1, H, W) or None) -> importance (N, 1, h, w) in [0, 1], centred
Importance = Callable[[Tensor, Tensor | None], Tensor]
# (images (N, 1, H, W) in [0, 1], lungs or None) -> images of the same shape and range
Transform = Callable[[Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class SpectralImportance:
    """Images with their important frequencies emphasised and the rest attenuated; deterministic, no parameter is drawn.

    `importance` is a mask (h, w) or (N, 1, h, w) in [0, 1] for centred frequencies (zero frequency at h // 2, w // 2), or a
    function that gives one for each image, such as that of a spectrum target (`attribution.spectral_importance`). A mask made at
    another size is laid on by frequency, in cycles an image; what it does not reach has importance 0. ValueError unless
    0 <= low <= high and high > 0.
    """

    importance: Tensor | Importance
    low: float = LOW
    high: float = HIGH

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high or self.high <= 0:
            raise ValueError(f"expected 0 <= low <= high and high > 0, got {self.low} and {self.high}")

    def gain(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        """What each frequency of images (N, 1, H, W) is multiplied by: (H, W) or (N, 1, H, W)."""
        mask = self.importance if isinstance(self.importance, Tensor) else self.importance(images, lungs)
        return keep_mean(self.low + (self.high - self.low) * fitted(mask, images.shape[-2], images.shape[-1]))

    def __call__(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        """(N, 1, H, W) in [0, 1] -> the same; differentiable in the images where the mask is given."""
        return with_gain(images, self.gain(images, lungs))


@dataclass(frozen=True)
class GaussianLowPass:
    """The label-preserving filter that importance is compared with: a Gaussian blur of `sigma` pixels. ValueError below 0."""

    sigma: float = 1.0

    def __post_init__(self) -> None:
        if self.sigma < 0:
            raise ValueError(f"expected sigma >= 0, got {self.sigma}")

    def __call__(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        """(N, 1, H, W) in [0, 1] -> the same; differentiable."""
        return with_gain(images, gaussian_gain(images.shape[-2], images.shape[-1], self.sigma))


def with_gain(images: Tensor, gain: Tensor) -> Tensor:
    """Images (N, 1, H, W) in [0, 1], filtered, with their own mean and standard deviation, cut to [0, 1]."""
    mean = images.mean((-2, -1), keepdim=True)
    other = filtered(images, gain) - mean
    ratio = ((images - mean).square().mean((-2, -1), keepdim=True) + 1e-8) / (other.square().mean((-2, -1), keepdim=True) + 1e-8)
    return (mean + other * ratio.sqrt()).clamp(0, 1)
