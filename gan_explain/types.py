"""The words of the toolkit as types: frozen dataclasses that travel, Protocols that parts fulfil.

Shapes: N images, K classes, d code dimensions, L strengths. Images are float32 (N, 1, H, W) in [0, 1], MONOCHROME2
(air dark, bone bright). Lung masks are float32 (N, 1, H, W) in {0, 1}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:  # errors and records are there before torch is
    import torch
    from torch import Tensor

SPLITS = ("train", "val", "test")
FEW, LONGEST = 6, 100  # items and characters that a repr shows of one value


class DataError(ValueError):
    """Input data is unusable; the message names the file and what was expected (exit code 3)."""


class TargetError(ValueError):
    """A target breaks its contract; the message says what was expected and what came (exit code 4)."""


class TrainingDiverged(RuntimeError):
    """A loss, gradient or weight became NaN or infinite; the message names it (exit code 5)."""


class CheckpointError(DataError):
    """A checkpoint is missing, damaged or of another kind; the message names it (exit code 3)."""


class Brief:
    """A dataclass (`repr=False`) whose repr fits on a few lines of a notebook: tensors by their shapes, long texts cut."""

    def __repr__(self) -> str:
        shown = (f"{name}={brief(value)}" for name, value in vars(self).items() if not name.startswith("_"))
        return f"{type(self).__name__}({', '.join(shown)})"


def brief(value: object) -> str:
    """A value in a few words: a tensor or an array as `tensor(1, 1, 120, 96)`, a sequence of many as their number."""
    shape = getattr(value, "shape", None)
    if shape:
        return f"{type(value).__name__.lower()}({', '.join(map(str, shape))})"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) > FEW:
        return f"<{len(value)} {type(value[0]).__name__}s>"
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


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


@dataclass(frozen=True, repr=False)
class Origin(Brief):
    """The file that a radiograph was read from: its path, the SHA-256 of its bytes, and the rows and columns (from, to) that were
    kept of it."""

    path: str
    sha256: str
    rows: tuple[int, int]
    columns: tuple[int, int]


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


@runtime_checkable
class Generator(Protocol):
    """A disentangling generator: reads the layer of pathology on a radiograph, and decodes layers of other patients.

    Images, lungs and layers tau are (N, 1, H, W) of any size, codes (N, d)."""

    code_dim: int
    resolution: int
    labels: tuple[str, ...]

    def read(self, images: Tensor, lungs: Tensor) -> Tensor:
        """The layer on radiographs -> tau >= 0, which `optics.take_off` takes off with nothing clamped."""
        ...

    def encode(self, tau: Tensor, lungs: Tensor) -> Tensor:
        """Layers in their lungs -> codes of strength 1."""
        ...

    def layer(self, codes: Tensor, lungs: Tensor) -> Tensor:
        """Codes -> tau >= 0 in these lungs, proportional to the codes' strength |c| / sqrt(d)."""
        ...

    def move(self, tau: Tensor, lungs: Tensor, others: Tensor) -> Tensor:
        """Layers in their lungs -> the same, lung to lung, in the lungs of others."""
        ...

    def prior_noise(self, n: int, generator: torch.Generator) -> Tensor:
        """z2 ~ N(0, I): (n, d)."""
        ...

    def from_noise(self, noise: Tensor, label: str) -> Tensor:
        """z2 (n, d) -> codes of strength 1, distributed like those of `label` images; differentiable."""
        ...

    def prior(self, n: int, generator: torch.Generator, label: str = "covid") -> Tensor:
        """Codes (n, d) of strength 1: `from_noise` of `prior_noise`."""
        ...


class Explainer(Protocol):
    """A heat-map method (Captum's convention): returns a tensor shaped like the input."""

    def attribute(self, images: Tensor, model: Target, lungs: Tensor | None = None) -> Tensor: ...
