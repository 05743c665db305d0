"""What a CycleGAN does to held-out radiographs: whether targets change their mind, whether the lungs stay, where it changes them.

Per image, then aggregated with patient-bootstrap intervals. `flip` of a direction is asked of the images that the target calls
the side to be left (p < p* for negatives made positive), rightly or wrongly; the images are those of one label.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan_explain.bench.given import Given, Outcome
from gan_explain.counterfactual.translate import Direction, Translator
from gan_explain.data import Dataset
from gan_explain.metrics.flip import flips
from gan_explain.metrics.measure import Measure, format_table
from gan_explain.metrics.proximity import l1, sparsity
from gan_explain.metrics.structure import dice
from gan_explain.nets.load import load_cyclegan
from gan_explain.pixels import quantize16
from gan_explain.render import write_sheet
from gan_explain.types import Segmenter, Target

Measures = dict[str, Measure]


@torch.no_grad()
def measure_translation(
    translator: Translator,
    targets: Mapping[str, Target],
    segmenter: Segmenter,
    dataset: Dataset,
    direction: Direction,
    batch_size: int = 32,
) -> Measures:
    """Translate every image of `dataset` towards `direction` and measure; `targets` by the name they have in the result.

    Keys: flip[NAME] and p[NAME], p[NAME].after (mean probability of the positive set), dice (lungs before and after), l1 and
    changed (share of pixels that change by more than 0.05), changed.lungs and changed.outside (within that region), return (L1 of
    there and back). A lungs-only target is given the mask of the input before and after, as everywhere.
    """
    there, back = translator.to_positive, translator.to_negative
    if direction == "negative":
        there, back = back, there
    columns: dict[str, list[Tensor]] = {}

    def put(name: str, values: Tensor) -> None:
        columns.setdefault(name, []).append(values.float().cpu())

    for start in range(0, len(dataset), batch_size):
        images = dataset.batch(range(start, min(start + batch_size, len(dataset)))).images
        images, lungs = quantize16(images), segmenter(images)
        after = quantize16(there(images))
        changed = ((after - images).abs() > 0.05).float()
        put("dice", dice(lungs, segmenter(after)))
        put("l1", l1(after, images))
        put("changed", sparsity(after, images))
        put("changed.lungs", _share(changed, lungs))
        put("changed.outside", _share(changed, 1 - lungs))
        put("return", l1(back(after), images))
        for name, target in targets.items():
            mask = lungs if target.uses_lungs else None
            put(f"p[{name}]", target.probability(images, mask))
            put(f"p[{name}].after", target.probability(after, mask))
    values = {name: torch.cat(parts).numpy() for name, parts in columns.items()}
    for name, target in targets.items():
        before, later = values[f"p[{name}]"], values[f"p[{name}].after"]
        left = before < target.operating_point if direction == "positive" else before >= target.operating_point
        values[f"flip[{name}]"] = np.where(left, flips(before, later, target.operating_point), np.nan)
    patients = [record.patient_id for record in dataset.records]
    sources = [record.source for record in dataset.records]
    return {
        name: Measure.over(each, patients, sources, reason="no image is called that side")
        for name, each in sorted(values.items())
    }


def _share(changed: Tensor, where: Tensor) -> Tensor:
    """Share of a region (N, 1, H, W) that changed -> (N,); NaN where there is no such region."""
    area = where.flatten(1).sum(1)
    return torch.where(area > 0, (changed * where).flatten(1).sum(1) / area.clamp(min=1), torch.nan)


class Tones:
    """A translation of tones alone, the null of a CycleGAN: every image takes the mean tone curve of the other side.

    The k-th darkest pixel of an image becomes what the k-th darkest is on average over `negatives` or `positives`, (N, 1, H, W)
    of the same size (exact histogram specification); of equal pixels the first counts as the darkest. No shape changes.
    """

    def __init__(self, negatives: Tensor, positives: Tensor) -> None:
        self.curves = [side.flatten(1).sort(1).values.mean(0) for side in (negatives, positives)]  # (H W,) each

    def to_positive(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) -> the same, with the tones of positives."""
        return self._specify(images, self.curves[1])

    def to_negative(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) -> the same, with the tones of negatives."""
        return self._specify(images, self.curves[0])

    def _specify(self, images: Tensor, curve: Tensor) -> Tensor:
        order = images.flatten(1).argsort(dim=1, stable=True)
        return torch.zeros_like(images.flatten(1)).scatter(1, order, curve.expand(len(images), -1)).view_as(images)


def sides_of(dataset: Dataset, negative: str = "normal", positive: str = "covid") -> dict[Direction, Any]:
    """The images to translate by direction: those labelled `negative` are made positive, those labelled `positive` negative."""
    return {
        "positive": dataset.where(lambda record: record.label == negative),
        "negative": dataset.where(lambda record: record.label == positive),
    }


@dataclass(frozen=True)
class Options:
    """`checkpoint`: of the CycleGAN; `targets`: specs; `tones`: the null in its place."""

    checkpoint: str = "cxr128-cyclegan"
    targets: tuple[str, ...] = ("checkpoint:cxr128-naive", "checkpoint:cxr128")
    tones: bool = False


def bench(given: Given, options: Options) -> Outcome:
    """Measure both directions on held-out images; sheet.png shows the first of each, their translations and what changed."""
    network, segmenter = load_cyclegan(options.checkpoint).to(given.device), given.load_segmenter()
    translator: Translator = network
    targets = given.load_targets(options.targets)
    targets = {spec.partition(":")[2]: target for spec, target in targets.items()}
    whole = given.dataset(network.resolution)
    images = sides_of(whole.split(given.split or "test"))
    if given.dry_run:
        return Outcome({f"to_{direction}": len(each) for direction, each in images.items()})
    if options.tones:
        train = sides_of(whole.split("train"))
        translator = Tones(train["positive"].batch().images, train["negative"].batch().images)
    found: dict[str, Measures] = {}
    text, rows = [], list[list[Tensor]]()
    for direction, each in images.items():
        found[f"to_{direction}"] = measure_translation(translator, targets, segmenter, each, direction)
        text.append(f"to {direction}, {len(each)} images\n{format_table(found[f'to_{direction}'])}")
        some = each.batch(range(min(12, len(each)))).images
        after = translator.to_positive(some) if direction == "positive" else translator.to_negative(some)
        rows += [list(some), list(after), list((0.5 + 2 * (after - some)).clamp(0, 1))]
    names = ("negatives", "made positive", "difference x 2", "positives", "healed", "difference x 2")
    made = "tones" if options.tones else options.checkpoint

    def sheet(path: Path) -> None:
        write_sheet(rows, path, rows=names)

    return Outcome({"translation": made, "measures": found}, "\n\n".join(text), pictures={"sheet.png": sheet})
