"""The frames of a traversal, made one at a time: 33 frames of a full-size radiograph need not be in memory at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import overload

import torch
from torch import Tensor

from gan_explain.counterfactual.disentangle import laid
from gan_explain.image import quantize16


class Frames(Sequence[Tensor]):
    """A sequence of L images (1, H, W) on the 16-bit grid; each is made when it is asked for."""

    def __init__(self, make: Callable[[int], Tensor], count: int) -> None:
        self._make, self._count = make, count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, i: int) -> Tensor: ...
    @overload
    def __getitem__(self, i: slice) -> Frames: ...
    def __getitem__(self, i: int | slice) -> Tensor | Frames:
        if isinstance(i, slice):
            chosen = range(self._count)[i]
            return Frames(lambda k: self._make(chosen[k]), len(chosen))
        if not -self._count <= i < self._count:
            raise IndexError(f"expected a frame from {-self._count} to {self._count - 1}, got {i}")
        return self._make(i % self._count)

    def __iter__(self) -> Iterator[Tensor]:
        return (self._make(i) for i in range(self._count))

    def stack(self) -> Tensor:
        """All of them at once: (L, 1, H, W)."""
        return torch.stack(list(self))

    def cpu(self) -> Frames:
        return Frames(lambda i: self._make(i).cpu(), self._count)


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


def stored(frames: Tensor) -> Frames:
    """Frames (L, 1, H, W) that are there already."""
    return Frames(lambda i: frames[i], len(frames))
