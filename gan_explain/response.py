"""What a target makes of a row of images: the frames, each made when it is asked for, and the response along them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self, overload

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_explain.types import Brief, Origin


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

    def __repr__(self) -> str:
        return f"<{self._count} frames>"

    def stack(self) -> Tensor:
        """All of them at once: (L, 1, H, W)."""
        return torch.stack(list(self))

    def cpu(self) -> Frames:
        return Frames(lambda i: self._make(i).cpu(), self._count)


def stored(frames: Tensor) -> Frames:
    """Frames (L, 1, H, W) that are there already."""
    return Frames(lambda i: frames[i], len(frames))


@dataclass(frozen=True, repr=False)
class Response(Brief):
    """Images of one structure at growing strength, and what the target makes of them.

    frames: L images (1, H, W), made when asked for; strengths (L,); probability (L,) of the positive set; class_probability
    (L, K); layer (1, H, W): optical thickness tau at strength 1; structure (1, H, W): the frame at strength 0; lungs (1, H, W);
    code (d,), empty where the layer has none. `name` is the radiograph's, `pathology` where the layer came from, `input` p of the
    radiograph as it came, `remarks` what may be wrong with the radiograph or the pathology, `origin` the radiograph's file (not
    saved).
    """

    frames: Frames
    strengths: Tensor
    probability: Tensor
    class_probability: Tensor
    layer: Tensor
    structure: Tensor
    lungs: Tensor
    code: Tensor
    classes: tuple[str, ...]
    positive: tuple[str, ...]
    operating_point: float
    name: str = ""
    pathology: str = ""
    input: float = float("nan")
    facts: dict[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    origin: Origin | None = None

    @property
    def crossing(self) -> float | None:
        """lambda*: the first strength where the probability passes the operating point (linear between frames); None if never."""
        above = self.probability >= self.operating_point
        for i in range(1, len(above)):
            if bool(above[i]) and not bool(above[i - 1]):
                p0, p1 = float(self.probability[i - 1]), float(self.probability[i])
                s0, s1 = float(self.strengths[i - 1]), float(self.strengths[i])
                return s0 + (s1 - s0) * (self.operating_point - p0) / max(p1 - p0, 1e-12)
        return None

    def cpu(self) -> Self:
        names = ("frames", "strengths", "probability", "class_probability", "layer", "structure", "lungs", "code")
        moved: dict[str, Any] = {name: getattr(self, name).cpu() for name in names}
        return replace(self, **moved)

    def at(self, strength: float) -> float | None:
        """The probability of the frame at a strength; None where there is no such frame."""
        found = (self.strengths == strength).nonzero()
        return float(self.probability[found[0, 0]]) if len(found) else None

    def reduced(self, side: int, chosen: Sequence[int] | None = None) -> Self:
        """For a picture: of the frames the `chosen` ones (by default all), made one after the other and kept at no more than
        `side` pixels a side; the layer, the structure and the lungs likewise."""
        at = list(range(len(self.frames)) if chosen is None else chosen)
        frames = [_small(self.frames[i], side) for i in at]
        return replace(
            self, frames=Frames(frames.__getitem__, len(frames)), strengths=self.strengths[at],
            probability=self.probability[at], class_probability=self.class_probability[at],
            layer=_small(self.layer, side), structure=_small(self.structure, side), lungs=_small(self.lungs, side),
        )  # fmt: skip


def _small(image: Tensor, side: int) -> Tensor:
    height, width = image.shape[-2:]
    scale = side / max(height, width)
    image = image.detach().cpu().float()
    if scale >= 1:
        return image
    size = (max(1, round(scale * height)), max(1, round(scale * width)))
    return F.interpolate(image[None], size, mode="bilinear", antialias=True, align_corners=False)[0]
