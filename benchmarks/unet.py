"""The multi-output U-Net on held-out images: its lungs, its calls, and what the lung-cropped map does not show.

    I="--include nih:normal --include ieee8023:normal --include ieee8023:covid"
    python benchmarks/unet.py --data DIR $I cxr128-unet --peer lungs128 --out out/unet

Prints Markdown tables with patient-bootstrap intervals (95 %): Dice against human masks, each segmenter at its own resolution;
the share of the class activation map that lies in the network's own lungs, beside the lungs' share of the image; and by how much
p rises when what lies outside the lungs of a positive takes the place of a negative's, beyond what another negative's does (the
audit's excess): where that is not 0, a map cropped to the lungs hides a shortcut. Draws positives and negatives of different
patients into sheet.png, with the human mask, the whole map and the cropped one in the same colours; the line is the edge of the
network's lungs.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from gan_explain.attribution import GradCam, LungCam
from gan_explain.audit.control import excesses
from gan_explain.cli.datasets import fitting
from gan_explain.data import Dataset, belongs, open_dataset
from gan_explain.evaluate import report_target
from gan_explain.evaluate.inputs import ask, read_batches
from gan_explain.metrics.measure import Measure
from gan_explain.metrics.pointing import relevance_mass
from gan_explain.nets.segmenter import LungSegmenter, load_segmenter
from gan_explain.render.heat import HeatMap
from gan_explain.render.maps import MapRow, write_maps
from gan_explain.targets import masks_for, resolve_target
from gan_explain.train.segmenter import dice_report, has_mask
from gan_explain.types import Target

CALLS = ("balanced_accuracy", "sensitivity", "specificity", "auroc", "opacity_probe.rises", "opacity_probe.slope")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="of gan-explain train unet")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME", help="another segmenter to measure")
    parser.add_argument("--data", required=True, metavar="DIR")
    parser.add_argument("--include", action="append", default=[], metavar="[SOURCE:]LABEL", help="images to classify [all]")
    parser.add_argument("--split", default="test", choices=["train", "val", "test"])
    parser.add_argument("--positives", type=int, default=6, help="rows of the sheet")
    parser.add_argument("--negatives", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("out/unet"))
    options = parser.parse_args()

    print("| segmenter | side | source | Dice [95 %] | N |\n|---|---|---|---|---|")
    for name in [options.checkpoint, *options.peer]:
        each = load_segmenter(name)
        split = open_dataset(options.data, size=each.resolution).split(options.split)
        found = dice_report(each, split)
        rows(f"{name} | {each.resolution}", {source: row for source, row in found["by"].items() if row["value"] is not None})  # type: ignore[attr-defined]

    segmenter = load_segmenter(options.checkpoint)
    data = open_dataset(options.data, size=segmenter.resolution).split(options.split)
    data = data.where(fitting(options.include)) if options.include else data
    target = resolve_target(f"checkpoint:{options.checkpoint}", segmenter=segmenter)
    print("\n| measure | value [95 %] | N |\n|---|---|---|")
    calls = report_target(target, data, segmenter)
    rows("", {name: calls[name] for name in CALLS if name in calls})
    maps, shown = mapped(target, data, segmenter, options.positives, options.negatives)
    rows("", maps)
    rows("", excesses(target, data, segmenter, ("transplant.outside", "transplant.lungs"), limit=64))
    options.out.mkdir(parents=True, exist_ok=True)
    write_maps(shown, options.out / "sheet.png", side=224)


def mapped(
    target: Target, data: Dataset, segmenter: LungSegmenter, positives: int, negatives: int
) -> tuple[dict[str, Measure], list[MapRow]]:
    """Where the heat lies, for positives and negatives by label; and rows of the first images of some patients of each."""
    shares: dict[str, list[tuple[float, float]]] = {"positives": [], "negatives": []}
    patients: dict[str, list[str]] = {side: [] for side in shares}
    kept: dict[str, list[MapRow]] = {side: [] for side in shares}
    for batch in read_batches(data, segmenter, torch.device("cpu"), 16):
        masks = masks_for(target, batch.lungs)
        whole, cropped = GradCam().attribute(batch.images, target, masks), LungCam().attribute(batch.images, target, batch.lungs)
        inside, p = relevance_mass(whole, batch.lungs), ask(target, batch.images, batch.lungs)
        for i, record in enumerate(batch.records):
            side = "positives" if belongs(record.label, target.positive) else "negatives"
            shares[side].append((float(inside[i]), float(batch.lungs[i].mean())))
            if record.patient_id not in patients[side]:
                cut = f"{1 - float(inside[i]):.0%} of the heat cropped away" if bool((whole[i] > 0).any()) else "no heat"
                note = f"{record.source} {record.label}: p {float(p[i]):.2f}, {cut}"
                full = float(whole[i].max())
                drawn = {"CAM": HeatMap("", whole[i]), "CAM, lung-cropped": HeatMap("", cropped[i], scale=full)}
                if has_mask(record):
                    human = data.memory(record).lungs
                    drawn = {"human mask": HeatMap("", torch.from_numpy(np.asarray(human, np.float32))[None])} | drawn
                kept[side].append(MapRow(batch.images[i], batch.lungs[i], drawn, note))
            patients[side].append(record.patient_id)
    found: dict[str, Measure] = {}
    for side, values in shares.items():
        heat, area = np.array(values).T
        sources = [""] * len(heat)
        found[f"{side}: share of the heat in its lungs"] = Measure.over(heat, patients[side], sources)
        found[f"{side}: that minus the lungs' share of the image"] = Measure.over(heat - area, patients[side], sources)
    return found, [*spread(kept["positives"], positives), *spread(kept["negatives"], negatives)]


def spread(rows: list[MapRow], count: int) -> list[MapRow]:
    """`count` rows, evenly among them."""
    return [rows[round(i)] for i in np.linspace(0, len(rows) - 1, min(count, len(rows)))]


def rows(first: str, found: Mapping[str, Measure]) -> None:
    for name, row in found.items():
        between = "" if row.low is None or row.high is None else f" [{row.low:.3f}, {row.high:.3f}]"
        value = row.reason or "not measured" if row.value is None else f"{row.value:.3f}{between}"
        print("|", *([first, "|"] if first else []), name, "|", value, "|", row.n or "", "|", flush=True)


if __name__ == "__main__":
    main()
