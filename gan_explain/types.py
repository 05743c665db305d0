"""The words of the toolkit as types: frozen dataclasses that travel, Protocols that parts fulfil.

Shapes: N images, K classes, d code dimensions, L strengths. Images are float32 (N, 1, H, W) in [0, 1], MONOCHROME2
(air dark, bone bright). Lung masks are float32 (N, 1, H, W) in {0, 1}.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

SPLITS = ("train", "val", "test")


class DataError(ValueError):
    """Input data is unusable; the message names the file and what was expected (exit code 3)."""


class TargetError(ValueError):
    """A target breaks its contract; the message says what was expected and what came (exit code 4)."""


class TrainingDiverged(RuntimeError):
    """A loss, gradient or weight became NaN or infinite; the message names it (exit code 5)."""


class CheckpointError(DataError):
    """A checkpoint is missing, damaged or of another kind; the message names it (exit code 3)."""


@dataclass(frozen=True)
class Record:
    """One image of a dataset, not yet read. `path` and `mask` are relative to the dataset's root; `extra` holds every further
    manifest column as text."""

    path: str
    label: str
    patient_id: str
    split: str
    source: str = ""
    mask: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """One image read and prepared at the dataset's resolution. Tensors are (1, H, W); what is not known is None."""

    record: Record
    image: Tensor
    lungs: Tensor | None = None
    lesion: Tensor | None = None
    severity: float | None = None


@dataclass(frozen=True)
class Code:
    """A pathology code c: `value` (N, d). Its length |c| / sqrt(d) scales the layer, so `value * s` is strength s."""

    value: Tensor

    def scaled(self, strength: float) -> Code:
        return Code(self.value * strength)


@dataclass(frozen=True)
class Traversal:
    """Images of one structure at increasing strength, and what the target makes of them.

    frames (L, 1, H, W); strengths (L,); probability (L,) of the positive set; class_probability (L, K);
    layer (1, H, W): optical thickness tau at strength 1; structure (1, H, W): the frame at strength 0;
    lungs (1, H, W); code (d,). `clamped` is the share of pixels where taking the layer off had to be clamped to S >= 0.
    """

    frames: Tensor
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
    clamped: float = 0.0

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


@runtime_checkable
class Target(Protocol):
    """The CNN under explanation, frozen. Its input size, channels, mean and std live inside it."""

    classes: tuple[str, ...]
    positive: tuple[str, ...]
    operating_point: float
    uses_lungs: bool
    differentiable: bool

    def logits(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        """(N, 1, H, W) in [0, 1] at any size -> (N, K). `lungs` (N, 1, H, W) is the mask read once from the input; a lungs-only
        target that gets none segments the images itself."""
        ...

    def probability(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        """(N, 1, H, W) -> (N,): probability of the positive set."""
        ...


class Segmenter(Protocol):
    def __call__(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) in [0, 1] -> lung mask (N, 1, H, W) in {0, 1}, same size."""
        ...


class Generator(Protocol):
    """A disentangling generator: adds a layer of pathology to a structure image and takes it off again."""

    code_dim: int
    resolution: int
    confine: str

    def layer(self, structure: Tensor, code: Tensor, lungs: Tensor) -> Tensor:
        """structure (N, 1, H, W), code (N, d), lungs (N, 1, H, W) -> tau (N, 1, H, W) at strength 1."""
        ...

    def remove(self, images: Tensor, lungs: Tensor) -> Removal:
        """Take the layer off: (N, 1, H, W) -> the structure, the layer found, and the clamped share."""
        ...

    def encode(self, images: Tensor, lungs: Tensor) -> Tensor:
        """Pathology code of a positive radiograph: (N, 1, H, W) -> (N, d), the posterior mean."""
        ...

    def prior(self, n: int, generator: torch.Generator, label: str = "covid") -> Tensor:
        """z2 ~ N(0, I) mapped to codes of `label` images: (n, d)."""
        ...


@dataclass(frozen=True)
class Removal:
    """structure (N, 1, H, W); tau (N, 1, H, W); clamped (N,): share of pixels where S >= 0 had to be enforced."""

    structure: Tensor
    tau: Tensor
    clamped: Tensor


class Explainer(Protocol):
    """A heat-map method (Captum's convention): returns a tensor shaped like the input."""

    def attribute(self, images: Tensor, target: Target, lungs: Tensor | None = None) -> Tensor: ...
