"""Traversals: one structure under a layer of growing strength, or between two codes, and the target's response to every frame."""

from __future__ import annotations

import torch
from torch import Tensor

from gan_explain.image import quantize16
from gan_explain.optics import compose
from gan_explain.types import Generator, Target, Traversal


@torch.no_grad()
def frames_of(structure: Tensor, tau: Tensor, strengths: Tensor) -> Tensor:
    """structure and tau (N, 1, H, W), strengths (L,) -> frames (N, L, 1, H, W) on the 16-bit grid on which they are saved."""
    return quantize16(compose(structure[:, None], tau[:, None], strengths.view(1, -1, 1, 1, 1).to(structure)))


@torch.no_grad()
def respond(target: Target, frames: Tensor, lungs: Tensor, batch_size: int = 64) -> Tensor:
    """Class probabilities (L, K) of frames (L, 1, H, W), all under the one lung mask (1, 1, H, W) read from the input."""
    parts = []
    for chunk in frames.split(batch_size):
        masks = lungs.expand(len(chunk), -1, -1, -1) if target.uses_lungs else None
        parts.append(target.logits(chunk, masks).float().softmax(1))
    return torch.cat(parts)


def positive_probability(target: Target, class_probability: Tensor) -> Tensor:
    """(L, K) -> (L,): the summed probability of the positive set."""
    chosen = [i for i, name in enumerate(target.classes) if name in target.positive]
    return class_probability[:, chosen].sum(1)


@torch.no_grad()
def traverse(
    generator: Generator,
    target: Target,
    structure: Tensor,
    code: Tensor,
    lungs: Tensor,
    strengths: Tensor,
    clamped: float = 0.0,
) -> Traversal:
    """Follow one layer: structure and lungs (1, 1, H, W), code (1, d), strengths (L,) -> Traversal.

    The structure is rounded to 16 bits first, so the frame at strength 0 is the structure to the bit.
    """
    structure = quantize16(structure)
    tau = generator.layer(structure, code, lungs)
    return _chart(target, frames_of(structure, tau, strengths)[0], structure, tau, code, lungs, strengths, clamped)


@torch.no_grad()
def traverse_between(
    generator: Generator, target: Target, structure: Tensor, codes: tuple[Tensor, Tensor], lungs: Tensor, positions: Tensor
) -> Traversal:
    """Move along the line (1 - s) a + s b between two codes (1, d) on one structure; the result's `strengths` are s.

    The layer stored is that of b.
    """
    structure = quantize16(structure)
    line = torch.cat([(1 - s) * codes[0] + s * codes[1] for s in positions.tolist()])
    count = len(positions)
    tau = generator.layer(structure.expand(count, -1, -1, -1), line, lungs.expand(count, -1, -1, -1))
    frames = quantize16(compose(structure, tau))
    return _chart(target, frames, structure, tau[-1:], codes[1], lungs, positions, 0.0)


def _chart(
    target: Target,
    frames: Tensor,
    structure: Tensor,
    tau: Tensor,
    code: Tensor,
    lungs: Tensor,
    strengths: Tensor,
    clamped: float,
) -> Traversal:
    probability = respond(target, frames, lungs)
    return Traversal(
        frames=frames, strengths=strengths, probability=positive_probability(target, probability), class_probability=probability,
        layer=tau[0], structure=structure[0], lungs=lungs[0], code=code[0], classes=tuple(target.classes),
        positive=tuple(target.positive), operating_point=target.operating_point, clamped=clamped,
    )  # fmt: skip
