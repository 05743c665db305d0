"""Synthetic patients (z1, z2): are they called negative without the layer and positive with it, and do they look real?"""

from __future__ import annotations

import torch
from torch import Tensor

from gan_explain.counterfactual.disentangle import laid
from gan_explain.counterfactual.synthetic import StructureNetwork, draw_structure
from gan_explain.data import Dataset
from gan_explain.evaluate.features import Extractor, Features, summary
from gan_explain.evaluate.inputs import ask, read_batches, seed_of
from gan_explain.evaluate.result import Aggregator
from gan_explain.evaluate.setup import Setup
from gan_explain.evaluate.table import Row
from gan_explain.metrics.measure import Measure
from gan_explain.metrics.realism import nearest_neighbours

FULL = 1.5  # strength at which a synthetic patient should be called positive


@torch.no_grad()
def synthetic_patients(
    setup: Setup,
    synthesis: StructureNetwork,
    features: Features,
    extractor: Extractor | None,
    count: int,
    n_boot: int,
    train: Dataset | None = None,
    batch_size: int = 16,
) -> dict[str, Measure]:
    """synthetic.negative_at_0 and synthetic.positive_at_1.5 over `count` patients; their images' features are added.

    With an extractor and the training images, synthetic.nearest: the median distance in its features of a synthetic patient to
    the nearest of them, the least, and both for the real negatives under evaluation; a memorised patient would be at about 0.
    """
    rows: list[Row] = []
    point = setup.target.operating_point
    for start in range(0, count, batch_size):
        names = tuple(f"synthetic-{i}" for i in range(start, min(start + batch_size, count)))
        z = [synthesis.sample(1, torch.Generator().manual_seed(seed_of(name, setup.seed))) for name in names]
        structure, lungs = draw_structure(synthesis, setup.generator, setup.segmenter, torch.cat(z).to(setup.device))
        codes = [setup.generator.prior(1, torch.Generator().manual_seed(seed_of(n, setup.seed)), setup.label) for n in names]
        tau = setup.generator.layer(torch.cat(codes).to(setup.device), lungs)
        ill = laid(structure, tau, FULL)
        features.add(extractor, "synthetic negative", structure, lungs)
        features.add(extractor, "synthetic positive", laid(structure, tau), lungs)
        calls = zip(names, ask(setup.target, structure, lungs) < point, ask(setup.target, ill, lungs) >= point, strict=True)
        rows += [
            {"patient_id": n, "source": "synthetic", "synthetic.negative_at_0": float(a), "synthetic.positive_at_1.5": float(b)}
            for n, a, b in calls
        ]
    total = Aggregator(rows, n_boot, setup.seed)
    measures = {name: total.of(name) for name in ("synthetic.negative_at_0", "synthetic.positive_at_1.5")}
    if extractor is None or train is None or not len(train):
        return {**measures, "synthetic.nearest": Measure.missing("needs training images and a feature extractor")}
    known = Features()
    for batch in read_batches(train, setup.segmenter, setup.device, batch_size):
        known.add(extractor, "train", batch.images, batch.lungs)
    return {**measures, **_nearest(features.of("synthetic negative"), features.of("real negative"), known.of("train"))}


def _nearest(made: Tensor, real: Tensor, known: Tensor) -> dict[str, Measure]:
    distance = nearest_neighbours(made, known).distance
    measures = {"synthetic.nearest": summary(float(distance.median()), len(made))}
    measures["synthetic.nearest.least"] = summary(float(distance.min()), len(made))
    if len(real):
        honest = nearest_neighbours(real, known).distance
        measures["synthetic.nearest.held_out"] = summary(float(honest.median()), len(real))
        measures["synthetic.nearest.held_out.least"] = summary(float(honest.min()), len(real))
    return measures
