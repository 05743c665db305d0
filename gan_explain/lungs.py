"""Lungs as a coordinate system: what lies where in them, whatever their shape.

Each lung is mapped to one canonical rectangle: down from apex to base, across from its inner to its outer border, row by row
(both lungs the same way round, so that a place means the same in either). A layer of pathology in canonical coordinates can be
moved into other lungs, and compared between patients. Layers end softly at the border of the lungs (`support`): a hard edge would
draw the mask's outline on the image.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from gan_explain.pixels import gaussian_blur

ROWS, COLUMNS = 40, 24  # of a lung's canonical map
MARGIN = 0.12  # of a lung's height and width that the map reaches beyond each border
EDGE = 0.06  # of a lung's height and width inside its border: places further out get the thickness that is found there
NARROWEST = 0.3  # of a lung's largest width: rows near apex and base count as at least so wide
SOFT = 1 / 64  # standard deviation of the soft border, times the side of the image
DARK = 0.05  # quantile of brightness in the lungs that counts as clear lung
ONE_SIDED = 0.95  # share of a mask in one half of the image from which it is one lung
FAINT = 0.25  # support below which a layer is not scaled up when it is read into canonical coordinates


def split_lungs(mask: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """A mask (H, W) as its left and right part in the image: its two largest regions or, where they touch, cut at the emptiest
    column of its middle half. What lies in one half of the image alone is one lung; the other is empty."""
    regions, count = ndimage.label(mask)
    if count >= 2:
        sizes = np.bincount(regions.ravel())[1:]
        largest = np.argsort(sizes)[-2:] + 1
        if sizes[largest[0] - 1] > 0.2 * sizes[largest[1] - 1]:
            parts = sorted((regions == i for i in largest), key=lambda part: float(np.nonzero(part)[1].mean()))
            return parts[0], parts[1]
    columns = np.flatnonzero(mask.any(0))
    if not len(columns):
        return mask, mask
    share = float(mask[:, : mask.shape[1] // 2].sum() / mask.sum())
    if not 1 - ONE_SIDED < share < ONE_SIDED:
        return (mask, np.zeros_like(mask)) if share > 0.5 else (np.zeros_like(mask), mask)
    width = columns[-1] - columns[0] + 1
    start, stop = columns[0] + width // 4, columns[0] + width - width // 4
    cut = start + int(mask[:, start:stop].sum(0).argmin())
    left = np.arange(mask.shape[1]) < cut
    return mask & left, mask & ~left


def support(lungs: Tensor) -> Tensor:
    """Soft lungs: masks (N, C, H, W) in {0, 1} -> [0, 1], one half at the border, exactly 0 beyond three of its deviations."""
    return gaussian_blur(lungs, max(SOFT * lungs.shape[-1], 0.5))


def shrink(images: Tensor, size: int) -> Tensor:
    """Mean over cells: (N, C, H, W) -> (N, C, size, size)."""
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, (size, size), mode="bilinear", antialias=True, align_corners=False)


@torch.no_grad()
def darkest(images: Tensor, lungs: Tensor, size: int = 64) -> Tensor:
    """How dark clear lung is in each radiograph: the DARK quantile of brightness in the lungs, on a grid of `size` cells a side.
    images in [0, 1] and lungs (N, 1, H, W) -> (N, 1, 1, 1); 0 without lungs."""
    inside = shrink(lungs, size).flatten(1) > 0.5
    ordered = torch.where(inside, shrink(images, size).flatten(1), torch.inf).sort(1).values
    at = (DARK * (inside.sum(1) - 1).clamp(min=0)).round().long()
    found = ordered.gather(1, at[:, None])[:, 0]
    return torch.where(torch.isfinite(found), found, 0.0).view(-1, 1, 1, 1)


def enlarge(layers: Tensor, size: tuple[int, int]) -> Tensor:
    """A smooth layer tau >= 0 on a small grid (N, 1, g, g) -> (N, 1, H, W); what is exactly 0 around a place stays 0 there."""
    if layers.shape[-2:] == tuple(size):
        return layers
    return F.interpolate(layers, size, mode="bicubic", align_corners=False).clamp(min=0)


def lung_coordinates(lungs: Tensor, size: int) -> Tensor:
    """Coordinates relative to the lungs: (N, 1, H, W) mask -> (N, 2, size, size), zero at the mask's centroid, one at a standard
    deviation (clamped to [-3, 3]), so that a place means the same in every patient. An empty mask counts as the whole image."""
    weight = F.adaptive_avg_pool2d(lungs, size) + 1e-4
    axis = torch.linspace(-1, 1, size, device=lungs.device, dtype=lungs.dtype)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"))[None]  # (1, 2, size, size)
    total = weight.sum((2, 3), keepdim=True)
    mean = (grid * weight).sum((2, 3), keepdim=True) / total  # (N, 2, 1, 1)
    deviation = ((grid - mean).square() * weight).sum((2, 3), keepdim=True).div(total).sqrt()
    return ((grid - mean) / deviation.clamp(min=0.05)).clamp(-3, 3)


def check_lungs(lungs: Tensor, images: Tensor) -> None:
    """ValueError unless there is a mask for each image (N, 1, H, W), of its size and in [0, 1]."""
    if lungs.shape != images.shape:
        raise ValueError(f"expected lungs {tuple(images.shape)} as the images are, got {tuple(lungs.shape)}")
    if lungs.numel() and not (float(lungs.min()) >= 0 and float(lungs.max()) <= 1):  # NaN is neither
        raise ValueError(f"expected lungs in {{0, 1}}, got {float(lungs.min()):g} to {float(lungs.max()):g}")


class LungFrame:
    """Canonical coordinates of the lungs (N, 1, H, W) in {0, 1}, on a grid of `size` cells a side; differentiable in the layers.

    `supports` (N, 2, g, g): the soft border of the lung on the left and on the right of the image; a lung that is missing has
    none, and nothing can be laid on it.
    """

    def __init__(self, lungs: Tensor, size: int) -> None:
        if lungs.ndim != 4 or lungs.shape[1] != 1:
            raise ValueError(f"expected lungs (N, 1, H, W) in {{0, 1}}, got {tuple(lungs.shape)}")
        small = (shrink(lungs.float(), size) > 0.5)[:, 0].cpu().numpy()
        sides = np.stack([split_lungs(mask) for mask in small]) if len(small) else np.zeros((0, 2, size, size), bool)
        self.size = size
        self.supports = support(torch.from_numpy(sides).to(lungs))  # (N, 2, g, g)
        borders = (
            np.stack([[_borders(side) for side in pair] for pair in sides]) if len(small) else np.zeros((0, 2, 2 + 2 * size))
        )
        self._set(torch.from_numpy(borders).to(lungs))

    def _set(self, borders: Tensor) -> None:
        """Borders (N, 2, 2 + 2g) of each lung: top, bottom, left of each row, right of each row, in cells."""
        g = self.size
        top, bottom, left, right = borders[..., 0], borders[..., 1], borders[..., 2 : 2 + g], borders[..., 2 + g :]
        at = torch.arange(g, device=borders.device, dtype=borders.dtype)
        down = (at - top[..., None]) / (bottom - top)[..., None]  # (N, 2, g): 0 at the apex, 1 at the base
        across = (at - left[..., None]) / (right - left)[..., None]  # (N, 2, g rows, g columns): from image left to right
        across = torch.stack([1 - across[:, 0], across[:, 1]], 1)  # 0 at the inner border of either lung
        v = down[..., None].expand_as(across).clamp(EDGE, 1 - EDGE)
        across = across.clamp(EDGE, 1 - EDGE)
        self._cells = torch.stack([_to_grid(across), _to_grid(v)], -1)  # (N, 2, g, g, 2): of each cell, in the canonical map
        rows = _centres(ROWS, borders)
        columns = _centres(COLUMNS, borders)
        y = top[..., None] + rows * (bottom - top)[..., None]  # (N, 2, ROWS)
        low = _at_rows(left, y)
        high = _at_rows(right, y)
        inner = torch.stack([high[:, 0], low[:, 1]], 1)  # (N, 2, ROWS)
        outer = torch.stack([low[:, 0], high[:, 1]], 1)
        x = inner[..., None] + columns * (outer - inner)[..., None]  # (N, 2, ROWS, COLUMNS)
        y = y[..., None].expand_as(x)
        self._places = torch.stack([(2 * x + 1) / g - 1, (2 * y + 1) / g - 1], -1)  # of each canonical cell, in the image

    def to_canonical(self, tau: Tensor) -> Tensor:
        """Layers (N, 1, H, W) -> (N, 2, ROWS, COLUMNS), the lung on the left of the image first; their soft border is undone."""
        small = shrink(tau, self.size)
        n = len(small)
        maps = []
        for side in range(2):
            seen = self.supports[:, side : side + 1]
            both = torch.cat([small * seen, seen * self.supports.sum(1, keepdim=True)], 1)
            found = F.grid_sample(both, self._places[:, side], mode="bilinear", padding_mode="border", align_corners=False)
            maps.append(found[:, :1] / found[:, 1:].clamp(min=FAINT**2))
        return torch.cat(maps, 1).view(n, 2, ROWS, COLUMNS)

    def to_image(self, maps: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Canonical maps (N, 2, ROWS, COLUMNS) -> the layer in these lungs (N, 1, H, W), by default on the frame's grid."""
        laid = [
            F.grid_sample(
                maps[:, side : side + 1], self._cells[:, side], mode="bilinear", padding_mode="border", align_corners=False
            )
            * self.supports[:, side : side + 1]
            for side in range(2)
        ]
        tau = laid[0] + laid[1]
        return tau if size is None else enlarge(tau, size)


def _borders(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Top, bottom, and left and right of every row of one lung (g, g) in cells, smoothed; rows beyond it continue its ends."""
    g = len(mask)
    rows = np.flatnonzero(mask.any(1))
    if len(rows) < 2:
        return np.concatenate([[0.0, g - 1.0], np.zeros(g), np.full(g, g - 1.0)]).astype(np.float32)
    left = np.array([mask[r].argmax() for r in rows], np.float64)
    right = np.array([g - 1 - mask[r, ::-1].argmax() for r in rows], np.float64)
    every = np.arange(g)
    left, right = np.interp(every, rows, left), np.interp(every, rows, right)
    left, right = (ndimage.gaussian_filter1d(each, max(g / 32, 0.5), mode="nearest") for each in (left, right))
    least = NARROWEST * float((right - left).max()) + 1
    middle, half = (left + right) / 2, np.maximum(right - left, least) / 2
    return np.concatenate([[rows[0], rows[-1]], middle - half, middle + half]).astype(np.float32)


def _centres(count: int, like: Tensor) -> Tensor:
    """Places of the centres of canonical cells, 0 and 1 at the borders of the lung: (count,)."""
    at = (torch.arange(count, device=like.device, dtype=like.dtype) + 0.5) / count
    return at * (1 + 2 * MARGIN) - MARGIN


def _to_grid(place: Tensor) -> Tensor:
    """Places (0 and 1 at the borders) -> coordinates of `grid_sample` in a canonical map."""
    return 2 * (place + MARGIN) / (1 + 2 * MARGIN) - 1


def _at_rows(values: Tensor, y: Tensor) -> Tensor:
    """Values of every row (N, 2, g) at rows y (N, 2, R), linear between them and constant beyond."""
    y = y.clamp(0, values.shape[-1] - 1)
    below = y.floor().long().clamp(max=values.shape[-1] - 2) if values.shape[-1] > 1 else y.long()
    part = y - below
    return values.gather(-1, below) * (1 - part) + values.gather(-1, below + 1) * part


def opacity_load(tau: Tensor, lungs: Tensor) -> Tensor:
    """sum(tau M) / sum(M): mean optical thickness over the lungs. tau and M (N, 1, H, W) -> (N,); NaN without lungs."""
    area = lungs.flatten(1).sum(1)
    load = (tau * lungs).flatten(1).sum(1)
    return torch.where(area > 0, load / area.clamp(min=1e-12), torch.nan)
