"""From a radiograph to what a network is given: the one place that resizes, cuts, standardises and repeats."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain import pixels, spectrum
from gan_explain.targets.config import TargetConfig
from gan_explain.targets.crop import cut, lung_square, put_back
from gan_explain.types import TargetError

LARGEST = 10.0  # of a mean or standard deviation that can be meant of images in [0, 1]
LUNG_EPSILON = 1e-4  # added to the variance inside the lungs: a standard deviation of 0.01


class Preparation(nn.Module):
    """Images of the toolkit -> the network's input, differentiable: resized, standardised, repeated to its channels.

    An image that is not square is brought to one as `fit` says: "squeeze" resizes the whole of it, "pad" puts it between black
    margins, "crop" keeps the square in its centre. With a `crop`, the square round the lungs is cut out (`targets.crop`; the
    whole image where the mask is empty). Whole images: (x - mean) / std. Lungs only: zero mean and unit variance over each
    image's own lung pixels, 0 outside; an empty mask gives zeros. In the domain "spectrum" what is shown is the log-magnitude of
    that picture's Fourier transform, zero frequency in the middle, with zero mean and unit variance over each plane
    (`gan_explain.spectrum`).
    """

    def __init__(self, config: TargetConfig) -> None:
        super().__init__()
        for name, values in (("mean", config.mean), ("std", config.std)):
            if len(values) not in (1, config.channels):
                raise TargetError(f"expected 1 or {config.channels} values of {name}, got {len(values)}")
        if max(map(abs, (*config.mean, *config.std))) > LARGEST:
            came = f"{config.mean} and {config.std}"
            raise TargetError(f"expected mean and std of images in [0, 1], got {came}: divide those of values up to 255 by 255")
        if config.size < 1 or config.channels < 1 or min(config.std) <= 0:
            came = f"{config.size}, {config.channels}, {config.std}"
            raise TargetError(f"expected size, channels and std above 0, got {came}")
        if config.crop < 0:
            raise TargetError(f"expected a crop of 0 (none) or more, got {config.crop}")
        self.size, self.channels = config.size, config.channels
        self.lungs_only, self.domain, self.crop, self.fit = config.lungs_only, config.domain, config.crop, config.fit
        self.register_buffer("mean", torch.tensor(config.mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(config.std, dtype=torch.float32).view(1, -1, 1, 1))
        self.mean: Tensor
        self.std: Tensor

    def forward(self, images: Tensor, lungs: Tensor | None = None, scale: float = 1.0) -> Tensor:
        """(N, 1, H, W) in [0, 1], lungs (N, 1, H, W) in {0, 1} -> (N, channels, size, size). A cut is `scale` times as wide as it
        should be, for training."""
        if images.ndim != 4 or images.shape[1] != 1:
            raise ValueError(f"expected images (N, 1, H, W) in [0, 1], got {tuple(images.shape)}")
        if (self.lungs_only or self.crop) and (lungs is None or len(lungs) != len(images)):
            came = "none" if lungs is None else tuple(lungs.shape)
            raise ValueError(f"expected lungs ({len(images)}, 1, H, W) for a target that reads them, got {came}")
        margins = self.margins(*images.shape[-2:])
        images, lungs = F.pad(images, margins), None if lungs is None else F.pad(lungs, margins)
        if self.crop and lungs is not None:
            square = lung_square(lungs, scale * self.crop)
            side = max(self.size, images.shape[-1])
            images, lungs = cut(images, square, side), cut(lungs, square, side, "nearest")
        x = pixels.resize(images, self.size)
        x = self._inside(x, lungs) if self.lungs_only and lungs is not None else (x - self.mean) / self.std
        if self.domain == "spectrum":
            x = spectrum.standardised(spectrum.log_magnitude(x))
        return x.expand(-1, self.channels, -1, -1)

    def margins(self, height: int, width: int) -> tuple[int, int, int, int]:
        """What `fit` adds on the left, right, top and bottom of an image, in pixels; negative where it is cut."""
        if self.fit == "squeeze":
            return 0, 0, 0, 0
        side = max(height, width) if self.fit == "pad" else min(height, width)
        left, top = (side - width) // 2, (side - height) // 2
        return left, side - width - left, top, side - height - top

    def unseen(self, height: int, width: int) -> float:
        """The share of an image of that size that `fit` cuts off."""
        left, right, top, bottom = self.margins(height, width)
        return 1 - min(1, (width + left + right) / width) * min(1, (height + top + bottom) / height)

    def laid_over(self, maps: Tensor, height: int, width: int, lungs: Tensor | None = None) -> Tensor:
        """Maps (N, C, h, w) over the network's input -> (N, C, height, width) over the image, 0 where the network does not see
        it."""
        left, right, top, bottom = margins = self.margins(height, width)
        wide, high = width + left + right, height + top + bottom
        if self.crop and lungs is not None:
            maps = put_back(maps, lung_square(F.pad(lungs, margins), self.crop), high, wide)
        else:
            maps = F.interpolate(maps, (high, wide), mode="bilinear", align_corners=False)
        return F.pad(maps, [-each for each in margins])

    def _inside(self, x: Tensor, lungs: Tensor) -> Tensor:
        """Resized images with zero mean and unit variance inside the lungs, 0 outside."""
        inside = (pixels.resize(lungs, self.size) > 0.5).to(x.dtype)
        area = inside.sum((2, 3), keepdim=True).clamp(min=1)
        mean = (x * inside).sum((2, 3), keepdim=True) / area
        variance = ((x - mean).square() * inside).sum((2, 3), keepdim=True) / area
        return (x - mean) * inside / (variance + LUNG_EPSILON).sqrt()
