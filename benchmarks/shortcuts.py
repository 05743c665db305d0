"""CNNs trained with a planted marker and without, audited alike: does the shortcut score tell them apart?

    python benchmarks/shortcuts.py                        # phantoms: 10 with a shortcut, 10 clean
    python benchmarks/shortcuts.py --real DIR             # radiographs of one source: 3 and 3

Phantoms or, for --real, kermany normal against kermany pneumonia; 64 px. 30 % of the normals count as positives with clear lungs,
so that the lungs do not settle the class: where they do, no CNN learns the marker. Prints a Markdown table as it goes and, last,
one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace

import torch

from gan_explain.bench.shortcuts import PLACES, Audited, audited, cases, separation, silent
from gan_explain.data import Dataset, open_dataset
from gan_explain.metrics.measure import Measure
from gan_explain.nets.segmenter import load_segmenter

PNEUMONIA = ("pneumonia",)
SILENT = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", metavar="DIR", help="a dataset with normals and pneumonias of --source; default: phantoms")
    parser.add_argument("--source", default="kermany")
    parser.add_argument("--segmenter", help="default: phantom64 for phantoms, lungs128 for radiographs")
    parser.add_argument("--shortcuts", type=int, help="CNNs with a shortcut; default 10, real 3")
    parser.add_argument("--cleans", type=int, help="CNNs without; default 10, real 3")
    parser.add_argument("--images", type=int, default=1000, help="phantoms")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--limit", type=int, default=40, help="negatives that the audit reads")
    parser.add_argument("--seed", type=int, default=0, help="of the phantoms, the training and the markers")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    if options.real:
        data: Dataset = open_dataset(options.real, size=options.size).where(lambda record: record.source == options.source)
        data = silent(data, SILENT, "pneumonia")
        positive, count, name = PNEUMONIA, 3, options.segmenter or "lungs128"
    else:
        data = silent(open_dataset(f"phantom:n={options.images},covid=0.35", size=options.size, seed=options.seed), SILENT)
        positive, count, name = ("covid",), 10, options.segmenter or "phantom64"
    counts = [count if given is None else given for given in (options.shortcuts, options.cleans)]
    chosen = [replace(case, seed=case.seed + 100 * options.seed) for case in cases(counts[0], counts[1])]
    start, found = time.perf_counter(), []
    print("| marker in positives / negatives | AUROC | " + " | ".join(f"{place} [95 %]" for place in PLACES) + " | N |")
    print("|---" * (len(PLACES) + 3) + "|")
    for each in audited(chosen, data, load_segmenter(name), positive, steps=options.steps, limit=options.limit):
        found.append(each)
        print(row(each), flush=True)
    seconds = time.perf_counter() - start
    print(
        f"\nAUROC of the shortcut score (outside): {separation(found):.3f}; {seconds:.0f} s, {torch.get_num_threads()} thread(s)"
    )
    print(json.dumps({"auroc": separation(found), "seconds": seconds, "targets": [each.as_dict() for each in found]}))


def row(each: Audited) -> str:
    shares = f"{each.case.positive:.0%} / {each.case.negative:.0%}"
    cells = " | ".join(number(each.excess[place]) for place in PLACES)
    return f"| {shares} | {each.auroc:.3f} | {cells} | {each.excess['outside'].n or 0} |"


def number(found: Measure) -> str:
    if found.value is None or found.low is None or found.high is None:
        return f"null: {found.reason or 'no interval'}"
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


if __name__ == "__main__":
    main()
