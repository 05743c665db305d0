"""Which flips survive what happens to files: 8-bit save, JPEG, a little blur, a small shift."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan_explain.metrics.change import Change, Columns
from gan_explain.metrics.flip import flips
from gan_explain.metrics.inputs import ask
from gan_explain.metrics.registry import BELIEF, Entry, Key, computes
from gan_explain.pixels import gaussian_blur, to_uint8

Disturbance = Callable[[Tensor], Tensor]


def eight_bit(images: Tensor) -> Tensor:
    """Images (N, 1, H, W) in [0, 1], rounded to the 256 levels of an 8-bit PNG."""
    return torch.from_numpy(to_uint8(images).astype(np.float32) / 255).to(images)


def jpeg(images: Tensor, quality: int = 90) -> Tensor:
    """Images (N, 1, H, W) in [0, 1], encoded as JPEG and decoded, in memory."""
    decoded = []
    for array in to_uint8(images)[:, 0]:
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, format="JPEG", quality=quality)
        with Image.open(buffer) as file:
            decoded.append(np.asarray(file, dtype=np.float32) / 255)
    return torch.from_numpy(np.stack(decoded))[:, None].to(images)


def blur(images: Tensor, sigma: float = 1.0) -> Tensor:
    """Gaussian blur of 1 pixel."""
    return gaussian_blur(images, sigma)


def shift(images: Tensor, pixels: int = 2) -> Tensor:
    """Moved to the right; the left edge is repeated."""
    edge = images[..., :1].expand(*images.shape[:-1], pixels)
    return torch.cat([edge, images[..., :-pixels]], dim=-1)


DISTURBANCES: dict[str, Disturbance] = {"png8": eight_bit, "jpeg90": jpeg, "blur": blur, "shift": shift}
MOVES = frozenset({"shift"})  # those that move the lungs with the image


NAMES = {"png8": "an 8-bit save", "jpeg90": "JPEG 90", "blur": "1 px of blur", "shift": "2 px of shift"}


@computes(Entry("persistence", "flips that survive", BELIEF, better="higher", of=NAMES))
@torch.no_grad()
def persistence(change: Change) -> Columns:
    """Of the flips, whether each is still one after a disturbance; NaN for what did not flip."""
    point = change.target.operating_point
    flipped = torch.from_numpy(flips(change.p, change.after, point))
    columns = {}
    for name, disturb in DISTURBANCES.items():
        lungs = shift(change.lungs) if name in MOVES else change.lungs
        after = ask(change.target, disturb(change.counterfactual), lungs)
        still = torch.from_numpy(flips(change.p, after, point)).float()
        columns[str(Key("persistence", name))] = torch.where(flipped, still, torch.nan)
    return change.named(columns)
