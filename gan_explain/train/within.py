"""Discriminators within a source: healed radiographs against healthy ones of the same scanner and age, in pretrained features.

Between sources a discriminator would learn the scanner; within one, what is left to see is disease (VA-GAN, Baumgartner et al.,
CVPR 2018, arXiv 1711.08998, whose critic sees one data set). Hinge loss on a projected discriminator a source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.nets.projected import ProjectedDiscriminator
from gan_explain.train.update import descend

LEVELS = slice(1, 5)  # of the pyramid: strides 4 to 32
RATE = 3e-4


class WithinSource(nn.Module):
    """One discriminator for each source of which `judged` is True; `features`: images -> pyramid, frozen."""

    def __init__(self, features: nn.Module, resolution: int, judged: Sequence[bool], width: int = 32) -> None:
        super().__init__()
        self._features = (features,)
        self.judged = tuple(judged)
        with torch.no_grad():
            device = next(features.parameters()).device
            levels = features(torch.rand(2, 1, resolution, resolution, device=device))[LEVELS]
        shapes = [(level.shape[1], level.shape[-1]) for level in levels]
        self.critics = nn.ModuleList(ProjectedDiscriminator(shapes, width) for _ in judged)
        for critic in self.critics:
            critic.calibrate(levels)
        self.optimizer = torch.optim.Adam([p for p in self.critics.parameters() if p.requires_grad], RATE, betas=(0.0, 0.99))

    def _logits(self, images: Tensor, chosen: Tensor, source: Tensor) -> Tensor:
        """Mean logit (n,) of the chosen images under the discriminator of their source."""
        features = self._features[0](images[chosen])[LEVELS]
        own, out = source[chosen], []
        for s, critic in enumerate(self.critics):
            if self.judged[s] and bool((own == s).any()):
                out.append(critic([level[own == s] for level in features]).mean(1))
        return torch.cat(out) if out else images.new_zeros(0)

    def _judged(self, source: Tensor) -> Tensor:
        return torch.tensor(self.judged, device=source.device)[source]

    def opinion(self, healed: Tensor, healthy: Tensor, source: Tensor) -> Tensor:
        """The generator's term: how far the discriminators take healed radiographs (N, 1, H, W) for diseased ones; scalar."""
        chosen = ~healthy & self._judged(source)
        if not bool(chosen.any()):
            return healed.sum() * 0
        self.critics.requires_grad_(False)
        value = -self._logits(healed, chosen, source).mean()
        self._learnable()
        return value

    def learn(self, images: Tensor, healed: Tensor, healthy: Tensor, source: Tensor, amp: bool = False) -> dict[str, Tensor]:
        """One update of the discriminators on healthy `images` and on `healed` ones (no gradient)."""
        real, fake = healthy & self._judged(source), ~healthy & self._judged(source)
        if not bool(real.any()) or not bool(fake.any()):
            return {}
        with torch.autocast(images.device.type, torch.bfloat16, enabled=amp):
            terms = {
                "within_real": F.relu(1 - self._logits(images, real, source)).mean(),
                "within_healed": F.relu(1 + self._logits(healed.detach(), fake, source)).mean(),
            }
        descend("within", self.critics, self.optimizer, terms)
        return {name: value.detach() for name, value in terms.items()}

    def _learnable(self) -> None:
        for critic in self.critics:
            critic.heads.requires_grad_(True)  # type: ignore[union-attr]

    def state(self) -> dict[str, Any]:
        return {"critics": self.critics.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.critics.load_state_dict(state["critics"])
        self.optimizer.load_state_dict(state["optimizer"])
