"""Response curves of single images: by name of the curve, then by the image's place in the dataset."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from gan_explain.evaluate.table import Row
from gan_explain.files.text import csv_text
from gan_explain.stats import curve_band

Curves = dict[str, dict[int, tuple[float, ...]]]
Floats = NDArray[np.float64]
Curve = dict[str, object]


def curves_to_csv(curves: Curves) -> str:
    """curve,image,p_0,p_1,...: one line a curve of an image; numbers come back to the bit."""
    length = max((len(values) for each in curves.values() for values in each.values()), default=0)
    rows: list[list[object]] = [["curve", "image", *(f"p_{i}" for i in range(length))]]
    for name, each in curves.items():
        rows += [[name, image, *map(float, values), *[None] * (length - len(values))] for image, values in each.items()]
    return csv_text(rows)


def curves_from_csv(lines: Iterable[str]) -> Curves:
    """What `curves_to_csv` wrote. ValueError for anything else."""
    reader = csv.reader(lines)
    if next(reader, [])[:2] != ["curve", "image"]:
        raise ValueError("no curves of images")
    curves: Curves = {}
    for name, image, *values in reader:
        curves.setdefault(name, {})[int(image)] = tuple(float(v) for v in values if v)
    return curves


def table(curves: Curves, name: str) -> tuple[list[int], Floats]:
    """Places (N,) and curves (N, L) of one name, in the order of the dataset."""
    each = dict(sorted(curves.get(name, {}).items()))
    return list(each), np.array(list(each.values()), dtype=np.float64) if each else np.empty((0, 0))


def banded(curves: Floats, patients: Sequence[str], x: Sequence[float], n_boot: int, seed: int) -> Curve | None:
    """Mean curve of (N, L) with its pointwise 95 % band over patients, as the result document has it; None without curves."""
    if not len(curves):
        return None
    mean, low, high = curve_band(curves, patients, n_boot=n_boot, seed=seed)
    return {
        "x": [float(v) for v in x], "mean": mean.tolist(), "low": low.tolist(), "high": high.tolist(),
        "n": len(curves), "patients": len(set(patients)),
    }  # fmt: skip


def patients_of(rows: Sequence[Row]) -> dict[int, str]:
    """Patient by the image's place in the dataset."""
    return {int(row["image"]): str(row["patient_id"]) for row in rows}
