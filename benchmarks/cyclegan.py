"""A CycleGAN on held-out patients: flip rates under targets, lung Dice, what changes where.

    python benchmarks/cyclegan.py DATA --include nih:normal --include ieee8023:covid [--generator cxr128-cyclegan] [--split test]
        [--target checkpoint:cxr128-naive --target checkpoint:cxr128] [--sheet FILE.png] [--tones]

--tones measures a null in its place: every image takes the mean tone curve of the other side's training images, nothing else.
Prints a table of each direction and, last, one line of JSON; --sheet draws the first images, their translations and what changed.
"""

from __future__ import annotations

import argparse
import json

import torch

from gan_explain.bench.translation import Tones, measure_translation, sides_of
from gan_explain.counterfactual.translate import Translator
from gan_explain.data import open_dataset
from gan_explain.metrics.measure import format_table
from gan_explain.nets.load import load_cyclegan
from gan_explain.nets.segmenter import load_segmenter
from gan_explain.render import write_sheet
from gan_explain.targets import resolve_target

TARGETS = ("checkpoint:cxr128-naive", "checkpoint:cxr128")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--include", action="append", metavar="SOURCE:LABEL", help="only these records; may be repeated")
    parser.add_argument("--generator", default="cxr128-cyclegan")
    parser.add_argument("--target", action="append", metavar="SPEC", help=f"default: {' and '.join(TARGETS)}")
    parser.add_argument("--segmenter", default="lungs128")
    parser.add_argument("--split", default="test")
    parser.add_argument("--tones", action="store_true", help="the null in place of the CycleGAN")
    parser.add_argument("--sheet", help="a PNG of translations to look at")
    options = parser.parse_args()
    network, segmenter = load_cyclegan(options.generator), load_segmenter(options.segmenter)
    translator: Translator = network
    targets = {spec.partition(":")[2]: resolve_target(spec, segmenter=segmenter) for spec in options.target or TARGETS}
    whole = open_dataset(options.data, size=network.resolution)
    if options.include:
        whole = whole.where(lambda record: f"{record.source}:{record.label}" in options.include)
    dataset = whole.split(options.split)
    if options.tones:
        train = sides_of(whole.split("train"))
        translator = Tones(train["positive"].batch().images, train["negative"].batch().images)
    found = {}
    rows: list[list[torch.Tensor]] = []
    for direction, images in sides_of(dataset).items():
        found[f"to_{direction}"] = measure_translation(translator, targets, segmenter, images, direction)
        print(f"to {direction}, {len(images)} images of {options.split}")
        print(format_table(found[f"to_{direction}"]) + "\n")
        some = images.batch(range(min(12, len(images)))).images
        translated = translator.to_positive(some) if direction == "positive" else translator.to_negative(some)
        rows += [list(some), list(translated), list((0.5 + 2 * (translated - some)).clamp(0, 1))]
    if options.sheet:
        names = ("negatives", "made positive", "difference x 2", "positives", "healed", "difference x 2")
        write_sheet(rows, options.sheet, rows=names)
    made = {"translation": "tones" if options.tones else options.generator, "split": options.split, "measures": found}
    print(json.dumps(made, default=lambda measure: measure.as_json()))


if __name__ == "__main__":
    main()
