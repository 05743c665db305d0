"""A history of fakes, so that a discriminator does not forget what the generators did before."""

from __future__ import annotations

import torch
from torch import Tensor


class ImagePool:
    """Shrivastava et al., CVPR 2017, arXiv 1612.07828: while it fills, what comes in goes out; full, half of what comes in takes
    the place of an older image, which goes out instead.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: list[Tensor] = []

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """(N, C, H, W) fakes, detached -> as many, some of them older."""
        if self.size < 1:
            return images
        out = []
        for image in images:
            chance, place = torch.rand(2, generator=generator).tolist()
            if len(self.images) < self.size:
                self.images.append(image.clone())
            elif chance < 0.5:
                index = int(place * self.size)
                image, self.images[index] = self.images[index], image.clone()
            out.append(image)
        return torch.stack(out)
