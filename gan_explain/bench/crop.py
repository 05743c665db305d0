"""Does it help to show a CNN the lungs alone, or the square round them? A small CXR-Net of four classes, arm against arm.

    whole    whole images
    lungs    lungs only
    square   the square round the lungs

For every seed the three see the same images in the same order; accuracy and F1 of covid on the test split, with their differences
to whole images.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from gan_explain.bench.given import Given, Outcome
from gan_explain.bench.resample import Row, Weights, band, collected, over_seeds, patient_weights
from gan_explain.data import Dataset
from gan_explain.evaluate.inputs import read_batches
from gan_explain.evaluate.run import true_classes
from gan_explain.stats import Floats
from gan_explain.targets import masks_for
from gan_explain.train.options import usual
from gan_explain.train.target import train_target
from gan_explain.train.training import quiet, stream
from gan_explain.types import Record, Segmenter

CLASSES = ("normal", "bacterial_pneumonia", "viral_pneumonia", "covid")
ARMS: dict[str, dict[str, Any]] = {"whole": {}, "lungs": {"lungs_only": True}, "square": {"crop": 1.12}}


@dataclass(frozen=True)
class Options:
    """Seeds go up from --seed; `resolution`: side of the network's input."""

    arm: tuple[Literal["whole", "lungs", "square"], ...] = ("whole", "lungs", "square")
    seeds: Annotated[int, Field(ge=1)] = 5
    steps: Annotated[int, Field(ge=1)] = 400
    resolution: Annotated[int, Field(ge=32)] = 64


def bench(given: Given, options: Options) -> Outcome:
    """Train and ask every arm of every seed that is not there yet; the table."""
    segmenter = given.load_segmenter()
    data = given.dataset(3 * options.resolution // 2).where(lambda record: record.label in CLASSES)
    test = data.split("test")
    chosen = range(given.seed, given.seed + options.seeds)[given.shard[0] - 1 :: given.shard[1]]
    if given.dry_run:
        return Outcome({"seeds": list(chosen), "train": len(data.split("train")), "test": len(test)})

    def work(is_there: Callable[[Row], bool]) -> Iterator[Row]:
        for seed in chosen:
            for arm in options.arm:
                if not is_there({"arm": arm, "seed": seed}):
                    started = time.monotonic()
                    calls = _calls(data, test, segmenter, arm, seed, options)
                    yield {"arm": arm, "seed": seed, "seconds": round(time.monotonic() - started), "calls": calls}

    rows, records = collected(given, {"steps": options.steps, "size": options.resolution}, test, work)
    entries, text = _table(rows, records, options.arm)
    return Outcome({"entries": entries}, text)


def _calls(data: Dataset, test: Dataset, segmenter: Segmenter, arm: str, seed: int, options: Options) -> list[int]:
    """Train one arm and seed; the class that it calls each test image by, as an index into CLASSES."""
    asked, training = usual("cxrnet")
    asked = replace(asked, size=options.resolution, keep_labels=True, **ARMS[arm])
    training = replace(training, steps=options.steps, ema=0.98, seed=seed)
    with stream(seed), tempfile.TemporaryDirectory() as folder:
        target = train_target(data, segmenter, Path(folder), asked, quiet(training))
    order = [CLASSES.index(name) for name in target.classes]
    called: list[int] = []
    for batch in read_batches(test, segmenter, torch.device("cpu"), 64):
        with torch.no_grad():
            logits = target.logits(batch.images, masks_for(target, batch.lungs))
        called += [order[k] for k in logits.argmax(1).tolist()]
    return called


def _table(rows: Sequence[Row], records: Sequence[Record], arms: Sequence[str]) -> tuple[list[dict[str, Any]], str]:
    truth = true_classes(records, CLASSES)
    weights = patient_weights([record.patient_id for record in records])
    calls = {(row["arm"], row["seed"]): np.array(row["calls"]) for row in rows}
    seeds = sorted({seed for _, seed in calls if all((arm, seed) in calls for arm in arms)})
    lines = [
        "| measure | input | mean of the seeds [95 %] | difference to whole images [95 %] | each seed's difference |",
        "|---" * 5 + "|",
    ]
    entries = []
    for name, measure in (("accuracy", accuracy), ("COVID F1", covid_f1)) if seeds else ():
        of = {arm: np.stack([measure(truth, calls[arm, seed], weights) for seed in seeds], 1) for arm in arms}  # (1 + B, S)
        for arm in arms:
            value, more, each = over_seeds(of[arm]), "", ""
            if arm != "whole" and "whole" in arms:
                difference = of[arm] - of["whole"]
                more, each = band(over_seeds(difference), "+"), ", ".join(f"{d:+.3f}" for d in difference[0])
            lines.append(f"| {name} | {arm} | {band(value)} | {more} | {each} |")
            entries.append({"measure": name, "arm": arm, "value": value, "seeds": len(seeds), "n": len(truth)})
    return entries, "\n".join(lines)


def accuracy(truth: NDArray[np.int64], called: NDArray[np.int64], weights: Weights) -> Floats:
    found: Floats = weights @ (truth == called) / weights.sum(1)
    return found


def covid_f1(truth: NDArray[np.int64], called: NDArray[np.int64], weights: Weights) -> Floats:
    is_, says = truth == CLASSES.index("covid"), called == CLASSES.index("covid")
    total = weights @ is_ + weights @ says
    found: Floats = np.divide(2 * (weights @ (is_ & says)), total, out=np.zeros_like(total), where=total > 0)
    return found
