"""Dice of segmenters against human lung masks, each at its own resolution, with patient-bootstrap intervals of 95 %."""

from __future__ import annotations

from dataclasses import dataclass

from gan_explain.bench.given import Given, Outcome
from gan_explain.metrics.measure import Measure, format_table
from gan_explain.train.segmenter import dice_report


@dataclass(frozen=True)
class Options:
    """`also`: segmenters beside the one that was named."""

    also: tuple[str, ...] = ()


def bench(given: Given, options: Options) -> Outcome:
    """Dice of every segmenter on the records of a split that have a mask, whole and by source."""
    found: dict[str, Measure] = {}
    for name in dict.fromkeys((given.segmenter, *options.also)):
        segmenter = given.load_segmenter(name)
        split = given.dataset(segmenter.resolution).split(given.split or "test")
        if given.dry_run:
            found[name] = Measure(n=len(split))
        else:
            found[f"{name}, {segmenter.resolution} px"] = dice_report(segmenter, split)
    return Outcome({"dice": found}, format_table(found))
