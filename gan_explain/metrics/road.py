"""ROAD: does the answer go when a map's hottest pixels are filled in from around them, and stay when its coldest are?

Rong, Leemann, Borisov, Kasneci & Kasneci, "A Consistent and Efficient Evaluation Strategy for Attribution Methods" (ROAD: remove
and debias), ICML 2022, arXiv 2202.00449. A pixel that is taken away becomes the weighted mean of its eight neighbours, 1/6 for
those beside it and 1/12 for those across, all of them at once (a sparse linear system), plus a little noise, so that neither an
edge nor an exact mean tells where it was. There the accuracy of a model is followed on a set; here p of the positive set, image
by image, and one number is made of the two orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve
from torch import Tensor

from gan_explain.types import Target

SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
NOISE = 0.01  # standard deviation, of the range of an image
BESIDE, ACROSS = 1 / 6, 1 / 12


@dataclass(frozen=True)
class Road:
    """p of the positive set (N, L) when a share of the pixels is imputed, the `most` or the `least` relevant first."""

    most: Tensor
    least: Tensor

    @property
    def score(self) -> Tensor:
        """Mean over the shares of p(least first) - p(most first) -> (N,) in [-1, 1]; 0 for a map that says nothing."""
        return (self.least - self.most).mean(1)


@torch.no_grad()
def road(
    target: Target,
    images: Tensor,
    rank: Tensor,
    seeds: Sequence[int],
    lungs: Tensor | None = None,
    shares: Sequence[float] = SHARES,
    noise: float = NOISE,
) -> Road:
    """Images (N, 1, H, W) in [0, 1], `rank` (N, H W) with 0 for the hottest pixel (`deletion.ranks`), shares in (0, 1).

    The noise of an image is drawn by its seed (N,). `lungs`, the mask of the input, goes to a lungs-only target.
    """
    pixels = rank.shape[1]

    def answer(missing: Tensor) -> Tensor:
        filled = imputed(images, missing.view_as(images), seeds, noise)
        return target.probability(filled, lungs if target.uses_lungs else None).double().cpu()

    counts = [round(pixels * share) for share in shares]
    most, least = (
        [answer(chosen) for chosen in each] for each in zip(*((rank < n, rank >= pixels - n) for n in counts), strict=True)
    )
    return Road(torch.stack(most, 1), torch.stack(least, 1))


def imputed(images: Tensor, missing: Tensor, seeds: Sequence[int], noise: float = NOISE) -> Tensor:
    """Images (N, 1, H, W) in [0, 1] with the `missing` pixels (N, 1, H, W) bool, not all of them, filled in; the others stay."""
    filled = images.clone()
    for image, gone, seed in zip(filled, missing, seeds, strict=True):
        grain = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed)) * noise
        smooth = torch.from_numpy(_solved(image[0].double().cpu().numpy(), gone[0].cpu().numpy())).view_as(grain)
        image[gone] = (smooth + grain).clamp(0, 1).to(image)[gone]
    return filled


def _solved(values: NDArray[np.float64], missing: NDArray[np.bool_]) -> NDArray[np.float64]:
    """values (H, W) where every missing one is the weighted mean of its neighbours, to the solver's tolerance."""
    if missing.all():
        raise ValueError("expected at least one pixel that is not missing, to fill the others in from; got none")
    weights, laplacian = _system(*values.shape)
    gone, known = np.flatnonzero(missing), np.flatnonzero(~missing)
    found = values.flatten()
    if len(gone):
        given = weights[gone][:, known] @ found[known]
        found[gone] = spsolve(laplacian[gone][:, gone].tocsc(), given)
    return found.reshape(values.shape)


@lru_cache(maxsize=4)
def _system(height: int, width: int) -> tuple[Any, Any]:
    """Weights w of every pixel's neighbours (HW, HW), and diag(sum of a row) - w. At a border the mean is of those there are."""

    def beside(n: int) -> Any:
        return sparse.diags([np.ones(n - 1), np.ones(n - 1)], [-1, 1])

    rows, columns = beside(height), beside(width)
    straight = sparse.kron(sparse.identity(height), columns) + sparse.kron(rows, sparse.identity(width))
    weights = (BESIDE * straight + ACROSS * sparse.kron(rows, columns)).tocsr()
    return weights, (sparse.diags(np.asarray(weights.sum(1)).ravel()) - weights).tocsr()
