"""A procedural frontal chest: attenuation A(x, y), the line integral of mu along each ray, and the lung fields that it holds.

Coordinates: x right, y down, both in [-1, 1]; one unit is about 18 cm. The patient's right side is at x < 0, as on a radiograph.
Each tissue adds or takes away optical thickness (Beer-Lambert: what reaches the film is exp(-A)), so overlaps come out as they
do in projection: ribs over lung, lung behind heart, spine through mediastinum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, label

from gan_explain.data.anatomy import Anatomy, Field, vessels

RIBS = 10


@dataclass(frozen=True)
class Chest:
    """attenuation (H, W) >= 0; lungs (H, W) in {0, 1}: the fields not covered by heart and mediastinum; x and y (H, W) in the
    patient's own frame; depth (H, W): distance from the nearest lung border, positive inside."""

    attenuation: Field
    lungs: Field
    x: Field
    y: Field
    depth: Field


def render_chest(anatomy: Anatomy, rng: np.random.Generator, size: int) -> Chest:
    """Project a patient onto `size` x `size` pixels. `rng` draws vessels and tissue texture, the same at every size."""
    x, y = _frame(anatomy, size)
    pixel = 2 / size
    side_x = np.abs(x)
    body = _body(anatomy, x, y)
    depth = _lung_depth(anatomy, x, y)
    heart = _heart(anatomy, x, y)
    mediastinum = np.maximum(heart, _vessel_stems(anatomy, x, y)) ** 0.6
    lungs = _two_largest((depth > 0) & (mediastinum < 0.1))
    air = body * 0.83 * _round(depth / 0.24)
    mediastinum = gaussian_filter(mediastinum, 0.012 / pixel)
    above = _step(depth + 0.02, 0.06) + (1 - _step(y - anatomy.domes[1] + 0.04, 0.1)) * (depth < 0)
    abdomen = 0.25 * _step(y - anatomy.domes[1] - 0.05, 0.5) * (depth < 0)
    total = anatomy.body * (body * (1 + abdomen) - air) + 1.15 * mediastinum * np.clip(above, 0, 1)
    total += anatomy.bone * (
        _ribs(anatomy, x, y, pixel) + _spine(x, y) + _clavicles(anatomy, x, y, pixel) + _scapulae(anatomy, x, y)
    )
    total += anatomy.breasts * _dome(side_x - 0.42, y - 0.35, 0.3, 0.26)
    total += anatomy.vessels * vessels(rng, anatomy, x.shape[0]) * (depth > -0.02)
    total -= 0.8 * _airways(x, y) + anatomy.stomach * _dome(x - 0.4, y - anatomy.domes[1] - 0.13, 0.17, 0.09)
    total *= 1 + 0.05 * smooth_noise(rng, size, 14)
    total = np.where(body > 0, np.maximum(total, 0.05 * body), 0)
    return Chest(anatomy.exposure * total, lungs, x, y, depth)


def _two_largest(mask: NDArray[np.bool_]) -> Field:
    """The two largest connected parts of a mask: right and left lung, without slivers beside the heart."""
    parts, count = label(mask)
    areas = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    return np.isin(parts, np.argsort(areas)[-2:] + 1).astype(np.float64)


def smooth_noise(rng: np.random.Generator, size: int, cells: int) -> Field:
    """(size, size) noise of unit mean square: a cubic B-spline over `cells` x `cells` cells, the same field at every size."""
    at = (np.arange(size) + 0.5) * cells / size
    cell, t = np.floor(at).astype(int), at % 1
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    basis = np.zeros((size, cells + 3))
    for offset in range(4):
        basis[np.arange(size), cell + offset] = weights[offset]
    coarse = rng.standard_normal((cells + 3, cells + 3))
    field: Field = basis @ coarse @ basis.T * (315 / 151)  # the mean square of the basis along one axis is 151/315
    return field


def _frame(anatomy: Anatomy, size: int) -> tuple[Field, Field]:
    """Pixel centres in the patient's own coordinates."""
    line = (np.arange(size) + 0.5) * (2 / size) - 1
    u, v = np.meshgrid(line, line)
    cos, sin = np.cos(anatomy.rotation) / anatomy.scale, np.sin(anatomy.rotation) / anatomy.scale
    u, v = u - anatomy.shift[0], v - anatomy.shift[1]
    return (cos * u + sin * v), (cos * v - sin * u)


def _round(t: Field) -> Field:
    """Quarter circle: 0 at t <= 0, rising steeply, 1 at t >= 1: the path through a rounded body."""
    return np.sqrt(1 - (1 - np.clip(t, 0, 1)) ** 2)


def _dome(dx: Field, dy: Field, a: float, b: float) -> Field:
    """Path through an ellipsoid with half axes a, b: 1 in its centre, 0 on its edge."""
    return np.sqrt(np.clip(1 - (dx / a) ** 2 - (dy / b) ** 2, 0, None))


def _step(distance: Field, width: float | Field) -> Field:
    """0 below, 1 above, smooth over `width`."""
    t = np.clip(distance / width + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def _smooth_min(a: Field, b: Field, k: float) -> Field:
    h = np.clip(0.5 + 0.5 * (b - a) / k, 0, 1)
    return b + (a - b) * h - k * h * (1 - h)


def _body(anatomy: Anatomy, x: Field, y: Field) -> Field:
    """Thickness of the trunk along the ray, 0 in the air beside it, 1 at its thickest."""
    shoulders = 0.55 * _step(-0.42 - y, 0.55)
    half_width = anatomy.cage + 0.13 + shoulders
    trunk = np.sqrt(np.clip(1 - (np.abs(x) / half_width) ** 2, 0, None)) ** 0.9
    neck = 0.8 * (0.34 - np.abs(x))
    slope = y + 1.0 - 0.42 * np.clip(np.abs(x) - 0.25, 0, None) ** 1.5
    return trunk * (0.55 + 0.45 * _step(y + 0.35, 0.9)) * _round((np.maximum(slope, neck) + 0.04) / 0.5) ** 0.7


def _cage(anatomy: Anatomy, y: Field) -> Field:
    """Half width of the rib cage at height y: a dome that opens downwards."""
    t = np.clip((y - anatomy.apex) / 1.45, 0, 1)
    return anatomy.cage * np.sin(np.pi / 2 * t**0.46)


def _lung_depth(anatomy: Anatomy, x: Field, y: Field) -> Field:
    """About the distance from the border of the lungs (heart aside), positive inside."""
    q = np.abs(x)
    lateral = (_cage(anatomy, y) - 0.035 - q) * 0.9
    medial = q - 0.105 - 0.07 * np.exp(-(((y - anatomy.apex) / 0.25) ** 2))
    dome = np.where(x < 0, anatomy.domes[0], anatomy.domes[1])
    curve = np.where(q > 0.38, 1.7 * (q - 0.38) ** 2, 1.3 * (q - 0.38) ** 2)
    base = dome + curve - y
    return _smooth_min(_smooth_min(_smooth_min(lateral, medial, 0.06), 0.75 * (y - anatomy.apex - 0.05), 0.22), base, 0.025)


def _heart(anatomy: Anatomy, x: Field, y: Field) -> Field:
    """Path through the heart: left ventricle and right atrium, 0 outside the silhouette."""
    bottom = anatomy.domes[1]
    cos, sin = np.cos(anatomy.heart_tilt), np.sin(anatomy.heart_tilt)
    dx, dy = x - 0.16, y - (bottom - 0.2)
    ventricle = _dome(cos * dx + sin * dy, cos * dy - sin * dx, 0.37 * anatomy.heart, 0.27 * anatomy.heart)
    atrium = _dome(x + 0.0, y - (bottom - 0.2), 0.225 * anatomy.heart, 0.28 * anatomy.heart)
    return np.maximum(ventricle, 0.85 * atrium)


def _vessel_stems(anatomy: Anatomy, x: Field, y: Field) -> Field:
    """Path through the mediastinum: great vessels, aortic knob, pulmonary trunk."""
    column = np.sqrt(np.clip(1 - (np.abs(x) / 0.125) ** 2, 0, None)) * _step(0.6 - y, 0.3)
    knob = 0.8 * _dome(x - 0.115, y + 0.3, anatomy.knob, anatomy.knob * 1.15)
    trunk = 0.7 * _dome(x - 0.11, y + 0.1, 0.1, 0.13)
    return np.maximum(0.75 * column, np.maximum(knob, trunk))


def _band(distance: Field, width: float | Field, pixel: float) -> Field:
    """Cross-section of a bone: bright cortex on both edges, softer marrow between."""
    edge = max(0.012, pixel)
    t = np.abs(distance) / width
    return _step(1 - t, edge / width) * (0.62 + 0.38 * np.clip(t, 0, 1) ** 3)


def _ribs(anatomy: Anatomy, x: Field, y: Field, pixel: float) -> Field:
    """Each rib is a tilted ring seen from the front: an ellipse, posterior in its upper and anterior in its lower half."""
    total = np.zeros_like(x)
    lifted = y + 0.05 * np.sin(np.pi * np.clip(np.abs(x) / anatomy.cage, 0, 1))
    for i in range(RIBS):
        start = anatomy.apex + 0.1 + 0.143 * i
        drop = anatomy.rib_tilt * (0.5 + 0.5 * min(i / 3, 1.0))
        middle, half = start + drop / 2, drop / 2
        reach = float(_cage(anatomy, np.array(middle))) * (1.0 if i > 1 else 0.94 if i == 1 else 0.8) + 0.01
        dy = lifted - middle
        gradient = 2 * np.sqrt(x**2 / reach**4 + dy**2 / half**4) + 1e-6
        distance = ((x / reach) ** 2 + (dy / half) ** 2 - 1) / gradient
        band = _band(distance, anatomy.rib_width, pixel)
        q = np.abs(x) / reach
        posterior = 0.3 * _step(-dy, 0.06) * _step(np.abs(x) - 0.07, 0.05)
        anterior = 0.2 * _step(dy, 0.06) * _step(q - 0.5 - 0.02 * i, 0.2)
        total += band * (posterior + anterior)
    return total


def _spine(x: Field, y: Field) -> Field:
    """Vertebral bodies with discs between them, pedicles and spinous processes."""
    phase = y / 0.125
    disc = 0.72 + 0.28 * _step(np.abs(phase - np.round(phase)) - 0.13, 0.1)
    bodies = np.clip(1 - (np.abs(x) / 0.088) ** 4, 0, None) * disc
    dy = (phase - np.floor(phase) - 0.5) * 0.125
    pedicles = _dome(np.abs(x) - 0.055, dy, 0.018, 0.026) + 0.8 * _dome(x, dy, 0.014, 0.035)
    return 0.28 * bodies + 0.2 * pedicles


def _clavicles(anatomy: Anatomy, x: Field, y: Field, pixel: float) -> Field:
    q = np.abs(x)
    slope = anatomy.clavicle
    line = anatomy.apex + 0.28 - slope * (q - 0.08) - 0.035 * np.sin(2 * np.pi * (q - 0.08) / 0.8)
    distance = (y - line) / np.sqrt(1 + slope**2)
    ends = _step(q - 0.07, 0.04) * _step(0.84 - q, 0.06)
    return 0.42 * _band(distance, 0.034 + 0.018 * np.exp(-(((q - 0.08) / 0.07) ** 2)), pixel) * ends


def _scapulae(anatomy: Anatomy, x: Field, y: Field) -> Field:
    dx, dy = np.abs(x) - anatomy.scapula, y + 0.38
    blade = _dome(dx + 0.3 * dy, dy, 0.2, 0.42) ** 0.4
    head = _dome(np.abs(x) - 1.02, y + 0.72, 0.17, 0.17) ** 0.6
    return 0.13 * blade + 0.4 * head


def _airways(x: Field, y: Field) -> Field:
    """Trachea down to the carina, and the main bronchi."""
    carina = -0.2
    trachea = np.sqrt(np.clip(1 - ((x + 0.008) / 0.048) ** 2, 0, None)) * _step(carina - y, 0.06)
    along = np.clip(y - carina, 0, 0.17)
    right = np.sqrt(np.clip(1 - ((x + 0.8 * along) / 0.034) ** 2, 0, None))
    left = np.sqrt(np.clip(1 - ((x - 1.1 * along) / 0.032) ** 2, 0, None))
    return trachea + 0.6 * np.maximum(right, left) * _step(y - carina, 0.04) * _step(carina + 0.16 - y, 0.04)
