"""The phantom: procedural chest radiographs whose causes are known. `phantom:n=400,marker_covid=0.8,marker_normal=0.05`.

A healthy chest S (see `chest`) is seen through a layer of optical thickness tau >= 0: 1 - x = (1 - S) exp(-tau), exactly.
COVID: bilateral, peripheral, lower-zone soft opacities. Pneumonia: the consolidation of one lobe. A marker is a bright letter in
an upper corner, outside the lungs: a shortcut, planted in a chosen share of each class.

Image `index` of `seed` is the same whatever `n` is; size changes its resolution, not its anatomy or opacities.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from gan_explain.data.anatomy import Field, draw_anatomy
from gan_explain.data.chest import Chest, render_chest, smooth_noise
from gan_explain.data.dataset import Compact, Dataset, Memory, compact
from gan_explain.data.marker import BRIGHTNESS, draw_marker
from gan_explain.data.splits import split_by_patient
from gan_explain.types import DataError, Record

FULL_LOAD = 0.5  # mean tau over the lung fields at severity 1
LESION_SHARE = 0.25  # a lesion is where tau passes this share of its peak
NOISE = 0.012  # quantum noise of the transmitted intensity at full transmission


@dataclass(frozen=True)
class PhantomSpec:
    """What a phantom dataset holds; shares are in [0, 1], of the images (covid, pneumonia) or of a class (markers)."""

    n: int = 600
    covid: float = 0.5
    pneumonia: float = 0.0
    marker_normal: float = 0.0
    marker_covid: float = 0.0
    marker_pneumonia: float = 0.0

    @classmethod
    def parse(cls, text: str) -> PhantomSpec:
        """`phantom` or `phantom:NAME=VALUE,...`. DataError names what is wrong."""
        kind, _, options = text.partition(":")
        known = {field.name: field.type for field in fields(cls)}
        values: dict[str, float] = {}
        for option in filter(None, options.split(",")):
            name, _, value = (part.strip() for part in option.partition("="))
            if kind != "phantom" or name not in known or name in values:
                raise DataError(
                    f"{text}: expected phantom:NAME=VALUE,... with each of {', '.join(known)} at most once, got {option!r}"
                )
            try:
                values[name] = int(value) if name == "n" else float(value)
            except ValueError as error:
                raise DataError(f"{text}: expected a number for {name}, got {value!r}") from error
        spec = cls(**values)  # type: ignore[arg-type]
        shares = [getattr(spec, name) for name in known if name != "n"]
        if spec.n < 1 or not all(0 <= share <= 1 for share in shares) or spec.covid + spec.pneumonia > 1:
            raise DataError(f"{text}: expected n >= 1, shares in [0, 1] and covid + pneumonia <= 1")
        return spec


@dataclass(frozen=True)
class Phantom:
    """One rendered phantom; every array is (size, size). image = 1 - (1 - structure) exp(-tau) outside the marker."""

    image: Field
    structure: Field
    tau: Field
    lungs: Field
    lesion: Field
    marker: Field
    severity: float


def phantom_records(spec: PhantomSpec, seed: int) -> list[Record]:
    """The records of a phantom dataset: labels in fixed shares; extra columns severity in (0, 1] (0 for normals) and marker."""
    records = []
    for index in range(spec.n):
        rng = _stream(seed, index, "record")
        rank = (index * 0.6180339887 + 0.31 + seed * 0.7548776662) % 1  # spreads evenly, so that small sets are balanced too
        label = "covid" if rank < spec.covid else "pneumonia" if rank < spec.covid + spec.pneumonia else "normal"
        severity = rng.uniform(0.15, 1.0) * {"normal": 0.0, "covid": 1.0, "pneumonia": 0.4}[label]
        marker = rng.random() < getattr(spec, f"marker_{label}")
        extra = {"severity": f"{severity:.6f}", "marker": str(int(marker)), "index": str(index), "seed": str(seed)}
        records.append(Record(f"phantom/{seed}/{index:06d}", label, f"phantom-{seed}-{index:06d}", "", "phantom", extra=extra))
    return split_by_patient(records, seed)


def render_phantom(
    seed: int, index: int, size: int, label: str = "normal", severity: float = 0.0, marker: bool = False
) -> Phantom:
    """Render one phantom. The chest depends on (seed, index) alone: other labels and severities show the same patient.

    severity in [0, 1] is the opacity load: the mean of tau over the lung fields is severity * FULL_LOAD. A normal has none.
    """
    rng = _stream(seed, index, "anatomy")
    chest = render_chest(draw_anatomy(rng), rng, size)
    structure = _expose(chest.attenuation, _stream(seed, index, "noise"), size)
    tau = np.zeros_like(structure)
    if severity > 0 and label in OPACITIES:
        field = OPACITIES[label](chest, _stream(seed, index, label), severity) * _inward(chest.lungs, size)
        tau = field * (severity * FULL_LOAD * chest.lungs.sum() / field.sum())
    image = structure - (1 - structure) * np.expm1(-tau)
    token = draw_marker(_stream(seed, index, "marker"), size) if marker else np.zeros_like(image)
    lesion = (tau > LESION_SHARE * tau.max()) & (chest.lungs > 0)
    return Phantom(
        np.maximum(image, BRIGHTNESS * token), structure, tau, chest.lungs, lesion, token, severity if label in OPACITIES else 0.0
    )


def phantom_dataset(spec: PhantomSpec, size: int, seed: int) -> Dataset:
    """A dataset of phantoms, rendered when asked for and then remembered."""
    return Dataset(Path("phantom"), phantom_records(spec, seed), Memory(read_phantom, size))


def read_phantom(record: Record, size: int) -> Compact:
    """The `Reader` of phantom records."""
    extra = record.extra
    severity, marker = float(extra["severity"]), extra["marker"] == "1"
    phantom = render_phantom(int(extra["seed"]), int(extra["index"]), size, record.label, severity, marker)
    image, lungs, lesion = (
        torch.from_numpy(array.astype(np.float32))[None] for array in (phantom.image, phantom.lungs, phantom.lesion)
    )
    return compact(image, lungs, lesion, phantom.severity)


def _stream(seed: int, index: int, purpose: str) -> np.random.Generator:
    """An independent random stream for each purpose, so that one thing can change while the others stay."""
    return np.random.default_rng([seed, index, *purpose.encode()])


def _expose(attenuation: Field, rng: np.random.Generator, size: int) -> Field:
    """Film of an attenuation map: focal blur, Beer-Lambert, quantum noise; (H, W) in [0, 1]."""
    blurred = gaussian_filter(attenuation, 0.004 * size / 2)
    light = np.exp(-blurred)
    grain = gaussian_filter(rng.standard_normal((size, size)), 0.5) * 1.6
    film: Field = np.clip(1 - light - NOISE * np.sqrt(light) * grain, 0, 1)
    return film


def _inward(lungs: Field, size: int) -> Field:
    """1 well inside the lungs, falling to exactly 0 on their border."""
    soft = gaussian_filter(lungs, max(0.006 * size, 0.6))
    inside: Field = np.clip(2 * soft - 1, 0, 1) * lungs
    return inside


def _covid(chest: Chest, rng: np.random.Generator, severity: float) -> Field:
    """Soft patches in both lungs: towards the periphery, in the lower zones, larger and more of them as severity rises."""
    x, y = chest.x, chest.y
    field = np.zeros_like(x)
    counts = 2 + rng.integers(0, 2, 2) + round(2 * severity)
    spread = 0.15 + 0.1 * severity
    for side, count in zip((-1, 1), counts, strict=True):
        for _ in range(count):
            cy = 0.42 - abs(rng.normal(0, 0.3 + 0.1 * severity))
            cx = side * (0.62 - abs(rng.normal(0, 0.1)) - 0.3 * max(0.0, -cy - 0.15))
            field += rng.uniform(0.5, 1.0) * _patch(x - cx, y - cy, spread * rng.uniform(0.7, 1.2), rng)
    texture = np.exp(0.22 * smooth_noise(rng, x.shape[0], 28) + 0.28 * smooth_noise(rng, x.shape[0], 11))
    rim = 0.4 + 0.6 * np.exp(-((chest.depth / 0.16) ** 2))
    return (1 - np.exp(-2.5 * field)) * texture * rim


def _pneumonia(chest: Chest, rng: np.random.Generator, severity: float) -> Field:
    """One lobe of one lung, dense and even, with a sharp border at the fissure."""
    x, y = chest.x, chest.y
    side, upper = (1 if rng.random() < 0.5 else -1), rng.random() < 0.4
    fissure = rng.normal(-0.1, 0.05) + rng.normal(0.1, 0.05) * (np.abs(x) - 0.4)
    edge = np.clip((fissure - y if upper else y - fissure) / 0.08, 0, 1)
    centre = -0.35 if upper else 0.25
    bulk = 0.25 + _patch(x - side * 0.4, y - centre, 0.2 + 0.2 * severity, rng)
    texture = np.exp(0.25 * smooth_noise(rng, x.shape[0], 24) + 0.25 * smooth_noise(rng, x.shape[0], 10))
    return edge * (side * x > 0) * bulk * texture


def _patch(dx: Field, dy: Field, radius: float, rng: np.random.Generator) -> Field:
    """A soft ellipse at a random angle."""
    angle, stretch = rng.uniform(0, math.pi), rng.uniform(0.7, 1.3)
    u = (math.cos(angle) * dx + math.sin(angle) * dy) / stretch
    v = (math.cos(angle) * dy - math.sin(angle) * dx) * stretch
    return np.exp(-((u**2 + v**2) / radius**2))


OPACITIES: dict[str, Callable[[Chest, np.random.Generator, float], Field]] = {"covid": _covid, "pneumonia": _pneumonia}
