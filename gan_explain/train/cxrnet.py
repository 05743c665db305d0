"""The joint objective of CXR-Net (nets/cxrnet.py): both encoders classify, and the map is small, smooth and holds the evidence.

Zhang et al., IEEE JBHI 2023, arXiv 2110.10813, train classification and explanation together. The terms chosen here:
- `first`, `second`: cross-entropy of either encoder, with label smoothing, on images mixed in pairs (Zhang et al., "mixup", ICLR
  2018, arXiv 1710.09412: x = l x_i + (1 - l) x_j, the labels alike, l ~ Beta(a, a), one l a batch).
- `area`: the mean of the maps, summed over classes; `variation`: the total variation of the maps, likewise. A class that the
  image does not show has an empty map.
- `dropped`: what the map drops must not show the class any more: -log(1 - p) of it by the second encoder on x (1 - A). The
  encoder is held still for it, so that it cannot unlearn the evidence instead.
- The terms of the map teach the decoder and the second encoder; of their gradient the first encoder gets the share `shared`, by
  default none: whether they would help or harm its accuracy was not measured alone.
- A map may tell the class by its shape, whatever lies under it (Jethani et al., "Have We Learned to Explain?", AISTATS 2021,
  arXiv 2103.01890). So a share of the images, `swapped`, is shown to the second encoder through another image's map A or through
  its complement 1 - A, half each: it learns what the evidence looks like wherever it lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gan_explain.data import Batch
from gan_explain.data.spectral import Transform
from gan_explain.nets.cxrnet import CxrNet, mixture
from gan_explain.settings import Settings
from gan_explain.targets import Preparation
from gan_explain.train.objective import TargetObjective, Task

SHIFT, SCALE = 0.05, 0.12  # how far a cut is shifted, of the side, and by how much it is larger or smaller


@dataclass(frozen=True, kw_only=True)
class EvidenceTerms(Settings):
    """With `second`, `area`, `variation` and `dropped` at 0 the first encoder learns alone, at half the cost: a start from which
    --resume goes on."""

    TITLE: ClassVar = "Map of the evidence (cxrnet)"

    second: Annotated[float, Field(ge=0, description="Weight of the second encoder's cross-entropy.")] = 1.0
    area: Annotated[float, Field(ge=0, description="Weight of a small map.")] = 0.1
    variation: Annotated[float, Field(ge=0, description="Weight of a smooth map.")] = 0.1
    dropped: Annotated[float, Field(ge=0, description="Weight of no evidence in what the map drops.")] = 1.0
    swapped: Annotated[float, Field(ge=0, le=1, description="Share of images shown through a map that is not theirs.")] = 0.5
    shared: Annotated[float, Field(ge=0, le=1, description="Share of the map's gradient that reaches the first encoder.")] = 0.0
    mixup: Annotated[float, Field(ge=0, description="Images are mixed by Beta(a, a); 0: not.")] = 0.2


class CxrNetObjective(TargetObjective):
    """The named losses of a CxrNet on a batch, weighted. Draws from torch's own random numbers, as dropout does."""

    network: CxrNet

    def __init__(
        self,
        network: nn.Module,
        prepare: Preparation,
        task: Task,
        transform: Transform | None = None,
        terms: EvidenceTerms = EvidenceTerms(),
    ) -> None:
        if not isinstance(network, CxrNet):
            raise TypeError(f"expected a CxrNet, got {type(network).__name__}")
        super().__init__(network, prepare, task, transform)
        self.terms = terms

    def losses(self, images: Tensor, masks: Tensor, batch: Batch) -> dict[str, Tensor]:
        w = self.terms
        labels = self.task.indices(batch.labels).to(images.device)
        if self.prepare.crop and not self.prepare.lungs_only:  # a cut follows its lungs: shift it
            reach = round(SHIFT * masks.shape[-1])
            masks = masks.roll(torch.randint(-reach, reach + 1, (2,)).tolist(), (2, 3))
        scale = 1 + SCALE * (2 * float(torch.rand(())) - 1) if self.prepare.crop else 1.0
        x, truth = self.mixed(self.prepare(images, masks, scale), F.one_hot(labels, len(self.task.classes)).float())
        x = x.contiguous(memory_format=torch.channels_last)
        if not (w.second or w.area or w.variation or w.dropped):  # the first encoder alone
            return {"first": self.task.cross_entropy(self.network.first(x)[1], truth)}
        first, maps = self.network.look(x, w.shared)
        kept = mixture(maps, first)
        second = self.network.through(x, self.some_swapped(kept))
        found = {
            "first": self.task.cross_entropy(first, truth),
            "second": w.second * self.task.cross_entropy(second, truth),
            "area": w.area * maps.mean((0, 2, 3)).sum(),
            "variation": w.variation * variation(maps),
        }
        if w.dropped:
            found["dropped"] = w.dropped * still_shown(self.network.held(x, 1 - kept), truth)
        return found

    def some_swapped(self, kept: Tensor) -> Tensor:
        """Maps (N, 1, H, W), a share of them another image's or the complement of it; no gradient reaches those."""
        drawn = torch.rand(len(kept), 1, 1, 1, device=kept.device)
        other = kept.detach().roll(1, 0)
        other = torch.where(drawn < self.terms.swapped / 2, 1 - other, other)
        return torch.where(drawn < self.terms.swapped, other, kept)

    def mixed(self, x: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (N, C, H, W) and their labels (N, K), each mixed with another of the batch."""
        if not self.terms.mixup:
            return x, truth
        share = float(torch.distributions.Beta(self.terms.mixup, self.terms.mixup).sample())
        other = torch.randperm(len(x), device=x.device)
        return share * x + (1 - share) * x[other], share * truth + (1 - share) * truth[other]


def variation(maps: Tensor) -> Tensor:
    """Total variation of maps (N, K, H, W): mean absolute step to the right and down, summed over classes -> ()."""
    down, right = (maps[:, :, 1:] - maps[:, :, :-1]).abs(), (maps[..., 1:] - maps[..., :-1]).abs()
    return down.mean((0, 2, 3)).sum() + right.mean((0, 2, 3)).sum()


def still_shown(logits: Tensor, truth: Tensor) -> Tensor:
    """How far logits (N, K) still show the classes of truth (N, K): mean -log(1 - p) of each, 0 where it is ruled out -> ()."""
    logits = logits.float()
    others = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)
    rest = logits[:, None].masked_fill(others, -torch.inf).logsumexp(2)  # (N, K): over all classes but one
    return (truth * (logits.logsumexp(1, keepdim=True) - rest)).sum(1).mean()
