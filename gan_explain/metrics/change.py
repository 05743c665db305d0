"""What measures are taken of: models, some samples of a batch, and a change that a counterfactual makes to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

import torch
from torch import Tensor

from gan_explain.data import Batch
from gan_explain.metrics.inputs import ask, positive_logit
from gan_explain.optics import compose
from gan_explain.pixels import quantize16
from gan_explain.targets import device_of, masks_for
from gan_explain.types import Generator, Segmenter, Target

CHUNK = 128  # images that a target sees at a time
STRENGTHS = tuple(0.05 * i for i in range(31))  # 0 to 1.5

Columns = dict[str, Tensor]  # one number a sample (N,), by the text of its key
Side = Literal["negative", "healed", "free"]
Perceptual = Callable[[Tensor, Tensor], Tensor]
Extractor = Callable[[Tensor, Tensor], Tensor]  # images in [0, 1] and lungs (N, 1, H, W) -> features (N, F); may have a `name`


class FreeLayer(Protocol):
    """A map that was trained against the target and may act anywhere: an adversary."""

    def layer(self, images: Tensor) -> Tensor:
        """Images (N, 1, H, W) in [0, 1] -> signed tau (N, 1, H, W)."""
        ...


@dataclass(frozen=True)
class Models:
    """Everything that takes part, on one device: the generator, the target, what finds the lungs.

    judges: independent CNNs; free: a map that was trained against the target; perceptual: LPIPS; extractor: whose features serve
    for realism; shuffled: the target with its weights in random order, a null. What is None leaves its measures out.
    """

    generator: Generator | None
    target: Target | None
    segmenter: Segmenter
    judges: Mapping[str, Target] = field(default_factory=dict)
    free: FreeLayer | None = None
    perceptual: Perceptual | None = None
    extractor: Extractor | None = None
    shuffled: Target | None = None

    @property
    def device(self) -> torch.device:
        return device_of(self.generator if self.generator is not None else self.target)

    @property
    def asked(self) -> Target:
        """The target, where there is one."""
        assert self.target is not None
        return self.target

    @property
    def drawing(self) -> Generator:
        """The generator, where there is one."""
        assert self.generator is not None
        return self.generator


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to measure. strengths: along a traversal, rising from 0; label: whose layers the prior draws, the generator's first
    where it is empty; codes: on one patient, for diversity; bootstrap: resamples of an interval. ValueError for what is out of
    range."""

    strengths: tuple[float, ...] = STRENGTHS
    seed: int = 0
    label: str = ""
    codes: int = 16
    bootstrap: int = 1000

    def __post_init__(self) -> None:
        steps = zip(self.strengths, self.strengths[1:], strict=False)
        if len(self.strengths) < 2 or self.strengths[0] != 0 or any(b <= a for a, b in steps):
            raise ValueError(f"expected strengths that rise from 0, got {self.strengths}")
        if self.seed < 0 or self.codes < 2 or self.bootstrap < 1:
            raise ValueError(f"expected a seed >= 0, codes >= 2 and bootstrap >= 1, got {self}")


@dataclass(frozen=True)
class Part:
    """Some samples of a batch. images on the 16-bit grid, their lungs, the layer read on them and the structure under it, all
    (N, 1, H, W); p (N,) of the positive set; rows: their places in the batch. Without a generator the layer is empty and the
    structure the image; without a target p is NaN."""

    batch: Batch
    rows: Tensor
    images: Tensor
    lungs: Tensor
    layer: Tensor
    structure: Tensor
    p: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def patients(self) -> tuple[str, ...]:
        return tuple(self.batch.patients[i] for i in self.rows)

    def where(self, chosen: Tensor) -> Part:
        """The samples for which `chosen` (N,) is True."""
        i = torch.nonzero(chosen).flatten()
        there = i.to(self.images.device)
        images, lungs, layer, structure = (each[there] for each in (self.images, self.lungs, self.layer, self.structure))
        return Part(self.batch, self.rows[i], images, lungs, layer, structure, self.p[i])


@dataclass(frozen=True)
class Change:
    """Images and what a counterfactual makes of them: `tau` laid on `start` at strength 1 (negative, free), or 0 (healed).

    counterfactual (N, 1, H, W) is x_c on the 16-bit grid; it is compared with `images`. The properties are what a measure asks
    for.
    """

    models: Models
    settings: Settings
    side: Side
    part: Part
    start: Tensor
    tau: Tensor
    counterfactual: Tensor

    def __len__(self) -> int:
        return len(self.part)

    @property
    def images(self) -> Tensor:
        return self.part.images

    @property
    def lungs(self) -> Tensor:
        return self.part.lungs

    @property
    def p(self) -> Tensor:
        """Of the positive set, for the images: (N,) on the CPU."""
        return self.part.p

    @cached_property
    def after(self) -> Tensor:
        """The same for the counterfactuals."""
        return ask(self.target, self.counterfactual, self.lungs)

    @property
    def target(self) -> Target:
        return self.models.asked

    @cached_property
    def logits(self) -> Tensor:
        """The target's logit of the positive set along the traversal: (N, L) at the settings' strengths, on the CPU."""
        return logits_along(self.target, self.start, self.tau, self.lungs, self.settings.strengths)

    def named(self, columns: Columns) -> Columns:
        """The columns under their names on this side: with its variant, unless it is the negatives'."""
        return columns if self.side == "negative" else {f"{name}.{self.side}": values for name, values in columns.items()}

    def where(self, chosen: Tensor) -> Change:
        """The samples for which `chosen` (N,) is True."""
        i = torch.nonzero(chosen).flatten().to(self.tau.device)
        start, tau, after = self.start[i], self.tau[i], self.counterfactual[i]
        return Change(self.models, self.settings, self.side, self.part.where(chosen), start, tau, after)


@torch.no_grad()
def laid(structure: Tensor, tau: Tensor, strength: float = 1.0) -> Tensor:
    """A layer laid over a structure, on the 16-bit grid on which frames are scored."""
    return quantize16(compose(structure, tau, strength))


@torch.no_grad()
def logits_along(target: Target, start: Tensor, tau: Tensor, lungs: Tensor, strengths: tuple[float, ...]) -> Tensor:
    """Logits of the positive set (N, L), image by image; start, tau and lungs (N, 1, H, W)."""
    float32 = torch.tensor(strengths).tolist()  # as films have them
    curves = []
    for i in range(len(start)):
        frames = torch.stack([laid(start[i], tau[i], strength) for strength in float32])  # (L, 1, H, W)
        masks = lungs[i : i + 1].expand(len(frames), -1, -1, -1)
        chunks = zip(frames.split(CHUNK), masks.split(CHUNK), strict=True)
        curves.append(torch.cat([positive_logit(target, x, masks_for(target, m)) for x, m in chunks]).cpu())
    return torch.stack(curves)
