"""How layers of pathology look as a set: where, how much and how sharp; are drawn ones told apart from real ones, or copies?

Layers are compared as canonical maps (`lungs.LungFrame`), in which the shape of a patient's lungs plays no part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gan_explain.lungs import COLUMNS, EDGE, MARGIN, ROWS, LungFrame
from gan_explain.metrics.logistic import solutions
from gan_explain.metrics.registry import READER, Entry, register

register(
    Entry("layers", "layers of the prior against those read on patients", READER),
    Entry("layers.auroc", "AUROC of telling drawn layers from real ones", READER, better="lower"),
    Entry("layers.load", "mean optical thickness", READER),
    Entry("layers.extent", "share of the lungs that is affected", READER),
    Entry("layers.down", "centre of the layer, from apex to base", READER),
    Entry("layers.across", "centre of the layer, from inside to outside", READER),
    Entry("layers.left", "share of the load on the left of the image", READER),
    Entry("layers.sharpness", "gradient of the layer over its load", READER),
    Entry("layers.nearest", "distance to the nearest training layer", READER, "median"),
)

EXTENT = 0.1  # tau above which a place counts as affected
POOL = 4  # cells of a canonical map that are averaged before layers are told apart
FOLDS = 5
RIDGE = 1.0  # of the logistic regression, on standardised features

STATISTICS = ("load", "extent", "down", "across", "left", "sharpness")


def canonical(tau: Tensor, lungs: Tensor) -> Tensor:
    """Layers in their lungs (N, 1, H, W) -> (N, 2, ROWS, COLUMNS)."""
    return LungFrame(lungs, tau.shape[-1]).to_canonical(tau)


def describe(maps: Tensor) -> dict[str, Tensor]:
    """Canonical maps (N, 2, ROWS, COLUMNS) -> STATISTICS, (N,) each.

    load: mean tau; extent: share of the lungs above EXTENT; down, across: centre of the layer, 0 at the apex and at the inner
    border, 1 at the base and at the outer border; left: share of the load in the lung on the left of the image; sharpness: mean
    gradient of tau, per lung height, over the load. The last four are NaN where there is no layer.
    """
    inside = maps[..., _inner(ROWS), :][..., _inner(COLUMNS)]
    rows, columns = inside.shape[-2:]
    total = inside.sum((1, 2, 3))
    there = torch.where(total > 1e-6 * inside[0].numel(), total, torch.nan) if len(maps) else total
    y = ((torch.arange(rows) + 0.5) / rows).to(maps).view(1, 1, -1, 1)
    x = ((torch.arange(columns) + 0.5) / columns).to(maps)
    load = inside.mean((1, 2, 3))
    gradient = inside.diff(dim=-2).abs().mean((1, 2, 3)) * rows + inside.diff(dim=-1).abs().mean((1, 2, 3)) * columns
    return {
        "load": load,
        "extent": (inside > EXTENT).float().mean((1, 2, 3)),
        "down": (inside * y).sum((1, 2, 3)) / there,
        "across": (inside * x).sum((1, 2, 3)) / there,
        "left": inside[:, 0].sum((1, 2)) / there,
        "sharpness": gradient * inside[0].numel() / there if len(maps) else gradient,
    }


def _inner(count: int) -> slice:
    """The cells of a canonical axis well inside the borders of the lung: what lies further out is not laid on an image."""
    outside = math.ceil((MARGIN + EDGE) / (1 + 2 * MARGIN) * count)
    return slice(outside, count - outside)


def scores(real: Tensor, drawn: Tensor, groups: Sequence[str]) -> NDArray[np.float64]:
    """How real a classifier that has not seen them takes canonical maps for: (n, 2, ROWS, COLUMNS) twice -> (2n,), real first.

    Logistic regression on coarse maps, in FOLDS folds; the i-th of both belong to one group, and no group is in two folds. Their
    AUROC is 1/2 where the two sets look alike, 1 where they are told apart. NaN for fewer than FOLDS groups.
    """
    names = np.asarray([*groups, *groups])
    order = {name: i for i, name in enumerate(sorted(set(groups)))}
    found = np.full(len(names), math.nan)
    if len(order) < FOLDS:
        return found
    inside = torch.cat([real, drawn])[..., _inner(ROWS), :][..., _inner(COLUMNS)]
    features = F.avg_pool2d(torch.log1p(4 * inside), POOL).flatten(1).double().numpy()
    truth = np.repeat([1, 0], [len(real), len(drawn)])
    fold = np.array([order[name] % FOLDS for name in names])
    for k in range(FOLDS):
        seen = fold != k
        mean, scale = features[seen].mean(0), features[seen].std(0, ddof=1).clip(min=1e-6)
        ((weights, _),) = solutions((features[seen] - mean) / scale, truth[seen], np.ones(seen.sum()), (RIDGE,), intercept=False)
        found[~seen] = (features[~seen] - mean) / scale @ (weights[1] - weights[0])
    return found


def nearest(maps: Tensor, known: Tensor) -> Tensor:
    """Root mean square distance of canonical maps (N, ...) to the nearest of others (M, ...): (N,)."""
    inside, others = (each[..., _inner(ROWS), :][..., _inner(COLUMNS)].flatten(1).float() for each in (maps, known))
    distance = torch.cdist(inside, others).amin(1)
    return distance / math.sqrt(inside.shape[1]) if len(maps) else distance
