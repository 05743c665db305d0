"""Does a healed pneumonia look normal to a classifier that had no part in training the generator?

One classifier a source, of its diseased against its normal images, so that no other scanner can help: logistic regression on
features of the whole image, fitted to the source's training split, penalty and threshold from its validation split. Of the test
split it is shown, of the normal and of the diseased:

    the image as it is
    healed     with what was read on it taken off (`counterfactual.disentangle`)
    random     with a random smooth layer of equal load taken off: what darker lungs alone would do

The features are EfficientNet-Lite0's with its ImageNet weights. The reader's contracting half has the same weights, frozen: the
two start from one view of an image. Of what was trained, nothing is shared.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from gan_explain.bench.given import Given, Outcome
from gan_explain.counterfactual.disentangle import disentangle
from gan_explain.data import Dataset
from gan_explain.evaluate.inputs import read_batches
from gan_explain.evaluate.within_source import FEWEST, KINDS, Features, Judge, Pyramid, judge_of, kind_of, part, usable_sources
from gan_explain.lungs import opacity_load
from gan_explain.metrics.inputs import seed_of
from gan_explain.metrics.measure import Measure, format_table
from gan_explain.metrics.nulls import random_pathology
from gan_explain.optics import headroom, take_off
from gan_explain.pixels import quantize16
from gan_explain.stats import Floats, auroc, bootstrap_indices, patient_bootstrap
from gan_explain.targets import device_of
from gan_explain.types import SPLITS, DataError, Generator, Segmenter

logger = logging.getLogger(__name__)

STATES = ("", ".healed", ".random")  # what an image is shown as
PAIRS = ((".healed", ""), (".random", ""), (".healed", ".random"))


@dataclass(frozen=True)
class Row:
    """One test image: its `kind` (of KINDS), the load that was taken off and that of the random layer, and the judge's p of
    disease for the image as it is, healed, and without the random layer; `threshold`: from there on it is called diseased."""

    path: str
    patient_id: str
    source: str
    kind: str
    load: float
    load_random: float
    threshold: float
    p: float
    p_healed: float
    p_random: float


@dataclass(frozen=True)
class Options:
    """`sources`: by default all that have both classes in each split; `positive`: labels that count as diseased."""

    sources: tuple[str, ...] = ()
    positive: tuple[str, ...] = ("pneumonia",)
    resolution: Annotated[int, Field(ge=32, le=1024)] = 256
    batch_size: Annotated[int, Field(ge=1)] = 8


@torch.no_grad()
def measured(
    test: Dataset,
    judge: Judge,
    generator: Generator,
    segmenter: Segmenter,
    features: Features,
    positive: Collection[str],
    *,
    seed: int = 0,
    batch_size: int = 8,
) -> Iterator[Row]:
    """A row for every image of a source's test images, as they come; random layers are drawn by seed, patient and path.

    What a random layer takes off is bounded by what can be taken off (`optics.headroom`), so its load may fall short.
    """
    for batch in read_batches(test, segmenter, device_of(generator), batch_size):
        apart = disentangle(generator, batch.images, batch.lungs)
        seeds = [seed_of(f"{r.patient_id} {r.path} null healed", seed) for r in batch.records]
        random = random_pathology(apart.layer, batch.lungs, seeds, headroom(apart.image))
        shown = (apart.image, quantize16(apart.structure), quantize16(take_off(apart.image, random)))
        columns = [opacity_load(tau, batch.lungs).nan_to_num().tolist() for tau in (apart.layer, random)]
        columns += [judge.probability(features(images)).tolist() for images in shown]
        for record, load, load_random, p, p_healed, p_random in zip(batch.records, *columns, strict=True):
            yield Row(
                record.path, record.patient_id, record.source, str(kind_of(record, positive)), load, load_random,
                judge.threshold, p, p_healed, p_random,
            )  # fmt: skip


def measures(rows: Sequence[Row], *, n_boot: int = 1000, seed: int = 0) -> dict[str, dict[str, Measure]]:
    """By source, with patient-bootstrap intervals of 95 % and N:

    auroc                  diseased against normal images as they are; .healed, .random: the diseased so, the normal as they are
    called_normal.KIND     share that the judge calls normal as they are, .healed, .random; " - " between two: paired difference
    p.KIND                 mean p of disease, the same way
    load.KIND              mean load taken off; .random: of the random layer
    """
    return {
        source: _of_source([row for row in rows if row.source == source], n_boot, seed)
        for source in dict.fromkeys(row.source for row in rows)
    }


def _of_source(rows: Sequence[Row], n_boot: int, seed: int) -> dict[str, Measure]:
    p = {"": np.array([r.p for r in rows]), ".healed": np.array([r.p_healed for r in rows])}
    p[".random"] = np.array([r.p_random for r in rows])
    threshold, patients = np.array([r.threshold for r in rows]), [r.patient_id for r in rows]
    sick = np.array([r.kind == "diseased" for r in rows])
    found: dict[str, Measure] = {}
    for state in STATES:
        score = np.where(sick, p[state], p[""])
        between = bootstrap_indices(lambda i, s=score: auroc(s[i], sick[i]), patients, n_boot=n_boot, seed=seed)  # type: ignore[misc]
        found[f"auroc{state}"] = Measure.of(between, "needs both classes")
    normal = {state: (values < threshold).astype(np.float64) for state, values in p.items()}
    load = {"": np.array([r.load for r in rows]), ".random": np.array([r.load_random for r in rows])}
    for name, values in (("called_normal", normal), ("p", p), ("load", load)):
        for kind in reversed(KINDS):
            found |= _paired(f"{name}.{kind}", values, sick == (kind == "diseased"), patients, n_boot, seed)
    return found


def _paired(
    name: str, values: Mapping[str, Floats], of: np.ndarray, patients: Sequence[str], n_boot: int, seed: int
) -> dict[str, Measure]:
    """Means of the columns (N,) over the samples `of` (N,) bool, and of the differences of PAIRS of them."""
    who = [patient for patient, kept in zip(patients, of, strict=True) if kept]
    columns = {f"{name}{state}": column[of] for state, column in values.items()}
    for a, b in PAIRS if ".healed" in values else ():
        columns[f"{name}{a} - {b.lstrip('.') or 'as it is'}"] = values[a][of] - values[b][of]
    return {
        key: Measure.of(patient_bootstrap(column, who, n_boot=n_boot, seed=seed), "no such image")
        for key, column in columns.items()
    }


def bench(given: Given, options: Options) -> Outcome:
    """One classifier a source; every test image as it is, healed, and without a random layer. --limit: of each class."""
    if given.limit is not None and given.limit < FEWEST:
        raise DataError(f"--limit {given.limit}: expected at least {FEWEST} images of each class, source and split")
    network, lungs, features, labels = given.load_generator(), given.load_segmenter(), Pyramid(), options.positive
    dataset = given.dataset(options.resolution)
    chosen = usable_sources(dataset, labels, options.sources)
    parts = {s: {split: part(dataset, s, split, labels, given.limit, given.seed) for split in SPLITS} for s in chosen}
    if given.dry_run:
        return Outcome({"images": {source: {split: len(each) for split, each in of.items()} for source, of in parts.items()}})
    judges = {source: judge_of(of["train"], of["val"], features, labels, given.device) for source, of in parts.items()}

    def answered() -> Iterator[Row]:
        for source, of in parts.items():
            yield from measured(
                of["test"], judges[source], network, lungs, features, labels, seed=given.seed, batch_size=options.batch_size
            )

    total = sum(len(of["test"]) for of in parts.values())
    rows = list(given.progress(answered(), total, "image"))
    given.names(dataset.records)
    found = measures(rows, seed=given.seed)
    text = format_table({f"{source}: {name}": each for source, of in found.items() for name, each in of.items()})
    about = {source: each.as_dict() for source, each in judges.items()}
    return Outcome({"images": total, "classifiers": about, "measures": found}, text, [asdict(row) for row in rows])
