"""Layers of real patients: what the reader finds on positives of a dataset, moved lung to lung onto others."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor

from gan_explain.counterfactual import disentangle
from gan_explain.data import Dataset
from gan_explain.evaluate.inputs import is_positive
from gan_explain.lungs import opacity_load
from gan_explain.metrics.inputs import seed_of
from gan_explain.metrics.reader import LEAST_LOAD
from gan_explain.targets import device_of
from gan_explain.types import Generator, Record, Segmenter, Target

TRIES = 8  # donors that are read for an image before the one of the largest load is taken
KEPT = 128  # layers that are remembered


class PatientLayers:
    """Draws, for an image, the layer of another patient who is labelled positive, whatever else is measured with it."""

    def __init__(self, generator: Generator, dataset: Dataset, target: Target, segmenter: Segmenter, seed: int) -> None:
        self.generator, self.dataset, self.segmenter, self.seed = generator, dataset, segmenter, seed
        self.device = device_of(generator)
        self._positives = [i for i, record in enumerate(dataset.records) if is_positive(record, target)]
        self._loads: dict[int, float] = {}
        self._layers: OrderedDict[int, tuple[Tensor, Tensor]] = OrderedDict()

    def has(self, record: Record) -> bool:
        """Whether there is a positive of another patient."""
        return any(self.dataset.records[i].patient_id != record.patient_id for i in self._positives)

    def moved(self, records: Sequence[Record], lungs: Tensor) -> Tensor:
        """For each record the layer of its donor in its lungs: (N, 1, H, W) -> tau (N, 1, H, W). Each needs a donor (`has`)."""
        found = []
        for i, record in enumerate(records):
            tau, theirs = self._read(self._donor(record))
            with torch.no_grad():
                found.append(self.generator.move(tau, theirs, lungs[i : i + 1]))
        return torch.cat(found) if found else torch.zeros_like(lungs)

    def _donor(self, record: Record) -> int:
        """Positives of other patients in an order of the record's own: the first of LEAST_LOAD or more among TRIES, or else the
        heaviest of them."""
        others = [i for i in self._positives if self.dataset.records[i].patient_id != record.patient_id]
        name = f"{record.patient_id} {record.path}"
        others.sort(key=lambda i: seed_of(f"{name} gets the layer of {self.dataset.records[i].path}", self.seed))
        for i in others[:TRIES]:
            if self._load(i) >= LEAST_LOAD:
                return i
        return max(others[:TRIES], key=self._load)

    def _load(self, i: int) -> float:
        if i not in self._loads:
            self._read(i)
        return self._loads[i]

    def _read(self, i: int) -> tuple[Tensor, Tensor]:
        """Layer and lungs (1, 1, H, W) of an image, read alone, so that they do not depend on the company; remembered."""
        found = self._layers.pop(i, None)
        if found is None:
            image = self.dataset.batch([i]).images.to(self.device)
            lungs = self.segmenter(image).to(image)
            found = disentangle(self.generator, image, lungs).layer, lungs
            self._loads[i] = float(opacity_load(*found).nan_to_num())
        self._layers[i] = found
        if len(self._layers) > KEPT:
            self._layers.popitem(last=False)
        return found
