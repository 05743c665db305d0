"""What a target makes of frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from gan_explain.types import Target

PIXELS = 1 << 23  # of frames that are shown at once: 128 frames of 256 px, one of 2500 x 2048


def _chunks(frames: Iterable[Tensor]) -> Iterator[Tensor]:
    """Frames (1, H, W) -> batches (n, 1, H, W) of at most PIXELS pixels, at least one frame."""
    kept: list[Tensor] = []
    for frame in frames:
        kept.append(frame)
        if (len(kept) + 1) * frame.numel() > PIXELS:
            yield torch.stack(kept)
            kept = []
    if kept:
        yield torch.stack(kept)


@torch.no_grad()
def respond(target: Target, frames: Iterable[Tensor], lungs: Tensor) -> Tensor:
    """Class probabilities (L, K) of frames (L, 1, H, W), or of a sequence of (1, H, W), all under the one lung mask (1, 1, H, W)
    that was read from the input."""
    parts = []
    for chunk in _chunks(frames):
        masks = lungs.expand(len(chunk), -1, -1, -1) if target.uses_lungs else None
        parts.append(target.logits(chunk, masks).float().softmax(1))
    return torch.cat(parts)


def positive_probability(target: Target, class_probability: Tensor) -> Tensor:
    """(L, K) -> (L,): the summed probability of the positive set."""
    chosen = [i for i, name in enumerate(target.classes) if name in target.positive]
    return class_probability[:, chosen].sum(1).clamp(max=1)


def probability(target: Target, image: Tensor, lungs: Tensor) -> float:
    """p of the positive set for one image (1, 1, H, W)."""
    return float(positive_probability(target, respond(target, image, lungs))[0])
