"""The frames of a traversal, made one at a time: 33 frames of a full-size radiograph need not be in memory at once."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from gan_explain.counterfactual.disentangle import laid
from gan_explain.pixels import quantize16
from gan_explain.response import Frames


def layered(structure: Tensor, tau: Tensor, strengths: Tensor) -> Frames:
    """A structure under one layer, (1, H, W) each, at strengths (L,)."""
    values = strengths.tolist()
    return Frames(lambda i: laid(structure, tau, values[i]), len(values))


def layered_each(structure: Tensor, tau: Callable[[int], Tensor], count: int) -> Frames:
    """A structure (1, H, W) under a layer of its own in each frame: tau(i) gives (1, H, W)."""
    return Frames(lambda i: laid(structure, tau(i)), count)


def blended(start: Tensor, end: Tensor, strengths: Tensor) -> Frames:
    """start + lambda (end - start), (1, H, W) each; strength 0 is `start` to the bit."""
    values = strengths.tolist()
    return Frames(lambda i: quantize16(start + values[i] * (end - start)), len(values))
