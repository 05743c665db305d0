"""What differs from one phantom patient to the next: sizes and places of organs, and the tree of the vessels."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Field = NDArray[np.float64]
SIDES = (-1, 1)
CALIBRES = (0.0, 0.005, 0.009, 0.014, 1.0)  # bounds of the classes in which vessels are drawn


@dataclass(frozen=True)
class Anatomy:
    """What differs from one patient to the next, in units of the frame, drawn by `draw_anatomy`."""

    rotation: float  # radians
    scale: float
    shift: tuple[float, float]
    cage: float  # half width of the rib cage
    apex: float  # y of the lung tops
    domes: tuple[float, float]  # y of the right and the left diaphragm dome
    body: float  # soft tissue: attenuation through the thickest part
    breasts: float
    heart: float  # size
    heart_tilt: float
    knob: float  # size of the aortic knob
    rib_tilt: float
    rib_width: float
    bone: float
    clavicle: float  # slope
    scapula: float  # distance from the midline
    vessels: float
    stomach: float  # gas under the left dome
    exposure: float


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """One patient at random."""

    def around(mean: float, spread: float) -> float:
        return mean + spread * float(np.clip(rng.standard_normal(), -2, 2))

    right = around(0.47, 0.07)
    return Anatomy(
        rotation=around(0, 0.02),
        scale=around(0.97, 0.05),
        shift=(around(0, 0.025), around(0, 0.025)),
        cage=around(0.79, 0.035),
        apex=around(-0.86, 0.03),
        domes=(right, right + around(0.06, 0.015)),
        body=around(2.5, 0.25),
        breasts=float(rng.random() < 0.5) * rng.uniform(0.08, 0.22),
        heart=around(1.0, 0.07),
        heart_tilt=around(0.55, 0.12),
        knob=around(0.085, 0.012),
        rib_tilt=around(0.46, 0.05),
        rib_width=around(0.027, 0.002),
        bone=around(1.0, 0.15),
        clavicle=around(0.2, 0.06),
        scapula=around(0.86, 0.04),
        vessels=around(1.0, 0.2),
        stomach=float(rng.random() < 0.6) * rng.uniform(0.2, 0.7),
        exposure=around(1.0, 0.08),
    )


def vessels(rng: np.random.Generator, anatomy: Anatomy, size: int) -> Field:
    """Pulmonary vessels: points along a branching tree, blurred by their calibre."""
    x, y, width = _vessel_tree(rng)
    cos, sin = anatomy.scale * np.cos(anatomy.rotation), anatomy.scale * np.sin(anatomy.rotation)
    u, v = cos * x - sin * y + anatomy.shift[0], sin * x + cos * y + anatomy.shift[1]
    field = np.zeros((size, size))
    for low, high in itertools.pairwise(CALIBRES):
        chosen = (width >= low) & (width < high)
        points = _splat(u[chosen], v[chosen], width[chosen] ** 2, size)  # cross-section: path length times width
        field += gaussian_filter(points, max(0.55 * float(width[chosen].mean()) * size / 2, 0.4), mode="constant")
    return 16.0 * field


def _vessel_tree(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """x, y and width (P,) of points along branches that leave the hila, bend, taper and fork three times."""
    side = np.repeat(SIDES, 9).astype(float)
    angle = np.tile(np.linspace(-1.25, 1.5, 9), 2) + rng.normal(0, 0.12, 18)
    x0 = side * (0.15 + 0.03 * rng.random(18))
    y0 = 0.1 * np.sin(angle) - 0.02 - 0.025 * side
    width, t = 0.019, np.linspace(0, 1, 40)
    points = []
    for order in range(4):
        length = rng.uniform(0.14, 0.24, len(side)) * (1.15 if order == 0 else 0.9)
        bend = angle[:, None] + rng.normal(0, 0.35, (len(side), 1)) * t  # (branches, points)
        step = length[:, None] / len(t)
        x = x0[:, None] + side[:, None] * np.cumsum(np.cos(bend) * step, axis=1)
        y = y0[:, None] + np.cumsum(np.sin(bend) * step, axis=1)
        points.append((x.ravel(), y.ravel(), np.tile(width * (1 - 0.3 * t), len(side))))
        turn = np.concatenate([-rng.uniform(0.2, 0.55, len(side)), rng.uniform(0.2, 0.55, len(side))])
        angle, side = np.tile(bend[:, -1], 2) + turn, np.tile(side, 2)
        x0, y0, width = np.tile(x[:, -1], 2), np.tile(y[:, -1], 2), width * 0.66
    xs, ys, widths = (np.concatenate(parts) for parts in zip(*points, strict=True))
    return xs, ys, widths


def _splat(u: NDArray[np.float64], v: NDArray[np.float64], weight: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Points in [-1, 1] as a density on the pixel grid (bilinear); its integral does not depend on the size."""
    column, row = (u + 1) * size / 2 - 0.5, (v + 1) * size / 2 - 0.5
    c, r = np.floor(column).astype(int), np.floor(row).astype(int)
    fc, fr = column - c, row - r
    grid = np.zeros(size * size)
    for dr, dc, share in ((0, 0, (1 - fr) * (1 - fc)), (0, 1, (1 - fr) * fc), (1, 0, fr * (1 - fc)), (1, 1, fr * fc)):
        inside = (r + dr >= 0) & (r + dr < size) & (c + dc >= 0) & (c + dc < size)
        index = (r + dr) * size + c + dc
        grid += np.bincount(index[inside], (weight * share)[inside], minlength=size * size)
    return grid.reshape(size, size) * (size / 2) ** 2 * 0.0045
