"""From the table to measures: a statistic of every column, and rank correlations of what was found with what was planted."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from gan_explain.evaluate.planted import RENDERERS, SICK
from gan_explain.evaluate.result import Aggregator, Floats, Statistic
from gan_explain.labels import NORMAL, coarse
from gan_explain.metrics.measure import Measure
from gan_explain.stats import Interval, auroc, bootstrap_indices

STATISTICS: dict[str, Statistic] = {
    "monotonicity.rho": np.median,
    "crossing.lambda": np.median,
    "crossing.slope": np.median,
    "reread": np.median,
    "exact.zero": np.max,
    "exact.one": np.max,
    "outside.change": np.max,
    "outside.change.healed": np.max,
}
RAW = {"p", "p_counterfactual", "severity", "load"}  # not measures by themselves
RAW |= {f"reader.{name}.{what}" for name in RENDERERS for what in ("planted", "read")}


def columns(total: Aggregator) -> dict[str, Measure]:
    """A measure of every column that is one."""
    names = dict.fromkeys(name for row in total.rows for name, value in row.items() if not isinstance(value, str))
    return {
        name: total.of(name, STATISTICS.get(name.removesuffix(".free"), np.mean))
        for name in names
        if name.removesuffix(".free") not in RAW
    }


def relations(total: Aggregator) -> dict[str, Measure]:
    """What is read against what is known to be there: rendered loads, labels within a source, severity."""
    measures = {"reader.auroc": separation(total)}
    for name in RENDERERS:
        read, planted = f"reader.{name}.read", f"reader.{name}.planted"
        measures[f"reader.{name}.rho"] = total.relation(read, planted)
        measures[f"reader.{name}.slope"] = total.relation(read, planted, slope)
    severity = total.column("severity")
    if not np.isfinite(severity).any():
        return {**measures, "severity": Measure.missing("the dataset has no severity")}
    ill = Aggregator([row for row in total.rows if row.get("severity", math.nan) > 0], total.n_boot, total.seed)
    for name in ("load", "p"):
        measures[f"severity.{name}"] = ill.relation(name, "severity")
        measures[f"severity.{name}.with_healthy"] = total.relation(name, "severity")
    return measures


def slope(read: Floats, planted: Floats) -> float:
    """Least-squares slope of what is read over what was planted; NaN where all plantings are alike."""
    centred = planted - planted.mean()
    return float(centred @ read / (centred @ centred)) if len(planted) > 1 and np.ptp(planted) > 0 else math.nan


def separation(total: Aggregator) -> Measure:
    """AUROC of the load, pneumonia and covid against normal, by source; over all, of pairs from one source alone."""
    rows = [row for row in total.rows if coarse(row["label"]) in (NORMAL, *SICK) and math.isfinite(row.get("load", math.nan))]
    patients, sources = (np.array([row[key] for row in rows], dtype=object) for key in ("patient_id", "source"))
    load, sick = np.array([row["load"] for row in rows]), np.array([coarse(row["label"]) in SICK for row in rows])

    def area(index: NDArray[np.int64]) -> float:
        pairs, won = 0, 0.0
        for source in set(sources[index]):
            i = index[sources[index] == source]
            n = int(sick[i].sum()) * int((~sick[i]).sum())
            pairs, won = pairs + n, won + (n * auroc(load[i], sick[i]) if n else 0.0)
        return won / pairs if pairs else math.nan

    def interval(index: NDArray[np.int64]) -> Interval:
        if not len(index):
            return Interval(math.nan, math.nan, math.nan, 0)
        return bootstrap_indices(lambda i: area(index[i]), list(patients[index]), n_boot=total.n_boot, seed=total.seed)

    return Measure.by_source(interval, list(sources), "no source has normal images and diseased ones")
