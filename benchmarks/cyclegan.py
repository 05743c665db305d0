"""A CycleGAN on held-out patients: flip rates under targets, lung Dice, what changes where.

    python benchmarks/cyclegan.py DATA --include nih:normal --include ieee8023:covid [--checkpoint cxr128-cyclegan] [--split test]
        [--target checkpoint:cxr128-naive --target checkpoint:cxr128] [--sheet FILE.png]

Prints a table of each direction and, last, one line of JSON; --sheet draws the first images, their translations and what changed.
"""

from __future__ import annotations

import argparse
import json

import torch

from gan_explain.bench.translation import measure_translation, sides_of
from gan_explain.checkpoints import load_cyclegan
from gan_explain.data import open_dataset
from gan_explain.metrics.classification import format_table
from gan_explain.render import write_sheet
from gan_explain.segmenter import load_segmenter
from gan_explain.targets import resolve_target

TARGETS = ("checkpoint:cxr128-naive", "checkpoint:cxr128")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--include", action="append", metavar="SOURCE:LABEL", help="only these records; may be repeated")
    parser.add_argument("--checkpoint", default="cxr128-cyclegan")
    parser.add_argument("--target", action="append", metavar="SPEC", help=f"default: {' and '.join(TARGETS)}")
    parser.add_argument("--segmenter", default="lungs128")
    parser.add_argument("--split", default="test")
    parser.add_argument("--sheet", help="a PNG of translations to look at")
    options = parser.parse_args()
    network, segmenter = load_cyclegan(options.checkpoint), load_segmenter(options.segmenter)
    targets = {spec.partition(":")[2]: resolve_target(spec, segmenter=segmenter) for spec in options.target or TARGETS}
    dataset = open_dataset(options.data, size=network.resolution).split(options.split)
    if options.include:
        dataset = dataset.where(lambda record: f"{record.source}:{record.label}" in options.include)
    found = {}
    rows: list[list[torch.Tensor]] = []
    for direction, images in sides_of(dataset).items():
        found[f"to_{direction}"] = measure_translation(network, targets, segmenter, images, direction)
        print(f"to {direction}, {len(images)} images of {options.split}")
        print(format_table(found[f"to_{direction}"]) + "\n")
        some = images.batch(range(min(12, len(images)))).images
        translated = network.to_positive(some) if direction == "positive" else network.to_negative(some)
        rows += [list(some), list(translated), list((0.5 + 2 * (translated - some)).clamp(0, 1))]
    if options.sheet:
        names = ("negatives", "made positive", "difference x 2", "positives", "healed", "difference x 2")
        write_sheet(rows, options.sheet, rows=names)
    print(json.dumps({"checkpoint": options.checkpoint, "split": options.split, "measures": found}))


if __name__ == "__main__":
    main()
