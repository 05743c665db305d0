"""A traversal that is known in full: an even structure under an even layer."""

from __future__ import annotations

import pytest
import torch

from gan_explain.image import quantize16
from gan_explain.optics import compose
from gan_explain.types import Traversal

SIDE, TAU = 16, 0.8


@pytest.fixture
def traversal() -> Traversal:
    """Seven frames, 0 to 1.5; p rises in a straight line from 0 to 1 and crosses 0.4 at 0.6; the layer covers the left half."""
    structure = torch.full((1, SIDE, SIDE), 0.25)
    layer = torch.zeros(1, SIDE, SIDE)
    layer[..., : SIDE // 2] = TAU
    strengths = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5])
    p = strengths / 1.5
    return Traversal(
        frames=quantize16(torch.stack([compose(structure, layer, float(s)) for s in strengths])),
        strengths=strengths,
        probability=p,
        class_probability=torch.stack([1 - p, 0.75 * p, 0.25 * p], 1),
        layer=layer,
        structure=quantize16(structure),
        lungs=(layer > 0).float(),
        code=torch.arange(4.0),
        classes=("normal", "pneumonia", "covid"),
        positive=("covid", "pneumonia"),
        operating_point=0.4,
        clamped=0.125,
    )
