"""Layers of the prior against real ones that were held out: do they look alike, are they copies of training layers?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from gan_explain.counterfactual import disentangle
from gan_explain.data import Dataset
from gan_explain.evaluate.inputs import read_batches
from gan_explain.labels import coarse
from gan_explain.lungs import opacity_load
from gan_explain.metrics.change import Part
from gan_explain.metrics.inputs import seed_of
from gan_explain.metrics.layers import canonical, describe, nearest, scores
from gan_explain.metrics.measure import Measure
from gan_explain.metrics.reader import LEAST_LOAD
from gan_explain.metrics.registry import Key, statistic_of
from gan_explain.stats import Floats, auroc
from gan_explain.targets import device_of
from gan_explain.types import Generator, Record, Segmenter

GRID = 64  # side at which layers are brought into canonical coordinates
MOST = 500  # training images whose layers are read


@dataclass
class LayerSets:
    """Canonical maps (2, ROWS, COLUMNS), on the CPU: the layer of each diseased image and one drawn for the same lungs; records
    say whose they are."""

    records: list[Record] = field(default_factory=list)
    real: list[Tensor] = field(default_factory=list)
    drawn: list[Tensor] = field(default_factory=list)

    def add(self, other: LayerSets) -> None:
        self.records += other.records
        self.real += other.real
        self.drawn += other.drawn

    @torch.no_grad()
    def draw(self, generator: Generator, part: Part, seed: int) -> None:
        """Take in those images of a part whose label has a prior and on which disease is found."""
        part = part.where(diseased(generator, part.batch.records, part.layer, part.lungs))
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
        self.records += records

    def measures(self, known: Tensor | None, n_boot: int, seed: int) -> dict[str, Measure]:
        """layers.STATISTIC of `metrics.layers.describe`, [real] and [drawn]; layers.auroc of telling them apart; layers.nearest:
        median distance to the nearest of the training layers `known` (M, 2, ROWS, COLUMNS)."""
        if not self.records:
            return {"layers": Measure.missing("disease is found on no image whose label has a prior")}
        who = [record.patient_id for record in self.records], [record.source for record in self.records]
        measures: dict[str, Measure] = {}
        sets = {"real": torch.stack(self.real), "drawn": torch.stack(self.drawn)}
        for name, maps in sets.items():
            columns = describe(maps)
            if known is not None and len(known):
                columns["nearest"] = nearest(maps, known)
            for what, values in columns.items():
                text = str(Key(f"layers.{what}", name))
                statistic = statistic_of(text) or np.mean
                measures[text] = Measure.over(values.tolist(), *who, statistic=statistic, n_boot=n_boot, seed=seed)
        found, count = scores(sets["real"], sets["drawn"], who[0]), len(self.records)
        measures["layers.auroc"] = Measure.related(found[:count], found[count:], *who, of=_told_apart, n_boot=n_boot, seed=seed)
        if known is None or not len(known):
            measures["layers.nearest"] = Measure.missing("no training images were given")
        return measures


def diseased(generator: Generator, records: Sequence[Record], layers: Tensor, lungs: Tensor) -> Tensor:
    """Which images have a label with a prior, and a layer on them: (N,) bool."""
    named = torch.tensor([coarse(record.label) in generator.labels for record in records], dtype=torch.bool)
    return named & (opacity_load(layers, lungs) >= LEAST_LOAD).cpu()


@torch.no_grad()
def training_layers(generator: Generator, train: Dataset, segmenter: Segmenter, seed: int) -> Tensor:
    """Canonical maps (M, 2, ROWS, COLUMNS) of the layers on diseased training images, of at most MOST, drawn by name."""
    sick = train.where(lambda record: coarse(record.label) in generator.labels)
    kept = {r.path for r in sorted(sick.records, key=lambda record: seed_of(record.path, seed))[:MOST]}
    maps = []
    for batch in read_batches(sick.where(lambda record: record.path in kept), segmenter, device_of(generator), 16):
        found = disentangle(generator, batch.images, batch.lungs).layer
        there = torch.nonzero(diseased(generator, batch.records, found, batch.lungs)).flatten().to(found.device)
        if len(there):
            lungs = batch.lungs[there]
            maps.append(canonical(_small(found[there]), (_small(lungs) > 0.5).to(lungs)).cpu())
    return torch.cat(maps) if maps else torch.empty(0)


def _small(maps: Tensor) -> Tensor:
    return torch.nn.functional.interpolate(maps, (GRID, GRID), mode="area") if maps.shape[-1] > GRID else maps


def _told_apart(real: Floats, drawn: Floats) -> float:
    return auroc(np.concatenate([real, drawn]), np.arange(2 * len(real)) < len(real))
