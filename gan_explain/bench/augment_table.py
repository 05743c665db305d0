"""The results of `bench.augment` as a table: every arm, and its paired difference to oversampling with classical augmentation.

Sensitivity, specificity and balanced accuracy are those at p >= 0.5. A sensitivity can be bought with specificity, so the main
measure is the sensitivity at one specificity: the threshold lets 90 % of the *validation negatives* pass, which takes no COVID
image beyond the regime's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gan_explain.bench.resample import N_BOOT, Statistic, auroc_of, band, mean_of, over_seeds, patient_weights
from gan_explain.metrics.opacity_probe import rises, slopes
from gan_explain.types import DataError, Record

REFERENCE = "classical"
SPECIFICITY = 0.9


@dataclass(frozen=True)
class Entry:
    """One measure of one arm in one regime: its mean over seeds and its difference to the reference, each with its
    interval of 95 %."""

    images: int
    arm: str
    measure: str
    value: tuple[float, float, float]
    difference: tuple[float, float, float]
    seeds: int
    n: int


def statistics(row: Mapping[str, Any], records: Sequence[Record], positive: str = "covid") -> dict[str, tuple[Statistic, int]]:
    """Every measure of one result, as functions of the weights of the test images, with the number of images that it is over.

    Negatives are the normal images; images of other classes come in within the source of the positives alone.
    """
    test = [record for record in records if record.split == "test"]
    p = np.array([row["p"][record.path] for record in test])
    truth = np.array([record.label == positive for record in test])
    normal = np.array([record.label == "normal" for record in test])
    home = {record.source for record in records if record.label == positive}
    within = np.array([record.source in home for record in test])
    kept = np.array([row["p"][r.path] for r in records if r.split == "val" and r.label == "normal"])
    called, right = (p >= 0.5).astype(float), (p < 0.5).astype(float)
    sensitivity, specificity = mean_of(called, truth), mean_of(right, normal)
    doses = np.array([row["dosed"].get(record.path, [np.nan] * len(row["doses"])) for record in test])
    probed = np.isfinite(doses).all(1)
    found = {
        "sensitivity": (sensitivity, int(truth.sum())),
        "specificity": (specificity, int(normal.sum())),
        "balanced accuracy": (lambda w: (sensitivity(w) + specificity(w)) / 2, int((truth | normal).sum())),
        "AUROC": (auroc_of(p, truth, truth | normal), int((truth | normal).sum())),
        "AUROC within source": (auroc_of(p, truth, within), int(within.sum())),
        "opacity probe, slope": (mean_of(np.nan_to_num(slopes(doses, row["doses"])), probed), int(probed.sum())),
        "opacity probe, rises": (mean_of(rises(doses, row["doses"]), probed), int(probed.sum())),
    }
    if len(kept):
        point = float(np.quantile(kept, SPECIFICITY))
        at = mean_of((p > point).astype(float), truth), mean_of((p <= point).astype(float), normal)
        found = {
            f"sensitivity at {SPECIFICITY:.0%} specificity on val": (at[0], int(truth.sum())),
            "specificity there": (at[1], int(normal.sum())),
            **found,
        }
    return found


def entries(rows: Sequence[Mapping[str, Any]], records: Sequence[Record], *, n_boot: int = N_BOOT, seed: int = 0) -> list[Entry]:
    """Every measure of every arm and regime, of the seeds that have both the arm and the reference.

    DataError where there are no results, or an image has none.
    """
    if not rows:
        raise DataError("expected results, got none")
    by = {(int(row["images"]), str(row["arm"]), int(row["seed"])): row for row in rows}
    test = [record for record in records if record.split == "test"]
    weights = patient_weights([record.patient_id for record in test], n_boot, seed)
    found = []
    for images in sorted({key[0] for key in by}):
        for arm in dict.fromkeys(key[1] for key in sorted(by, key=lambda key: order(key[1])) if key[0] == images):
            seeds = [s for (i, a, s) in by if (i, a) == (images, arm) and (images, REFERENCE, s) in by]
            if not seeds:
                continue
            mine = [statistics(by[images, arm, s], records) for s in seeds]
            reference = [statistics(by[images, REFERENCE, s], records) for s in seeds]
            for name in mine[0]:
                values = np.stack([each[name][0](weights) for each in mine], 1)  # (B, S)
                others = np.stack([each[name][0](weights) for each in reference], 1)
                value, difference = over_seeds(values, seed), over_seeds(values - others, seed)
                found.append(Entry(images, arm, name, value, difference, len(seeds), mine[0][name][1]))
    return found


def order(arm: str) -> tuple[int, str]:
    """none, classical, then the generators' arms."""
    first = ("none", REFERENCE)
    return (first.index(arm) if arm in first else len(first), arm)


def markdown(found: Sequence[Entry]) -> str:
    """One row an arm and measure."""
    lines = [
        "| COVID images | arm | measure | value [95 %] | difference to classical [95 %] | seeds | N |",
        "|---|---|---|---|---|---|---|",
    ]
    for e in found:
        paired = "" if e.arm == REFERENCE else band(e.difference, "+")
        lines.append(f"| {e.images} | {e.arm} | {e.measure} | {band(e.value)} | {paired} | {e.seeds} | {e.n} |")
    return "\n".join(lines)
