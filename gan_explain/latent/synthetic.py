"""Synthetic patients: z1 ~ N(0, I) to a structure with nothing on it."""

from __future__ import annotations

import torch
from torch import Tensor

from gan_explain.image import quantize16
from gan_explain.nets.synthesis import StructureGenerator
from gan_explain.types import Generator, Segmenter

PASSES = 3


@torch.no_grad()
def draw_structure(
    synthesis: StructureGenerator, generator: Generator, segmenter: Segmenter, z1: Tensor
) -> tuple[Tensor, Tensor]:
    """z1 (N, z_dim) -> structure and lungs (N, 1, H, W), both held for the whole traversal.

    What the removal network finds on the drawn lungs is taken off, whatever the target thinks of it: strength 0 is to be healthy,
    and a drawn haze would be neither structure nor named pathology. On clear real lungs removal finds nothing; drawn lungs have
    fewer vessels than real ones and look hazy to it, so it is asked `PASSES` times.
    """
    structure = synthesis(z1)
    lungs = segmenter(structure).to(structure)
    for _ in range(PASSES):
        structure = generator.remove(structure, lungs).structure
    return quantize16(structure), lungs
