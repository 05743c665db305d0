"""The results of `bench.augment` as a table: every arm, and its paired difference to oversampling with classical augmentation.

Sensitivity, specificity and balanced accuracy are those at p >= 0.5. A sensitivity can be bought with specificity, so the main
measure is the sensitivity at one specificity: the threshold lets 90 % of the *validation negatives* pass, which takes no COVID
image beyond the regime's. Intervals resample seeds and test patients, both with replacement, the same draws for both arms of a
difference: they say what another drawing of training images and another set of patients might give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan_explain.metrics.opacity_probe import rises, slopes
from gan_explain.stats import Floats
from gan_explain.types import DataError, Record

REFERENCE = "classical"
SPECIFICITY = 0.9
Weights = Floats  # (B, N): how often each test image counts in each resample
Statistic = Callable[[Weights], Floats]  # -> (B,)


@dataclass(frozen=True)
class Entry:
    """One measure of one arm in one regime: its mean over seeds, its difference to the reference, and 95 % intervals."""

    images: int
    arm: str
    measure: str
    value: float
    low: float
    high: float
    difference: float
    difference_low: float
    difference_high: float
    seeds: int
    n: int


def mean_of(values: Floats, among: NDArray[np.bool_]) -> Statistic:
    """The weighted mean of values (N,) over some of the images."""

    def statistic(weights: Weights) -> Floats:
        chosen = weights[:, among]
        found: Floats = chosen @ values[among] / np.maximum(chosen.sum(1), 1e-12)
        return found

    return statistic


def auroc_of(p: Floats, positive: NDArray[np.bool_], among: NDArray[np.bool_]) -> Statistic:
    """The share of (positive, negative) pairs that p (N,) puts in order, ties counting half."""
    a, b = np.flatnonzero(among & positive), np.flatnonzero(among & ~positive)
    order = (p[a][:, None] > p[b][None]) + 0.5 * (p[a][:, None] == p[b][None])

    def statistic(weights: Weights) -> Floats:
        pairs = ((weights[:, a] @ order) * weights[:, b]).sum(1)
        found: Floats = pairs / np.maximum(weights[:, a].sum(1) * weights[:, b].sum(1), 1e-12)
        return found

    return statistic


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


def entries(rows: Sequence[Mapping[str, Any]], records: Sequence[Record], *, n_boot: int = 2000, seed: int = 0) -> list[Entry]:
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
            drawn = np.random.default_rng(seed + 1).multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), size=n_boot)
            drawn = np.vstack([np.ones(len(seeds)), drawn])  # the first: every seed once
            mine = [statistics(by[images, arm, s], records) for s in seeds]
            reference = [statistics(by[images, REFERENCE, s], records) for s in seeds]
            for name in mine[0]:
                values = np.stack([each[name][0](weights) for each in mine], 1)  # (B, S)
                others = np.stack([each[name][0](weights) for each in reference], 1)
                value, difference = ((x * drawn).sum(1) / drawn.sum(1) for x in (values, values - others))
                low, high = np.quantile(value[1:], [0.025, 0.975])
                d_low, d_high = np.quantile(difference[1:], [0.025, 0.975])
                n = mine[0][name][1]
                found.append(
                    Entry(
                        images, arm, name, float(value[0]), float(low), float(high), float(difference[0]), float(d_low),
                        float(d_high), len(seeds), n,
                    )
                )  # fmt: skip
    return found


def order(arm: str) -> tuple[int, str]:
    """none, classical, then the generators' arms."""
    first = ("none", REFERENCE)
    return (first.index(arm) if arm in first else len(first), arm)


def patient_weights(patients: Sequence[str], n_boot: int, seed: int) -> Weights:
    """(1 + n_boot, N): how often each image counts when patients are drawn with replacement; the first row is all ones."""
    _, which = np.unique(np.asarray(patients), return_inverse=True)
    count = int(which.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=n_boot)
    return np.vstack([np.ones(len(patients)), drawn[:, which].astype(np.float64)])


def markdown(found: Sequence[Entry]) -> str:
    """One row an arm and measure."""
    lines = [
        "| COVID images | arm | measure | value [95 %] | difference to classical [95 %] | seeds | N |",
        "|---|---|---|---|---|---|---|",
    ]
    for e in found:
        paired = "" if e.arm == REFERENCE else f"{e.difference:+.3f} [{e.difference_low:+.3f}, {e.difference_high:+.3f}]"
        lines.append(
            f"| {e.images} | {e.arm} | {e.measure} | {e.value:.3f} [{e.low:.3f}, {e.high:.3f}] | {paired} | {e.seeds} | {e.n} |"
        )
    return "\n".join(lines)
