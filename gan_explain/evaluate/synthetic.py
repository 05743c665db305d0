"""Synthetic patients (z1, z2): are they called negative without the layer and positive with it, and do they look real?"""

from __future__ import annotations

import torch
from torch import Tensor

from gan_explain.counterfactual.disentangle import laid
from gan_explain.counterfactual.synthetic import StructureNetwork, draw_structure
from gan_explain.data import Dataset
from gan_explain.evaluate.features import Features
from gan_explain.evaluate.inputs import batched, read_batches
from gan_explain.metrics.change import Models, Settings
from gan_explain.metrics.inputs import ask, seed_of
from gan_explain.metrics.measure import Measure
from gan_explain.metrics.realism import nearest_neighbours

FULL = 1.5  # strength at which a synthetic patient should be called positive
BATCH = 16


@torch.no_grad()
def synthetic_patients(
    models: Models, settings: Settings, structures: StructureNetwork, features: Features, count: int, train: Dataset | None
) -> dict[str, Measure]:
    """synthetic.negative_at_0 and synthetic.positive_at_1.5 over `count` patients; their images' features are added.

    With an extractor and the training images, synthetic.nearest: the median distance in its features of a synthetic patient to
    the nearest of them, the least, and both for the real negatives under evaluation; a memorised patient would be at about 0.
    """
    generator, target, seed, device = models.drawing, models.asked, settings.seed, models.device
    patients = [f"synthetic-{i}" for i in range(count)]
    called: dict[str, list[float]] = {"synthetic.negative_at_0": [], "synthetic.positive_at_1.5": []}
    for places in batched(count, BATCH):
        names = [patients[i] for i in places]
        z = [structures.sample(1, torch.Generator().manual_seed(seed_of(name, seed))) for name in names]
        structure, lungs = draw_structure(structures, generator, models.segmenter, torch.cat(z).to(device))
        codes = [generator.prior(1, torch.Generator().manual_seed(seed_of(name, seed)), settings.label) for name in names]
        tau = generator.layer(torch.cat(codes).to(device), lungs)
        features.add(models.extractor, "synthetic negative", structure, lungs)
        features.add(models.extractor, "synthetic positive", laid(structure, tau), lungs)
        ill = ask(target, laid(structure, tau, FULL), lungs) >= target.operating_point
        called["synthetic.negative_at_0"] += (ask(target, structure, lungs) < target.operating_point).double().tolist()
        called["synthetic.positive_at_1.5"] += ill.double().tolist()
    sources, boot = ["synthetic"] * count, settings.bootstrap
    measures = {name: Measure.over(each, patients, sources, n_boot=boot, seed=seed) for name, each in called.items()}
    if models.extractor is None or train is None or not len(train):
        return {**measures, "synthetic.nearest": Measure.missing("needs training images and a feature extractor")}
    known = Features()
    for batch in read_batches(train, models.segmenter, device, BATCH):
        known.add(models.extractor, "train", batch.images, batch.lungs)
    return {**measures, **_nearest(features.of("synthetic negative"), features.of("real negative"), known.of("train"))}


def _nearest(made: Tensor, real: Tensor, known: Tensor) -> dict[str, Measure]:
    distance = nearest_neighbours(made, known).distance
    measures = {"synthetic.nearest": Measure(float(distance.median()), n=len(made))}
    measures["synthetic.nearest.least"] = Measure(float(distance.min()), n=len(made))
    if len(real):
        honest = nearest_neighbours(real, known).distance
        measures["synthetic.nearest.held_out"] = Measure(float(honest.median()), n=len(real))
        measures["synthetic.nearest.held_out.least"] = Measure(float(honest.min()), n=len(real))
    return measures
