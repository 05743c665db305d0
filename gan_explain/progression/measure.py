"""Measuring a patient's radiographs: each by itself, with lungs of its own; only Grad-CAM's scale is the patient's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_explain.attribution import GradCam, Method
from gan_explain.data import Dataset
from gan_explain.lungs import opacity_load
from gan_explain.optics import opacity
from gan_explain.pixels import quantize16
from gan_explain.progression.patients import DATES, dated_patients, day_of, of_patient
from gan_explain.progression.result import HEAT_ABOVE, OPACITY_ABOVE, Progression, Visit
from gan_explain.targets import device_of, masks_for
from gan_explain.types import DataError, Generator, Segmenter, Target, TargetError


@dataclass(frozen=True)
class Models:
    """What measures a radiograph; `explainer` gives the heat."""

    generator: Generator
    target: Target
    segmenter: Segmenter
    explainer: Method


def models(generator: Generator, target: Target, segmenter: Segmenter, layer: str = "") -> Models:
    """Models with Grad-CAM at a layer of the target's network ("": its last feature map)."""
    return Models(generator, target, segmenter, GradCam(layer))


def measure_patient(parts: Models, dataset: Dataset, patient: str) -> Progression:
    """Every dated radiograph of one patient. DataError names the patient where there are fewer than two days."""
    return _measure(parts, dataset, of_patient(dataset, patient))


def measure_all(parts: Models, dataset: Dataset, dates: int = DATES) -> Iterator[Progression]:
    """Every patient with at least `dates` days, one after the other. DataError where there is none."""
    found = dated_patients(dataset, dates)
    if not found:
        raise DataError(f"{dataset.root}: expected patients with images of {dates} days or more, found none")
    for places in found.values():
        yield _measure(parts, dataset, places)


def _measure(parts: Models, dataset: Dataset, places: Sequence[int]) -> Progression:
    target, generator = parts.target, parts.generator
    batch = dataset.batch(places)
    images = quantize16(batch.images.to(device_of(generator)))
    lungs = parts.segmenter(images).to(images)
    masks = masks_for(target, lungs)
    with torch.no_grad():
        classes = target.logits(images, masks).double().softmax(1).cpu()  # (N, K)
        p = target.probability(images, masks).cpu()
        tau = generator.read(images, lungs)
    alpha, load = opacity(tau).cpu(), opacity_load(tau, lungs).cpu()
    affected = share_in(alpha >= OPACITY_ABOVE, lungs.cpu())
    heat, why = _heat(parts, images, masks)
    hot = share_in(heat >= HEAT_ABOVE * heat.amax().clamp(min=1e-12), lungs.cpu())
    if why:
        hot = torch.full_like(hot, torch.nan)
    visits = []
    for i, record in enumerate(batch.records):
        day = day_of(record, dataset.root)
        assert day is not None
        visits.append(
            Visit(
                record, day, float(p[i]), tuple(classes[i].tolist()), opacity_load=float(load[i]),
                opacity_area=float(affected[i]), grad_cam_area=float(hot[i]), image=batch.images[i], lungs=lungs[i].cpu(),
                alpha=alpha[i], heat=heat[i],
            )
        )  # fmt: skip
    first = batch.records[0]
    return Progression(
        first.patient_id, first.split, tuple(visits), tuple(target.classes), tuple(target.positive), target.operating_point, why
    )


def _heat(parts: Models, images: Tensor, masks: Tensor | None) -> tuple[Tensor, str]:
    """The heat of images (N, 1, H, W) on the CPU and ""; or zeros and the reason why this target has none."""
    try:
        return parts.explainer.attribute(images, parts.target, masks).cpu(), ""
    except TargetError as error:
        return torch.zeros(images.shape), str(error)


def share_in(chosen: Tensor, lungs: Tensor) -> Tensor:
    """Share of the lungs (N, 1, H, W) that is chosen (N, 1, H, W) bool -> (N,); NaN without lungs."""
    inside = lungs > 0.5
    area = inside.flatten(1).sum(1).double()
    share: Tensor = (chosen & inside).flatten(1).sum(1) / area.where(area > 0, torch.nan)
    return share
