"""From samples to measures: a statistic of every column, and what was found against what is known to be there."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from gan_explain.data import belongs
from gan_explain.evaluate.features import Features, realism
from gan_explain.evaluate.samples import Table
from gan_explain.labels import NORMAL, coarse
from gan_explain.metrics.classification import classification_report
from gan_explain.metrics.measure import Measure
from gan_explain.metrics.reader import RENDERERS, SICK
from gan_explain.metrics.registry import Key
from gan_explain.stats import Floats, Interval, auroc, bootstrap_indices


def relations(table: Table) -> dict[str, Measure]:
    """What is read against what is known to be there: rendered loads, labels within a source, severity."""
    measures = {"reader.auroc": separation(table)}
    for name in RENDERERS:
        read, planted = str(Key("reader.read", name)), str(Key("reader.planted", name))
        measures[str(Key("reader.rho", name))] = table.relation(read, planted)
        measures[str(Key("reader.slope", name))] = table.relation(read, planted, slope)
    severity = table.column("severity")
    if not np.isfinite(severity).any():
        return {**measures, "severity": Measure.missing("the dataset has no severity")}
    ill = Table([sample for sample in table.samples if sample["severity"] > 0], table.n_boot, table.seed)
    for name in ("load", "p"):
        measures[str(Key(f"severity.{name}"))] = ill.relation(name, "severity")
        measures[str(Key(f"severity.{name}", variant="with_healthy"))] = table.relation(name, "severity")
    return measures


def slope(read: Floats, planted: Floats) -> float:
    """Least-squares slope of what is read over what was planted; NaN where all plantings are alike."""
    centred = planted - planted.mean()
    return float(centred @ read / (centred @ centred)) if len(planted) > 1 and np.ptp(planted) > 0 else math.nan


def separation(table: Table) -> Measure:
    """AUROC of the load, pneumonia and covid against normal, by source; over all, of pairs from one source alone."""
    known = [s for s in table.samples if coarse(s.record.label) in (NORMAL, *SICK) and math.isfinite(s["load"])]
    chosen = Table(known, table.n_boot, table.seed)
    patients, sources = np.array(chosen.patients, dtype=object), np.array(chosen.sources, dtype=object)
    load, sick = chosen.column("load"), np.array([coarse(sample.record.label) in SICK for sample in known])

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
        return bootstrap_indices(lambda i: area(index[i]), list(patients[index]), n_boot=table.n_boot, seed=table.seed)

    return Measure.by_source(interval, list(sources), "no source has normal images and diseased ones")


def of_sets(features: Features, extractor: str | None, seed: int) -> dict[str, Measure]:
    """How widely layers are spread, and how real what was generated looks in the features of an extractor of this name."""
    measures = {str(Key("diversity.placement", name)): features.placement(name) for name in ("added", "removed")}
    return measures | (realism(features, extractor, seed) if extractor is not None else {})


def calls(table: Table, positive: tuple[str, ...], point: float, column: str = "p") -> dict[str, Measure]:
    """How well a column of p tells the positive set, called at an operating point."""
    truth = [belongs(sample.record.label, positive) for sample in table.samples]
    options = {"n_boot": table.n_boot, "seed": table.seed}
    return classification_report(table.column(column), truth, table.patients, table.sources, point, **options)
