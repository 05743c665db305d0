"""A dose response without any GAN: does p of the positive set rise when opacities of known thickness are laid over negatives?

Five soft veils in the lower outer lungs (COVID-19 opacities are mostly bilateral, peripheral and basal), of known tau,
laid on by `optics.compose` at doses 0 to 2. This renderer is never used to train a target or a removal network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gan_explain.lungs import split_lungs
from gan_explain.metrics.measure import Measure
from gan_explain.metrics.registry import RESPONSE, Entry, register
from gan_explain.optics import compose
from gan_explain.pixels import feather
from gan_explain.types import Target

register(
    Entry("opacity_probe.rises", "images whose p rises with rendered opacities", RESPONSE, better="higher"),
    Entry("opacity_probe.slope", "slope of p per dose of rendered opacities", RESPONSE, better="higher"),
)

VEILS, LOBES = 5, 3
PEAK = (0.35, 0.7)  # tau at the centre of a veil, at dose 1
DOSES = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)
NAMES = ("opacity_probe.rises", "opacity_probe.slope")

Field = NDArray[np.float64]


def veils(lungs: Tensor, patients: Sequence[str]) -> Tensor:
    """Lung masks (N, 1, H, W) in {0, 1} -> tau (N, 1, H, W) >= 0 at dose 1, exactly 0 outside the lungs.

    A patient's veils follow from their id alone and are placed by the bounding box of each lung; without lungs there are none.
    """
    if len(patients) != len(lungs):
        raise ValueError(f"expected a patient for each of {len(lungs)} lung masks, got {len(patients)}")
    drawn = [_veils(mask, patient) for mask, patient in zip(lungs[:, 0].cpu().numpy() > 0.5, patients, strict=True)]
    tau = torch.from_numpy(np.stack(drawn)[:, None]).to(lungs) if drawn else torch.zeros_like(lungs)
    return tau * feather(lungs, lungs.shape[-1] / 64)


def _veils(mask: NDArray[np.bool_], patient: str) -> Field:
    """The veils of one mask (H, W), not yet confined: a smooth maximum, so that overlapping ones do not add up."""
    random = np.random.default_rng(int.from_bytes(hashlib.sha256(patient.encode()).digest()[:8], "little"))
    tau = np.zeros(mask.shape)
    sides = split_lungs(mask)
    first = int(random.integers(2))
    for i in range(VEILS):
        side = (first + i) % 2
        veil = _veil(sides[side], side == 0, random)
        tau += veil**3
    root: Field = np.cbrt(tau)
    return root


def _veil(lung: NDArray[np.bool_], outer_is_left: bool, random: np.random.Generator) -> Field:
    """One veil: a few overlapping Gaussian lobes around a place in the lower outer part of one lung (H, W)."""
    height, across = random.uniform(0.5, 0.88), random.uniform(0.08, 0.42)  # down the lung; inwards from its outer border
    peak, tall, wide = random.uniform(*PEAK), random.uniform(0.06, 0.12), random.uniform(0.14, 0.26)
    lobes = random.normal(size=(LOBES, 4))
    rows = np.flatnonzero(lung.any(1))
    if not len(rows):
        return np.zeros(lung.shape)
    y = rows[0] + height * (rows[-1] - rows[0])
    row = rows[np.abs(rows - y).argmin()]
    columns = np.flatnonzero(lung[row])
    left, right = columns[0], columns[-1]
    x = left + across * (right - left) if outer_is_left else right - across * (right - left)
    every = np.flatnonzero(lung.any(0))
    tall, wide = max(tall * (rows[-1] - rows[0]), 1.0), max(wide * (every[-1] - every[0]), 1.0)  # in pixels
    v, u = np.mgrid[: lung.shape[0], : lung.shape[1]].astype(np.float64)
    veil = np.zeros(lung.shape)
    for down, along, turn, size in lobes:
        angle, scale = 0.5 * turn, np.exp(0.25 * size)
        dy, dx = (v - y) / tall - 0.7 * down, (u - x) / wide - 0.7 * along
        a, b = np.cos(angle) * dx + np.sin(angle) * dy, np.cos(angle) * dy - np.sin(angle) * dx
        veil += np.exp(-0.5 * (a * a + b * b) / scale**2)
    scaled: Field = veil * (peak / veil.max())
    return scaled


@torch.no_grad()
def opacity_probe(
    target: Target,
    images: Tensor,
    lungs: Tensor,
    patients: Sequence[str],
    doses: Sequence[float] = DOSES,
    batch_size: int = 64,
) -> NDArray[np.float64]:
    """p of the positive set (N, D) for images (N, 1, H, W), lungs (N, 1, H, W) and D doses; the lungs are read before dosing."""
    answers = np.empty((len(images), len(doses)))
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        tau = veils(lungs[part], patients[part])
        for column, dose in enumerate(doses):
            dosed = compose(images[part], tau, dose)
            p = target.probability(dosed, lungs[part] if target.uses_lungs else None)
            answers[part, column] = p.float().cpu().numpy()
    return answers


def rises(p: ArrayLike, doses: Sequence[float]) -> NDArray[np.float64]:
    """Whether p rises from dose 0 to dose 1: (N, D) -> (N,) in {0, 1}."""
    array, at = np.asarray(p, dtype=np.float64), list(doses)
    return (array[:, at.index(1.0)] > array[:, at.index(0.0)]).astype(np.float64)


def slopes(p: ArrayLike, doses: Sequence[float]) -> NDArray[np.float64]:
    """Least-squares slope of p over the doses in [0, 1]: (N, D) -> (N,). Their mean is the slope of the mean p."""
    dose = np.asarray(doses, dtype=np.float64)
    early = (dose >= 0) & (dose <= 1)
    x = dose[early] - dose[early].mean()
    return np.asarray(np.asarray(p, dtype=np.float64)[:, early] @ x / (x @ x))


def summarise(
    p: ArrayLike, doses: Sequence[float], patients: Sequence[str], sources: Sequence[str], *, n_boot: int = 1000, seed: int = 0
) -> dict[str, Measure]:
    """p (N, D) -> opacity_probe.rises (share of samples whose p rises from dose 0 to 1) and opacity_probe.slope (of
    mean p over doses 0 to 1, per unit of dose), with patient-bootstrap intervals, over all and by source.

    Raises ValueError unless 0 and 1 are among the doses.
    """
    if not {0.0, 1.0} <= set(doses):
        raise ValueError(f"expected doses 0 and 1 among the doses, got {tuple(doses)}")
    found = {"opacity_probe.rises": rises(p, doses), "opacity_probe.slope": slopes(p, doses)}
    return {name: Measure.over(values, patients, sources, n_boot=n_boot, seed=seed) for name, values in found.items()}
