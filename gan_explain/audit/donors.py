"""Donors for transplants: for each patient the same few other patients, whatever else is audited with them."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch
from torch import Tensor

from gan_explain.data import Dataset
from gan_explain.evaluate.inputs import is_positive
from gan_explain.metrics.inputs import seed_of
from gan_explain.types import Record, Segmenter, Target

KEPT = 512  # donors whose lungs are remembered


class Donors:
    """Draws donors from a dataset and reads their lungs. Images and lungs are (D, 1, H, W) on `device`."""

    def __init__(
        self, dataset: Dataset, target: Target, segmenter: Segmenter, count: int, seed: int, device: torch.device
    ) -> None:
        self.dataset, self.segmenter, self.count, self.seed, self.device = dataset, segmenter, count, seed, device
        positive = [is_positive(record, target) for record in dataset.records]
        self._positives = [i for i, yes in enumerate(positive) if yes]
        self._negatives = [i for i, yes in enumerate(positive) if not yes]
        self._lungs: OrderedDict[int, Tensor] = OrderedDict()

    def positives(self, record: Record) -> tuple[Tensor, Tensor] | None:
        """Images and lungs of positives; None where there are too few."""
        return self._read(self._draw(record, self._positives, "positive"))

    def negatives(self, record: Record) -> tuple[Tensor, Tensor] | None:
        """Images and lungs of negatives of the record's own source; of any source where it has too few of them."""
        near = [i for i in self._negatives if self.dataset.records[i].source == record.source]
        return self._read(self._draw(record, near, "negative") or self._draw(record, self._negatives, "negative"))

    def _draw(self, record: Record, among: list[int], kind: str) -> list[int]:
        others = [i for i in among if self.dataset.records[i].patient_id != record.patient_id]
        if len({self.dataset.records[i].patient_id for i in others}) < self.count:
            return []
        random = np.random.default_rng(seed_of(f"{record.patient_id} {record.path} {kind} donors", self.seed))
        chosen: dict[str, int] = {}  # one image a patient
        for i in random.permutation(len(others)):
            chosen.setdefault(self.dataset.records[others[i]].patient_id, others[i])
            if len(chosen) == self.count:
                break
        return list(chosen.values())

    def _read(self, chosen: list[int]) -> tuple[Tensor, Tensor] | None:
        if not chosen:
            return None
        images = self.dataset.batch(chosen).images.to(self.device)
        lungs = [self._lungs_of(i, images[k : k + 1]) for k, i in enumerate(chosen)]
        return images, torch.cat(lungs)

    def _lungs_of(self, i: int, image: Tensor) -> Tensor:
        """Segmented alone, so that a mask does not depend on the company; remembered."""
        found = self._lungs.pop(i, None)
        if found is None:
            found = self.segmenter(image).to(image)
        self._lungs[i] = found
        if len(self._lungs) > KEPT:
            self._lungs.popitem(last=False)
        return found
