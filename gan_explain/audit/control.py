"""The positive control: would this audit have seen a shortcut, here, in these data, with this CNN?

A marker is planted in the data, and the CNN is given a shortcut on it (`MarkerTarget`): what the audit is asked to find is known.
Where it is not named, "ignores the outside" says nothing. Beside it, the same with markers that say nothing of the class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from gan_explain.audit.donors import Donors
from gan_explain.audit.thresholds import SHORTCUT
from gan_explain.data import Dataset
from gan_explain.data.marker import GLYPHS, glyph, planted
from gan_explain.evaluate.inputs import is_positive
from gan_explain.metrics.inputs import ask, seed_of
from gan_explain.metrics.measure import Measure
from gan_explain.metrics.registry import NULLS, Entry, Key, register
from gan_explain.metrics.transplant import effects
from gan_explain.targets import device_of
from gan_explain.types import Segmenter, Target

SHARE, BY_CHANCE = 0.8, 0.05  # of the positives and of the negatives that get a marker
DONORS = 4
PLACES = ("corners", "border", "text")  # parts of the outside, among which the marker must be named
LIKE = (0.6, 0.8)  # correlation with a letter at which it begins to count, and from which it counts in full
WHITE = (0.90, 0.95)  # the same for the mean brightness of its strokes
PLACE = 0.25  # of the side: how far into the upper corners letters are looked for

register(
    Entry("control.marker.shortcut", "shortcut score of a target that does read a planted marker", NULLS, better="higher"),
    Entry("control.marker.corners", "corners of that target", NULLS),
    Entry("control.marker.border", "border of that target", NULLS),
    Entry("control.marker.text", "letters of that target", NULLS),
    Entry("control.marker.clean", "shortcut score of that target where markers tell nothing", NULLS, better="lower"),
    Entry("control.marker.named", "the planted marker was named", NULLS, better="higher"),
)


class MarkerTarget(nn.Module):
    """A target with a known shortcut added: its positive logit rises where a planted letter stands in an upper corner.

    The letter d in [0, 1] is found by its correlation with a glyph of `data.marker`, and by its whiteness (`letters`). The class
    probabilities become (1 - s d) P + s d Q, Q even over the positive set: p rises to p + s d (1 - p), however sure
    the target was. Where there is no letter its answers are the target's.
    """

    differentiable = False

    def __init__(self, target: Target, strength: float = 0.9) -> None:
        super().__init__()
        if not 0 < strength < 1:
            raise ValueError(f"expected a strength between 0 and 1, got {strength}")
        self.target, self.strength = target, strength  # a module among targets is a submodule: its device is found
        self.classes, self.positive = target.classes, target.positive
        self.operating_point, self.uses_lungs = target.operating_point, target.uses_lungs

    @torch.no_grad()
    def logits(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        """(N, 1, H, W) in [0, 1] -> (N, K): logarithms of probabilities."""
        plain = self.target.logits(images, lungs).softmax(1)
        even = plain.new_tensor([float(name in self.positive) / len(self.positive) for name in self.classes])
        share = (self.strength * letters(images)).to(plain)[:, None]
        return ((1 - share) * plain + share * even).clamp(min=1e-30).log()

    def probability(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        """(N, 1, H, W) -> (N,): probability of the positive set."""
        chosen = [self.classes.index(name) for name in self.positive]
        return self.logits(images, lungs).softmax(1)[:, chosen].sum(1).clamp(max=1)


def letters(images: Tensor) -> Tensor:
    """How surely a planted letter stands in an upper corner: images (N, 1, H, W) -> (N,) in [0, 1].

    The largest, over places and glyphs, of a product of two ramps: of the correlation coefficient with the glyph (over LIKE) and
    of the mean brightness of its strokes (over WHITE).
    """
    size = images.shape[-1]
    reach = math.ceil(PLACE * size)
    corners = torch.cat([images[..., :reach, :reach], images[..., :reach, -reach:]], 1).flatten(0, 1)[:, None]  # (2N, 1, r, r)
    best = torch.stack([_likeness(corners, torch.from_numpy(glyph(name, size)).to(images)) for name in GLYPHS]).amax(0)
    return best.view(-1, 2).amax(1)


def _likeness(images: Tensor, template: Tensor) -> Tensor:
    """How like a template (h, w) in {0, 1} the likest place of each image (N, 1, H, W) is: (N,) in [0, 1]."""
    shape = (template - template.mean()) / (template - template.mean()).norm()
    even = torch.full_like(shape, 1 / shape.numel())
    product = conv2d(images, shape[None, None])
    mean, square = conv2d(images, even[None, None]), conv2d(images.square(), even[None, None])
    length = ((square - mean.square()).clamp(min=1e-4) * shape.numel()).sqrt()  # of the place, its mean taken off
    white = conv2d(images, (template / template.sum())[None, None])
    ramps = [((x - low) / (high - low)).clamp(0, 1) for x, (low, high) in ((product / length, LIKE), (white, WHITE))]
    found: Tensor = (ramps[0] * ramps[1]).flatten(1).amax(1)
    return found


def excesses(
    target: Target,
    dataset: Dataset,
    segmenter: Segmenter,
    only: Sequence[Key],
    *,
    donors: int = DONORS,
    limit: int = 32,
    seed: int = 0,
) -> dict[Key, Measure]:
    """The excess of each transplant in `only` (of `metrics.transplant.EFFECTS`) over at most `limit` images that are
    labelled and called negative, one a patient, drawn by name: what an audit measures, alone and of fewer."""
    device = device_of(target)
    drawn = Donors(dataset, target, segmenter, donors, seed, device)
    order = [i for i, record in enumerate(dataset.records) if not is_positive(record, target)]
    order.sort(key=lambda i: seed_of(f"{dataset.records[i].patient_id} {dataset.records[i].path} control", seed))
    rows: dict[Key, list[float]] = {name: [] for name in only}
    patients: list[str] = []
    sources: list[str] = []
    for i in order:
        record = dataset.records[i]
        if len(patients) == limit or record.patient_id in patients:
            continue
        image = dataset.batch([i]).images.to(device)
        lungs = segmenter(image).to(image)
        pairs = (drawn.positives(record), drawn.negatives(record))
        if pairs[0] is None or pairs[1] is None or float(ask(target, image, lungs)) >= target.operating_point:
            continue
        positive, negative = (effects(target, image, lungs, *pair, only) for pair in pairs if pair is not None)
        for name in only:
            rows[name].append(float(positive[name].mean() - negative[name].mean()))
        patients.append(record.patient_id)
        sources.append(record.source)
    reason = f"no image is labelled and called negative, or fewer than {donors} other patients in a class"
    return {name: Measure.over(np.array(values), patients, sources, seed=seed, reason=reason) for name, values in rows.items()}


def positive_control(
    target: Target, dataset: Dataset, segmenter: Segmenter, *, share: float = SHARE, seed: int = 0, limit: int = 32
) -> dict[str, Measure]:
    """control.marker.shortcut, .corners, .border, .text: what the audit finds of a known shortcut (excess of the transplanted
    outside and of its parts), with markers in a `share` of the positives and BY_CHANCE of the negatives.

    control.marker.clean: the same shortcut score where markers are at BY_CHANCE in both classes: it should be that of the target
    itself, about 0 where that has no shortcut. control.marker.named: 1 where the lower bound of control.marker.shortcut lies
    above the verdict's threshold and, among PLACES, corners or text has the largest excess; else 0.
    """
    marked = MarkerTarget(target)

    def audited(prevalence: float, *names: str) -> dict[Key, Measure]:
        data = planted(dataset, lambda record: is_positive(record, target), prevalence, BY_CHANCE, seed=seed)
        only = [Key("transplant", name) for name in names]
        return excesses(marked, data, segmenter, only, limit=limit, seed=seed)

    found = audited(share, "outside", *PLACES)
    named = {"shortcut": found[Key("transplant", "outside")], **{name: found[Key("transplant", name)] for name in PLACES}}
    named["clean"] = audited(BY_CHANCE, "outside")[Key("transplant", "outside")]
    named["named"] = _named(named)
    return {f"control.marker.{name}": value for name, value in named.items()}


def _named(found: dict[str, Measure]) -> Measure:
    """Whether the shortcut was seen, and the marker's place named: 1 or 0; null where nothing could be measured."""
    shortcut = found["shortcut"]
    if shortcut.value is None or shortcut.low is None:
        return Measure.missing(shortcut.reason or "too few patients for an interval")
    largest = max(PLACES, key=lambda name: found[name].value or 0.0)
    yes = float(shortcut.low > SHORTCUT.threshold and largest != "border")
    return Measure(yes, yes, yes, shortcut.n)
