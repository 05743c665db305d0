"""CXR-Net, measured twice: does seeing the lungs alone help, and does its map lie on the lesions?

    python benchmarks/cxrnet.py lungs --data DIR --out out/cxrnet_lungs
    python benchmarks/cxrnet.py maps --target checkpoint:phantom64-cxrnet --other checkpoint:phantom64 --out out/cxrnet_maps

`lungs` trains a small CXR-Net of four classes for each seed on whole images, on lungs only and on the square round the lungs,
and prints test accuracy and COVID F1 with their differences to whole images; the intervals (95 %) resample seeds and patients,
the same draws for every arm. Rows are kept in results.jsonl: a run that was broken off goes on.

`maps` prints, on the phantom's held-out positives, how much of each map's relevance lies in the lesion, and how much more that
is than Grad-CAM's of the same CNN and of --other, paired, with patient-bootstrap intervals (95 %); sheet.png shows some of them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan_explain.attribution import CxrNetMap, GradCam, Method
from gan_explain.bench.augment import append, read_rows
from gan_explain.bench.augment_table import patient_weights
from gan_explain.bench.few import quiet, stream
from gan_explain.data import Dataset, open_dataset
from gan_explain.evaluate.classifier import true_classes
from gan_explain.evaluate.inputs import ask, read_batches
from gan_explain.metrics.pointing import iou_equal_area, pointing_game, relevance_mass
from gan_explain.nets.segmenter import load_segmenter
from gan_explain.render.draw import MUTED, TEXT, canvas, enlarge, font, write_png
from gan_explain.render.heat import HeatMap, fit, lay
from gan_explain.stats import paired_bootstrap, patient_bootstrap
from gan_explain.targets import masks_for, resolve_target
from gan_explain.train.options import usual
from gan_explain.train.target import train_target
from gan_explain.types import Segmenter

Floats = NDArray[np.float64]
CLASSES = ("normal", "bacterial_pneumonia", "viral_pneumonia", "covid")
ARMS: dict[str, dict[str, Any]] = {"whole": {}, "lungs": {"lungs_only": True}, "square": {"crop": 1.12}}
N_BOOT = 2000
SIDE, GAP = 160, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    lungs = commands.add_parser("lungs")
    lungs.add_argument("--data", required=True, metavar="DIR")
    lungs.add_argument("--segmenter", default="lungs128")
    lungs.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    lungs.add_argument("--seeds", type=int, default=5)
    lungs.add_argument("--steps", type=int, default=400)
    lungs.add_argument("--size", type=int, default=64)
    lungs.add_argument("--out", type=Path, default=Path("out/cxrnet_lungs"))
    maps = commands.add_parser("maps")
    maps.add_argument("--target", required=True, metavar="SPEC", help="a CXR-Net")
    maps.add_argument("--other", metavar="SPEC", help="another CNN, for its Grad-CAM")
    maps.add_argument("--data", default="phantom:n=800")
    maps.add_argument("--segmenter", default="phantom64")
    maps.add_argument("--size", type=int, default=64)
    maps.add_argument("--rows", type=int, default=6, help="images in the sheet")
    maps.add_argument("--out", type=Path, default=Path("out/cxrnet_maps"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    {"lungs": compare_inputs, "maps": compare_maps}[options.command](options)


# -- whole images, lungs only, the square round the lungs ---------------------------------------------------------------------


def compare_inputs(options: argparse.Namespace) -> None:
    segmenter = load_segmenter(options.segmenter)
    data = open_dataset(options.data, size=3 * options.size // 2).where(lambda record: record.label in CLASSES)
    test = data.split("test")
    place = options.out / "results.jsonl"
    done = {(row["arm"], row["seed"]) for row in read_rows(place)}
    for seed in range(options.seeds):
        for arm in options.arms:
            if (arm, seed) not in done:
                started = time.monotonic()
                calls = trained_calls(data, test, segmenter, arm, seed, options)
                append(place, {"arm": arm, "seed": seed, "seconds": round(time.monotonic() - started), "calls": calls})
    print_inputs(read_rows(place), test, options.arms)


def trained_calls(
    data: Dataset, test: Dataset, segmenter: Segmenter, arm: str, seed: int, options: argparse.Namespace
) -> list[int]:
    """Train one arm and seed; the class it calls each test image by, as an index into CLASSES."""
    asked, training = usual("cxrnet")
    asked = replace(asked, size=options.size, keep_labels=True, **ARMS[arm])
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


def print_inputs(rows: Sequence[dict[str, Any]], test: Dataset, arms: Sequence[str]) -> None:
    truth = true_classes(test.records, CLASSES)
    weights = patient_weights([record.patient_id for record in test.records], N_BOOT, seed=0)  # (1 + N_BOOT, N)
    calls = {(row["arm"], row["seed"]): np.array(row["calls"]) for row in rows}
    seeds = sorted({seed for arm, seed in calls if all((other, seed) in calls for other in arms)})
    drawn = np.random.default_rng(1).multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), size=N_BOOT)
    counts: Floats = np.vstack([np.ones(len(seeds)), drawn])  # the first row: every seed once
    print("| measure | input | mean of the seeds [95 %] | difference to whole images [95 %] | each seed's difference |")
    print("|---|---|---|---|---|")
    for name, measure in (("accuracy", accuracy), ("COVID F1", covid_f1)):
        of = {arm: np.stack([measure(truth, calls[arm, seed], weights) for seed in seeds]) for arm in arms}  # (S, 1 + N_BOOT)
        for arm in arms:
            values: Floats = averaged(of[arm], counts)
            line = f"| {name} | {arm} | {interval(values)} |"
            if arm != "whole" and "whole" in arms:
                more: Floats = values - averaged(of["whole"], counts)
                line += f" {interval(more, '+')} | {', '.join(f'{d:+.3f}' for d in (of[arm] - of['whole'])[:, 0])} |"
            print(line if line.count("|") > 4 else f"{line} | |")
    patients, each = len({record.patient_id for record in test.records}), np.mean([row["seconds"] for row in rows])
    print(f"\n{len(seeds)} seeds, N = {len(test)} ({patients} patients); {each:.0f} s a run")


def accuracy(truth: NDArray[np.int64], called: NDArray[np.int64], weights: Floats) -> Floats:
    found: Floats = weights @ (truth == called) / weights.sum(1)
    return found


def covid_f1(truth: NDArray[np.int64], called: NDArray[np.int64], weights: Floats) -> Floats:
    is_, says = truth == CLASSES.index("covid"), called == CLASSES.index("covid")
    found: Floats = 2 * (weights @ (is_ & says)) / (weights @ is_ + weights @ says)
    return found


def averaged(values: Floats, drawn: Floats) -> Floats:
    """Means over drawn seeds: (S, B), (B, S) -> (B,)."""
    found: Floats = (values.T * drawn).sum(1) / drawn.sum(1)
    return found


def interval(values: Floats, sign: str = "") -> str:
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return f"{values[0]:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


# -- the map and the lesions --------------------------------------------------------------------------------------------------


def compare_maps(options: argparse.Namespace) -> None:
    segmenter = load_segmenter(options.segmenter)
    data = open_dataset(options.data, size=options.size).split("test").where(lambda record: record.label == "covid")
    own = resolve_target(options.target, segmenter=segmenter)
    columns: list[tuple[str, Any, Method]] = [
        ("CXR-Net's map", own, CxrNetMap()),
        ("Grad-CAM, second encoder", own, GradCam()),
        ("Grad-CAM, first encoder", own, GradCam("first.stages.3")),
    ]
    if options.other:
        other = resolve_target(options.other, segmenter=segmenter)
        columns.append((f"Grad-CAM of {options.other.rpartition(':')[2]}", other, GradCam()))
    heats: dict[str, list[Tensor]] = {name: [] for name, _, _ in columns}
    batches = list(read_batches(data, segmenter, torch.device("cpu"), 16))
    for batch in batches:
        for name, target, method in columns:
            heats[name].append(method.attribute(batch.images, target, masks_for(target, batch.lungs)))
    lesions = torch.cat([batch.lesion for batch in batches if batch.lesion is not None])
    lungs = torch.cat([batch.lungs for batch in batches])
    patients = [name for batch in batches for name in batch.patients]
    masses = {name: relevance_mass(torch.cat(found), lesions).numpy() for name, found in heats.items()}
    print("| map | relevance in the lesion [95 %] | CXR-Net's map has more by [95 %] | pointing game | IoU at equal area | N |")
    print("|---|---|---|---|---|---|")
    mine = masses[columns[0][0]]
    for name, found in heats.items():
        all_, cells = torch.cat(found), []
        for values in (masses[name], pointing_game(all_, lesions).numpy(), iou_equal_area(all_, lesions).numpy()):
            cells.append(number(patient_bootstrap(values, patients)))
        more = "" if name == columns[0][0] else number(paired_bootstrap(mine, masses[name], patients))
        print(f"| {name} | {cells[0]} | {more} | {cells[1]} | {cells[2]} | {int(np.isfinite(masses[name]).sum())} |")
    area = (lesions.flatten(1).mean(1), lesions.flatten(1).sum(1) / lungs.flatten(1).sum(1))
    print(f"\nThe lesion takes {area[0].mean():.3f} of the image, and {area[1].mean():.3f} as much as the lungs.")
    images = torch.cat([batch.images for batch in batches])
    p = torch.cat([ask(own, batch.images, batch.lungs) for batch in batches])
    rows = np.linspace(0, len(images) - 1, options.rows).round().astype(int)
    draw_sheet(images[rows], lesions[rows], {name: torch.cat(found)[rows] for name, found in heats.items()}, p[rows], options.out)


def number(found: Any) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def draw_sheet(images: Tensor, lesions: Tensor, heats: dict[str, Tensor], p: Tensor, out: Path) -> None:
    """A row an image, a column a map; the thin line is the lesion's outline."""
    step = SIDE + 24
    picture, draw = canvas((1 + len(heats)) * (SIDE + GAP) + GAP, 32 + len(images) * step)
    for row, image in enumerate(images):
        gray, top = enlarge(image, SIDE), 28 + row * step
        picture.paste(lay(gray, HeatMap("", torch.zeros_like(image)), lesions[row]), (GAP, top))
        draw.text((GAP, top + SIDE + 3), f"p {float(p[row]):.2f}", MUTED, font(12))
        for column, (name, maps) in enumerate(heats.items(), 1):
            left = GAP + column * (SIDE + GAP)
            if not row:
                draw.text((left, 8), fit(name, SIDE, 12), TEXT, font(12, bold=True))
            picture.paste(lay(gray, HeatMap("", maps[row]), lesions[row]), (left, top))
            inside = float(relevance_mass(maps[row][None], lesions[row][None]))
            draw.text((left, top + SIDE + 3), f"{inside:.0%} in the lesion", MUTED, font(12))
    write_png(picture, out / "sheet.png")


if __name__ == "__main__":
    main()
