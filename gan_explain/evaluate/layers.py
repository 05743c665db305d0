"""Layers of the prior against real ones that were held out: do they look alike, are they copies of training layers?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from gan_explain.data import Dataset
from gan_explain.evaluate.donors import LEAST_LOAD
from gan_explain.evaluate.inputs import read_batches, seed_of
from gan_explain.evaluate.result import Aggregator, Floats
from gan_explain.evaluate.setup import Part, read_part
from gan_explain.evaluate.table import Row
from gan_explain.labels import coarse
from gan_explain.lungs import opacity_load
from gan_explain.metrics.layers import STATISTICS, canonical, describe, nearest, scores
from gan_explain.metrics.measure import Measure
from gan_explain.stats import auroc
from gan_explain.targets import device_of
from gan_explain.types import Generator, Segmenter

GRID = 64  # side at which layers are brought into canonical coordinates
MOST = 500  # training images whose layers are read


@dataclass
class LayerSets:
    """Canonical maps (2, ROWS, COLUMNS), on the CPU: the layer of each diseased image and one drawn for the same lungs; rows say
    whose they are."""

    rows: list[Row] = field(default_factory=list)
    real: list[Tensor] = field(default_factory=list)
    drawn: list[Tensor] = field(default_factory=list)

    @torch.no_grad()
    def add(self, generator: Generator, part: Part, seed: int) -> None:
        """Take in those images of a part whose label has a prior and on which disease is found."""
        part = diseased(generator, part)
        if not len(part):
            return
        records = [part.batch.records[i] for i in part.rows]
        codes = [
            generator.prior(1, torch.Generator().manual_seed(seed_of(f"{r.patient_id} {r.path} layer", seed)), coarse(r.label))
            for r in records
        ]
        lungs = (_small(part.lungs) > 0.5).to(part.lungs)
        self.real += canonical(_small(part.layer), lungs).cpu().unbind()
        self.drawn += canonical(generator.layer(torch.cat(codes).to(lungs), lungs), lungs).cpu().unbind()
        self.rows += [{"patient_id": r.patient_id, "source": r.source} for r in records]

    def measures(self, known: Tensor | None, n_boot: int, seed: int) -> dict[str, Measure]:
        """layers.real.S and layers.drawn.S for S of `metrics.layers.STATISTICS`; layers.auroc of telling them apart; .nearest:
        median distance to the nearest of the training layers `known` (M, 2, ROWS, COLUMNS)."""
        if not self.rows:
            return {"layers": Measure.missing("disease is found on no image whose label has a prior")}
        rows = [dict(row) for row in self.rows]
        sets = {"real": torch.stack(self.real), "drawn": torch.stack(self.drawn)}
        for name, maps in sets.items():
            columns = describe(maps)
            if known is not None and len(known):
                columns["nearest"] = nearest(maps, known)
            for what, values in columns.items():
                for row, value in zip(rows, values.tolist(), strict=True):
                    row[f"layers.{name}.{what}"] = value
        found = scores(sets["real"], sets["drawn"], [row["patient_id"] for row in rows])
        for row, a, b in zip(rows, found[: len(rows)], found[len(rows) :], strict=True):
            row["real"], row["drawn"] = float(a), float(b)
        total = Aggregator(rows, n_boot, seed)
        measures = {f"layers.{name}.{what}": total.of(f"layers.{name}.{what}") for name in sets for what in STATISTICS}
        measures["layers.auroc"] = total.relation("real", "drawn", _told_apart)
        if known is None or not len(known):
            return {**measures, "layers.nearest": Measure.missing("no training images were given")}
        return measures | {f"layers.{name}.nearest": total.of(f"layers.{name}.nearest", np.median) for name in sets}


def diseased(generator: Generator, part: Part) -> Part:
    """The images of a part whose label has a prior and on which the reader finds a layer."""
    named = torch.tensor([coarse(part.batch.records[i].label) in generator.labels for i in part.rows], dtype=torch.bool)
    return part.where(named & (opacity_load(part.layer, part.lungs) >= LEAST_LOAD).cpu())


@torch.no_grad()
def training_layers(generator: Generator, train: Dataset, segmenter: Segmenter, seed: int) -> Tensor:
    """Canonical maps (M, 2, ROWS, COLUMNS) of the layers on diseased training images, of at most MOST, drawn by name."""
    sick = train.where(lambda record: coarse(record.label) in generator.labels)
    kept = {r.path for r in sorted(sick.records, key=lambda record: seed_of(record.path, seed))[:MOST]}
    maps = []
    for batch in read_batches(sick.where(lambda record: record.path in kept), segmenter, device_of(generator), 16):
        part = diseased(generator, read_part(generator, batch, torch.full((len(batch),), math.nan)))
        if len(part):
            maps.append(canonical(_small(part.layer), (_small(part.lungs) > 0.5).to(part.lungs)).cpu())
    return torch.cat(maps) if maps else torch.empty(0)


def _small(maps: Tensor) -> Tensor:
    return torch.nn.functional.interpolate(maps, (GRID, GRID), mode="area") if maps.shape[-1] > GRID else maps


def _told_apart(real: Floats, drawn: Floats) -> float:
    return auroc(np.concatenate([real, drawn]), np.arange(2 * len(real)) < len(real))
