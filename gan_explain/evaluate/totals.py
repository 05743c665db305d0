"""From the table to measures: a statistic of every column, and rank correlations of what was found with what was planted."""

from __future__ import annotations

import math

import numpy as np

from gan_explain.evaluate.result import Aggregator, Statistic
from gan_explain.metrics.aggregate import Measure, null

STATISTICS: dict[str, Statistic] = {
    "monotonicity.rho": np.median,
    "crossing.lambda": np.median,
    "crossing.slope": np.median,
    "outside.change": np.max,
    "outside.change.healed": np.max,
}
RAW = {"p", "p_counterfactual", "severity", "strength", "veils.planted", "veils.recovered"}  # not measures by themselves
RAW |= {"load.removed", "load.added", "load.taken_back"}


def columns(total: Aggregator) -> dict[str, Measure]:
    """A measure of every column that is one."""
    names = dict.fromkeys(name for row in total.rows for name, value in row.items() if not isinstance(value, str))
    return {
        name: total.of(name, STATISTICS.get(name.removesuffix(".free"), np.mean))
        for name in names
        if name.removesuffix(".free") not in RAW
    }


def relations(total: Aggregator) -> dict[str, Measure]:
    """Rank correlations of what was found with what is known to be there."""
    measures = {"veils.load_spearman": total.correlation("veils.recovered", "veils.planted")}
    severity = total.column("severity")
    if not np.isfinite(severity).any():
        return {**measures, "severity": null("the dataset has no severity")}
    ill = Aggregator([row for row in total.rows if row.get("severity", math.nan) > 0], total.n_boot, total.seed)
    for name, column in (("load", "load.removed"), ("strength", "strength"), ("p", "p")):
        measures[f"severity.{name}"] = ill.correlation(column, "severity")
        measures[f"severity.{name}.with_healthy"] = total.correlation(column, "severity")
    return measures
