"""How a target is asked, and seeds that stay with a patient."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from gan_explain.targets import masks_for
from gan_explain.types import Target


@torch.no_grad()
def ask(target: Target, images: Tensor, lungs: Tensor) -> Tensor:
    """Probability of the positive set (N,), float32 on the CPU."""
    return target.probability(images, masks_for(target, lungs)).float().cpu()


def positive_logit(target: Target, images: Tensor, lungs: Tensor | None) -> Tensor:
    """log(p / (1 - p)) of the positive set, from the logits, so that it neither saturates nor ties: (N, 1, H, W) -> (N,)."""
    logits = target.logits(images, lungs).float()
    chosen = torch.tensor([name in target.positive for name in target.classes], device=logits.device)
    return logits[:, chosen].logsumexp(1) - logits[:, ~chosen].logsumexp(1)


def seed_of(patient: str, seed: int) -> int:
    """A seed that stays with a patient, whatever the order of the data: 0 to 2^63 - 1."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{patient}".encode()).digest()[:8], "little") >> 1
