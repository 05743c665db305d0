"""Does spectral importance help as augmentation? One architecture from scratch, arm against arm, on held-out patients.

Gebreamlak et al., IPTA 2023 (hal-04684288), report up to +2 % balanced accuracy and +6 % sensitivity. For every seed:

    none         images as they come
    gaussian     every other image of a batch through a weak Gaussian low-pass
    importance   every other image of a batch filtered by the importance of its frequencies
    spectrum     the network trained on log-magnitude spectra that the importance comes from, by itself

The first three start from the same weights and see the same images in the same order for as many steps; nothing else is
augmented. The fourth takes `spectrum_steps` steps more, and the third needs it. Each operating point is that of best balanced
accuracy on val.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field

from gan_explain.attribution.fem import SpectralFem
from gan_explain.bench.given import Given, Outcome
from gan_explain.bench.resample import (
    N_BOOT,
    Row,
    Statistic,
    answers,
    as_json,
    auroc_of,
    band,
    collected,
    mean_of,
    over_seeds,
    patient_weights,
)
from gan_explain.data import Dataset, coarse
from gan_explain.data.spectral import HIGH, LOW
from gan_explain.spectrum import radial_bands
from gan_explain.stats import best_operating_point
from gan_explain.targets import ModuleTarget
from gan_explain.train.options import TargetOptions
from gan_explain.train.spectral import FILTERS, SpectralOptions
from gan_explain.train.supervised import SupervisedTraining
from gan_explain.train.target import train_target
from gan_explain.train.training import quiet, stream
from gan_explain.types import DataError, Record

SPECTRUM = "spectrum"
ARMS = (*FILTERS, SPECTRUM)
REFERENCES = ("none", "gaussian")
BANDS = 8


@dataclass(frozen=True)
class Settings:
    """Everything that a result depends on but seed and data. low and high: gains at importance 0 and 1; sigma: of the Gaussian,
    in pixels; k: FEM's threshold."""

    arch: str = "resnet50"
    steps: int = 300
    spectrum_steps: int = 150
    batch_size: int = 32
    learning_rate: float = 1e-3
    low: float = LOW
    high: float = HIGH
    sigma: float = 1.0
    k: float = 1.0


@dataclass(frozen=True)
class Options(Settings):
    """What is measured; seeds go up from --seed."""

    seeds: Annotated[int, Field(ge=1)] = 5
    arm: tuple[Literal["none", "gaussian", "importance", "spectrum"], ...] = ("spectrum", "none", "gaussian", "importance")
    resolution: Annotated[int, Field(ge=32, le=512)] = 64


def rows(dataset: Dataset, seed: int, settings: Settings, arms: Sequence[str] = ARMS) -> Iterator[dict[str, Any]]:
    """One result an arm: p of every image of val and test by path, p*, seconds; of the spectrum network also the mean importance
    of its frequencies by radial band, for each class of the test split. DataError without a val or test split."""
    held = dataset.where(lambda record: record.split != "train")
    if not len(dataset.split("val")) or not len(dataset.split("test")):
        raise DataError(f"{dataset.root}: expected the splits val and test, got none of one of them")
    reader = None
    if {SPECTRUM, "importance"} & set(arms):
        started = time.monotonic()
        reader = trained(dataset, seed, settings, None, None)
        if SPECTRUM in arms:
            yield result(reader, held, seed, SPECTRUM, settings, started) | {
                "bands": bands(reader, dataset.split("test"), settings.k)
            }
    for arm in FILTERS:
        if arm in arms:
            started = time.monotonic()
            spectral = SpectralOptions(filter=arm, low=settings.low, high=settings.high, k=settings.k, sigma=settings.sigma)
            yield result(trained(dataset, seed, settings, spectral, reader), held, seed, arm, settings, started)


def trained(
    dataset: Dataset, seed: int, settings: Settings, spectral: SpectralOptions | None, reader: ModuleTarget | None
) -> ModuleTarget:
    """A network from scratch whose first weights depend on the seed alone; without `spectral` one that reads spectra."""
    options = TargetOptions(
        arch=settings.arch, size=dataset.size, balance="none", domain="image" if spectral else "spectrum",
        spectral=spectral or SpectralOptions(),
    )  # fmt: skip
    training = SupervisedTraining(
        steps=settings.steps if spectral else settings.spectrum_steps, batch_size=settings.batch_size,
        learning_rate=settings.learning_rate, seed=seed, augment=0,
    )  # fmt: skip
    with stream(seed), tempfile.TemporaryDirectory() as folder:
        return train_target(dataset, None, Path(folder), options, quiet(training), spectrum=reader)


def result(target: ModuleTarget, held: Dataset, seed: int, arm: str, settings: Settings, started: float) -> dict[str, Any]:
    p, seconds = answers(target, held), round(time.monotonic() - started, 1)
    return {"seed": seed, "arm": arm, "settings": as_json(settings), "size": held.size, "seconds": seconds, "p": p}


@torch.no_grad()
def bands(reader: ModuleTarget, dataset: Dataset, k: float) -> dict[str, list[float]]:
    """Mean importance in BANDS rings of frequencies, from low to high, over the images of each class."""
    found: dict[str, list[float]] = {}
    for label in dataset.classes:
        images = dataset.where(lambda r, label=label: r.label == label).batch().images  # type: ignore[misc]
        parts = [radial_bands(SpectralFem(k=k).importance(part, reader), BANDS) for part in images.split(64)]
        found[label] = [round(v, 4) for v in torch.cat(parts).mean((0, 1)).tolist()]
    return found


@dataclass(frozen=True)
class Entry:
    """One measure of one arm: its mean over seeds and, for each reference, the difference to it, as (value, low, high) with 95 %
    intervals; `n` test images."""

    arm: str
    measure: str
    value: tuple[float, float, float]
    differences: dict[str, tuple[float, float, float]]
    seeds: int
    n: int


def statistics(row: Mapping[str, Any], records: Sequence[Record], positive: str = "covid") -> dict[str, tuple[Statistic, int]]:
    """Every measure of one result at the operating point of val, as functions of the weights of the test images, with their
    number."""
    val, test = ([record for record in records if record.split == split] for split in ("val", "test"))
    point = best_operating_point([row["p"][r.path] for r in val], [r.label == positive for r in val])
    p, truth = np.array([row["p"][r.path] for r in test]), np.array([r.label == positive for r in test])
    everyone = np.ones(len(test), dtype=np.bool_)
    sensitivity, specificity = mean_of((p >= point).astype(float), truth), mean_of((p < point).astype(float), ~truth)
    return {
        "balanced accuracy": (lambda w: (sensitivity(w) + specificity(w)) / 2, len(test)),
        "sensitivity": (sensitivity, int(truth.sum())),
        "specificity": (specificity, int((~truth).sum())),
        "AUROC": (auroc_of(p, truth, everyone), len(test)),
    }


def entries(found: Sequence[Mapping[str, Any]], records: Sequence[Record], *, n_boot: int = N_BOOT, seed: int = 0) -> list[Entry]:
    """Every measure of every arm over its seeds; differences are of the seeds that both arms have. DataError without results."""
    if not found:
        raise DataError("expected results, got none")
    weights = patient_weights([record.patient_id for record in records if record.split == "test"], n_boot, seed)
    by = {(row["arm"], row["seed"]): statistics(row, records) for row in found}
    arms = {arm: sorted(s for a, s in by if a == arm) for arm in ARMS}

    def interval(arm: str, name: str, seeds: Sequence[int], other: str = "") -> tuple[float, float, float]:
        values = np.stack([by[arm, s][name][0](weights) for s in seeds], 1)  # (1 + B, S); the first row: every patient once
        if other:
            values = values - np.stack([by[other, s][name][0](weights) for s in seeds], 1)
        return over_seeds(values, seed)

    results = []
    for arm, seeds in arms.items():
        for name in by[arm, seeds[0]] if seeds else ():
            shared = {other: [s for s in seeds if s in arms[other]] for other in REFERENCES if other != arm}
            differences = {other: interval(arm, name, both, other) for other, both in shared.items() if both}
            results.append(Entry(arm, name, interval(arm, name, seeds), differences, len(seeds), by[arm, seeds[0]][name][1]))
    return results


def markdown(found: Sequence[Entry]) -> str:
    """One row an arm and measure."""
    lines = [
        "| arm | measure | value [95 %] | " + " | ".join(f"minus {other} [95 %]" for other in REFERENCES) + " | seeds | N |",
        "|---" * (5 + len(REFERENCES)) + "|",
    ]
    for e in found:
        differences = [band(e.differences[o], "+") if o in e.differences else "" for o in REFERENCES]
        lines.append(f"| {e.arm} | {e.measure} | {band(e.value)} | {' | '.join(differences)} | {e.seeds} | {e.n} |")
    return "\n".join(lines)


def bench(given: Given, options: Options) -> Outcome:
    """Train and ask every arm of every seed that is not there yet; the table. DataError without covid images and others."""
    settings = Settings(**{each.name: getattr(options, each.name) for each in fields(Settings)})
    dataset = given.dataset(options.resolution)
    labels = {coarse(record.label) for record in dataset.records}
    if "covid" not in labels or len(labels) < 2:
        raise DataError(f"{given.data}: expected covid images and others, got {', '.join(sorted(labels))} (see --include)")
    chosen = range(given.seed, given.seed + options.seeds)[given.shard[0] - 1 :: given.shard[1]]
    if given.dry_run:
        return Outcome({"seeds": list(chosen), "train": len(dataset.split("train")), "test": len(dataset.split("test"))})

    def work(is_there: Callable[[Row], bool]) -> Iterator[Row]:
        for seed in chosen:
            yield from rows(dataset, seed, settings, [a for a in options.arm if not is_there({"seed": seed, "arm": a})])

    found = entries(*collected(given, {"settings": as_json(settings), "size": options.resolution}, dataset, work))
    return Outcome({"entries": [vars(each) for each in found]}, markdown(found))
