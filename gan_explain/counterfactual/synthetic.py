"""Synthetic patients: z1 from the prior of a structure generator to healthy lungs."""

from __future__ import annotations

import hashlib
from typing import Protocol

import torch
from torch import Tensor

from gan_explain.counterfactual.disentangle import disentangle
from gan_explain.counterfactual.radiograph import Radiograph
from gan_explain.pixels import quantize16
from gan_explain.types import Generator, Segmenter


class StructureNetwork(Protocol):
    """A generator of healthy radiographs."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """z1 of its prior: (n, z_dim)."""
        ...

    def __call__(self, z: Tensor, /) -> Tensor:
        """(N, z_dim) -> (N, 1, H, W) in [0, 1]."""
        ...


@torch.no_grad()
def draw_structure(network: StructureNetwork, generator: Generator, segmenter: Segmenter, z1: Tensor) -> tuple[Tensor, Tensor]:
    """z1 (N, z_dim) -> structures on the 16-bit grid and their lungs, (N, 1, H, W) each.

    What the reader finds on the drawn lungs is taken off once, whatever the target thinks of it: strength 0 is to be healthy, and
    a drawn haze would be neither structure nor named pathology.
    """
    drawn = network(z1)
    lungs = segmenter(drawn).to(drawn)
    return quantize16(disentangle(generator, drawn, lungs).structure), lungs


def synthetic_radiograph(network: StructureNetwork, generator: Generator, segmenter: Segmenter, seed: int) -> Radiograph:
    """The synthetic patient of a seed, as a radiograph that was read; its digest is that of its pixels."""
    z1 = network.sample(1, torch.Generator().manual_seed(seed))
    image, lungs = draw_structure(network, generator, segmenter, z1)
    digest = hashlib.sha256(image.cpu().contiguous().numpy().tobytes()).hexdigest()
    return Radiograph(f"synthetic patient {seed}", image, lungs, digest, {"kept": list(image.shape[-2:])})
