"""Whether both ends of a traversal are the image itself, and whether what was taken off is gone."""

from __future__ import annotations

import torch
from torch import Tensor

from gan_explain.lungs import opacity_load
from gan_explain.metrics.change import Change, Columns, laid
from gan_explain.metrics.reader import LEAST_LOAD
from gan_explain.metrics.registry import BELIEF, Entry, computes

ZERO = Entry("exact.zero", "largest difference of λ = 0 of a negative from the image", BELIEF, "max", better="lower")
ONE = Entry("exact.one", "largest difference of λ = 1 of a positive from the image", BELIEF, "max", better="lower")
CLAMPED = Entry("clamped", "share of a structure's pixels beyond [0, 1]", BELIEF, better="lower")
REREAD = Entry("reread", "share of the load taken off that is read again", BELIEF, "median", better="lower")


@computes(ZERO, sides=("negative",))
def exact_zero(change: Change) -> Tensor:
    """0, on the 16-bit grid."""
    return _largest(laid(change.images, change.tau, 0.0) - change.images)


@computes(ONE, CLAMPED, sides=("healed",))
def exact_one(change: Change) -> Columns:
    """0, both."""
    beyond = (change.start < 0) | (change.start > 1)
    rest = laid(change.start, change.tau) - change.images
    return {ONE.name: _largest(rest), CLAMPED.name: beyond.float().mean((1, 2, 3))}


def _largest(difference: Tensor) -> Tensor:
    return difference.abs().amax((1, 2, 3))


@computes(REREAD, sides=("healed",))
@torch.no_grad()
def reread(change: Change) -> Columns:
    """The load that is read again on a healed image over the load that was taken off; NaN where that was next to none."""
    again = opacity_load(change.models.drawing.read(change.counterfactual, change.lungs), change.lungs)
    off = opacity_load(change.tau, change.lungs)
    return {REREAD.name: torch.where(off >= LEAST_LOAD, again / off.clamp(min=LEAST_LOAD), torch.nan)}
