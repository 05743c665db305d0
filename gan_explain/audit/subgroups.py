"""Whether patients of different groups get different response curves: a curve a group, and a permutation test over patients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from gan_explain.audit.document import Comparison, Curve
from gan_explain.data.columns import is_said, numbers
from gan_explain.stats import Floats, between_groups, centred_within, curve_band, curve_permutation_test, holm

LEAST_PATIENTS = 5  # a group of fewer is left out
UNKNOWN = "unknown"
MANY = 6  # a numeric column with more different values than this is cut into bands
AGES = ((0, 17), (18, 39), (40, 59), (60, 120))  # years
OLDEST = AGES[-1][1]


def grouped(values: Sequence[str], column: str = "") -> list[str]:
    """Group names of a manifest column (N,): its values as they are; what says nothing (empty, N/A) is "unknown".

    A numeric column with more than six different values becomes bands: `age` 0-17, 18-39, 40-59, 60+ (years; an age below 0 or
    above 120 is unknown), any other its terciles, named by their limits.
    """
    found = numbers(values, column)
    known = [x for x in found or () if x is not None]
    if found is None or len(set(known)) <= MANY:
        return [value.strip() if is_said(value) else UNKNOWN for value in values]
    if column == "age":
        return [UNKNOWN if x is None else _age(x) for x in found]
    first, second = np.quantile(known, [1 / 3, 2 / 3])
    names = f"up to {first:g}", f"{first:g} to {second:g}", f"above {second:g}"
    return [UNKNOWN if x is None else names[int(x > first) + int(x > second)] for x in found]


def _age(years: float) -> str:
    """The band of an age in years, parts of a year cut off."""
    if not 0 <= years < OLDEST + 1:
        return UNKNOWN
    low, high = next((low, high) for low, high in AGES if int(years) <= high)
    return f"{low}+" if high == OLDEST else f"{low}-{high}"


@dataclass(frozen=True)
class Resampling:
    """shuffles of the groups for the test, bootstrap resamples of the bands, and the seed of both."""

    shuffles: int = 2000
    bootstrap: int = 1000
    seed: int = 0


def compare(
    curves: ArrayLike,
    patients: Sequence[str],
    groups: Sequence[str],
    x: Sequence[float],
    *,
    column: str,
    strata: Sequence[str] | None = None,
    resampling: Resampling | None = None,
) -> Comparison:
    """Curves (N, L) at x (L,) of images, by group (N,); `p_corrected` is for `correct` to fill in.

    Each group has its mean curve with a band over its patients. The test takes patients as units: the curves of one are
    averaged, and one with images in two groups counts in that of the first. The statistic is the sum of squares between the
    groups, averaged over x (`stats.between_groups`); p comes from shuffles of the groups among patients. With `strata` (N,)
    both keep within them: with sources as strata, a difference between sexes that mirrors one between sources does not count.

    Groups of fewer than five patients are left out. "unknown" is shown, not tested: who lacks an entry is no group of patients,
    and often just a source. `reason` names what was left out and why, and why there is no p.
    """
    drawn = resampling or Resampling()
    array = np.asarray(curves, dtype=np.float64).reshape(len(patients), len(x))
    if not len(patients) == len(groups) == (len(patients) if strata is None else len(strata)):
        raise ValueError(f"expected a patient, a group and a stratum for each curve, got {len(patients)}, {len(groups)}")
    kept = [int(i) for i in np.flatnonzero(np.isfinite(array).all(1))]
    firsts: dict[str, int] = {}
    for i in kept:
        firsts.setdefault(patients[i], i)
    group_of = {patient: groups[i] for patient, i in firsts.items()}
    sizes = Counter(group_of.values())
    shown = sorted(name for name, size in sizes.items() if size >= LEAST_PATIENTS)
    tested = [name for name in shown if name != UNKNOWN]
    rows = {name: [i for i in kept if group_of[patients[i]] == name] for name in shown}
    found = {name: banded(array[i], [patients[k] for k in i], x, drawn.bootstrap, drawn.seed) for name, i in rows.items()}
    units = [patient for patient, group in group_of.items() if group in tested]
    means = _patient_means(array[kept], [patients[i] for i in kept])
    notes = [f"{name} left out: {sizes[name]} patients" for name in sorted(sizes) if name not in shown]
    notes += [f"{UNKNOWN} is shown, not tested"] if UNKNOWN in shown else []
    statistic, p = None, None
    if len(tested) > 1:
        values, names = np.stack([means[patient] for patient in units]), [group_of[patient] for patient in units]
        inside = ["all" if strata is None else strata[firsts[patient]] for patient in units]
        statistic = between_groups(centred_within(values, inside), names, x)
        if not _mixed(names, inside):
            notes.append("no test: no source holds patients of two groups")
        else:
            p = curve_permutation_test(values, names, x, strata=inside, n=drawn.shuffles, seed=drawn.seed)
    else:
        notes.append(f"no test: needs two groups of at least {LEAST_PATIENTS} patients")
    reason = "; ".join(notes) or None
    return Comparison(column, found, statistic, p, None, reason)


def correct(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with `p_corrected`: Holm's correction over all columns that were tested."""
    corrected = holm([each.p for each in comparisons])
    return [replace(each, p_corrected=p) for each, p in zip(comparisons, corrected, strict=True)]


def _mixed(groups: Sequence[str], strata: Sequence[str]) -> bool:
    """Whether some stratum holds two groups: where none does, no shuffle within strata changes anything."""
    return len(set(zip(groups, strata, strict=True))) > len(set(strata))


def _patient_means(curves: Floats, patients: Sequence[str]) -> dict[str, Floats]:
    """Curves (N, L) -> the mean curve (L,) of each patient."""
    rows: dict[str, list[int]] = {}
    for i, patient in enumerate(patients):
        rows.setdefault(patient, []).append(i)
    return {patient: curves[places].mean(0) for patient, places in rows.items()}


def banded(curves: Floats, patients: Sequence[str], x: Sequence[float], n_boot: int, seed: int) -> Curve:
    """Mean curve of (N, L) with its pointwise 95 % band over patients."""
    mean, low, high = (tuple(float(v) for v in part) for part in curve_band(curves, patients, n_boot=n_boot, seed=seed))
    return Curve(tuple(float(v) for v in x), mean, low, high, len(curves), len(set(patients)))
