"""Dice of a segmenter checkpoint against human lung masks, per source: python benchmarks/dice.py DATA [CHECKPOINT]"""

from __future__ import annotations

import json
import sys

from gan_explain.data import open_dataset
from gan_explain.nets.segmenter import load_segmenter
from gan_explain.train.segmenter import dice_report


def main() -> None:
    data, name = [*sys.argv[1:], "lungs128"][:2]
    segmenter = load_segmenter(name)
    dataset = open_dataset(data, size=segmenter.network.config.resolution).split("test")
    print(json.dumps(dice_report(segmenter, dataset), indent=2))


if __name__ == "__main__":
    main()
