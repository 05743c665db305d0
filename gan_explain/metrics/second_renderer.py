"""A second family of rendered disease, unlike the veils of the opacity probe in shape and in edge; it trains nothing.

Four patterns: patches (band-limited fractal noise above a threshold), bands (along the outer border of the lungs), a consolidated
lobe with dark streaks as of air bronchograms, and nodules. One or two of them a patient, with edges from sharp to soft.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from gan_explain.lungs import split_lungs

PEAK = (0.35, 0.7)  # tau at the densest place, at dose 1
EDGE = (0.004, 0.03)  # of the side: standard deviation of the blur of an edge
NODULES = (2, 7)

Field = NDArray[np.float64]
Mask = NDArray[np.bool_]


def patterns(lungs: Tensor, patients: Sequence[str]) -> Tensor:
    """Lung masks (N, 1, H, W) in {0, 1} -> tau (N, 1, H, W) >= 0 at dose 1, exactly 0 outside the lungs.

    A patient's patterns follow from their id alone; without lungs there are none. ValueError for another number of patients.
    """
    if len(patients) != len(lungs):
        raise ValueError(f"expected a patient for each of {len(lungs)} lung masks, got {len(patients)}")
    drawn = [_patterns(mask, patient) for mask, patient in zip(lungs[:, 0].cpu().numpy() > 0.5, patients, strict=True)]
    return torch.from_numpy(np.stack(drawn)[:, None]).to(lungs) if drawn else torch.zeros_like(lungs)


def _patterns(mask: Mask, patient: str) -> Field:
    """The patterns of one mask (H, W)."""
    random = np.random.default_rng([2, int.from_bytes(hashlib.sha256(patient.encode()).digest()[:8], "little")])
    chosen = random.choice(len(PATTERNS), size=random.integers(1, 3), replace=False)
    tau = np.zeros(mask.shape)
    for i in chosen:
        shape = PATTERNS[i](mask, random)
        edge = np.exp(random.uniform(*np.log(EDGE))) * len(mask)
        tau = np.maximum(tau, random.uniform(0.6, 1) * ndimage.gaussian_filter(shape, edge))
    tau *= mask
    scaled: Field = tau * (random.uniform(*PEAK) / max(float(tau.max()), 1e-6))
    return scaled


def _patches(mask: Mask, random: np.random.Generator) -> Field:
    """Where fractal noise, its amplitude falling as frequency to the power -1 to -2, is highest."""
    down, across = (np.fft.fftfreq(side) * side for side in mask.shape)
    frequency = np.hypot(down[:, None], across[None])
    band = (frequency >= 2) & (frequency <= 24)
    amplitude = np.where(band, np.maximum(frequency, 1) ** -random.uniform(1, 2), 0)
    noise = np.fft.ifft2(np.fft.fft2(random.normal(size=mask.shape)) * amplitude).real
    inside = noise[mask]
    if not len(inside):
        return np.zeros(mask.shape)
    return ((noise > np.quantile(inside, random.uniform(0.6, 0.9))) & mask).astype(np.float64)


def _band(mask: Mask, random: np.random.Generator) -> Field:
    """A band along the outer border of one lung or of both, over some of its height."""
    tau = np.zeros(mask.shape)
    sides = split_lungs(mask)
    both, first = random.random() < 0.5, int(random.integers(2))
    for i, lung in enumerate(sides):
        width, middle, tall = random.uniform(0.12, 0.3), random.uniform(0.3, 0.8), random.uniform(0.15, 0.4)
        if not lung.any() or not (both or i == first):
            continue
        rows = np.flatnonzero(lung.any(1))
        outward = _across(lung) if i == 1 else 1 - _across(lung)  # 1 at the outer border
        height = (np.arange(len(lung))[:, None] - rows.min()) / max(np.ptp(rows), 1)
        near = np.abs(height - middle) < tall
        tau += lung * near * np.clip((outward - 1 + 2 * width) / width, 0, 1)
    return tau


def _lobe(mask: Mask, random: np.random.Generator) -> Field:
    """The upper, middle or lower part of one lung, dense, crossed by dark branching lines from its inner border."""
    lung = split_lungs(mask)[int(random.integers(2))]
    rows, columns = np.nonzero(lung)
    if not len(rows):
        return np.zeros(mask.shape)
    tilt, start = random.uniform(-0.4, 0.4), random.choice([0.0, 0.3, 0.55])
    y = (np.arange(len(lung))[:, None] - rows.min()) / max(np.ptp(rows), 1) + tilt * (_across(lung) - 0.5)
    filled = lung * ((y >= start) & (y <= start + 0.45))
    streaks = np.zeros(mask.shape)
    v, u = np.mgrid[: mask.shape[0], : mask.shape[1]].astype(np.float64)
    thick = max(0.008 * len(mask), 0.7)
    for _ in range(4):
        angle = random.uniform(-0.9, 0.9)
        at = rows.min() + np.ptp(rows) * (start + random.uniform(0.05, 0.4))
        distance = np.abs((v - at) * np.cos(angle) - (u - columns.mean()) * np.sin(angle))
        streaks = np.maximum(streaks, np.exp(-0.5 * (distance / thick) ** 2))
    dense: Field = filled * (1 - 0.6 * streaks)
    return dense


def _nodules(mask: Mask, random: np.random.Generator) -> Field:
    """Round and oval spots anywhere in the lungs."""
    places = np.argwhere(mask)
    tau = np.zeros(mask.shape)
    v, u = np.mgrid[: mask.shape[0], : mask.shape[1]].astype(np.float64)
    for _ in range(int(random.integers(*NODULES))):
        where, radius, oval = random.random(), random.uniform(0.015, 0.05) * len(mask), random.uniform(0.7, 1.4)
        if len(places):
            y, x = places[int(where * len(places))]
            tau = np.maximum(tau, np.hypot((v - y) * oval, u - x) < radius)
    return tau


def _across(lung: Mask) -> Field:
    """Of every pixel, where it lies between the left and the right border of a lung (H, W) in its row: 0 to 1."""
    columns = np.arange(lung.shape[1])
    left = np.where(lung, columns, lung.shape[1]).min(1, keepdims=True)
    right = np.where(lung, columns, -1).max(1, keepdims=True)
    place: Field = np.clip((columns - left) / np.maximum(right - left, 1), 0, 1)
    return place


PATTERNS: tuple[Callable[[Mask, np.random.Generator], Field], ...] = (_patches, _band, _lobe, _nodules)
