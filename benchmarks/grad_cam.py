"""Where Grad-CAM puts its heat on held-out positives: how much of it lies in the lungs, for several CNNs side by side.

    python benchmarks/grad_cam.py --data DIR checkpoint:cxr128 checkpoint:cxr128-naive --out out/grad_cam

Prints a Markdown table with patient-bootstrap intervals (95 %) and draws radiographs of different patients, a row each, with a
column for each CNN, into sheet.png. Heat spread evenly over the image has as much in the lungs as they take of the image: an
excess of 0. Only images with any heat count.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gan_explain.attribution import GradCam
from gan_explain.data import belongs, open_dataset
from gan_explain.evaluate.inputs import ask, read_batches
from gan_explain.metrics.pointing import relevance_mass
from gan_explain.nets.segmenter import load_segmenter
from gan_explain.render.draw import MUTED, TEXT, canvas, enlarge, font, write_png
from gan_explain.render.heat import HeatMap, fit, lay
from gan_explain.stats import Interval, patient_bootstrap
from gan_explain.targets import masks_for, resolve_target

SIDE, GAP = 200, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="+", metavar="SPEC")
    parser.add_argument("--data", required=True, metavar="DIR")
    parser.add_argument("--label", default="covid", help="images with this label")
    parser.add_argument("--split", default="test", choices=["train", "val", "test"])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rows", type=int, default=4, help="radiographs in the sheet")
    parser.add_argument("--out", type=Path, default=Path("out/grad_cam"))
    options = parser.parse_args()
    segmenter = load_segmenter("lungs128")
    data = open_dataset(options.data, size=options.size).split(options.split)
    data = data.where(lambda record: belongs(record.label, [options.label]))
    shown = first_of_patients([record.patient_id for record in data.records], options.rows)
    print("| CNN | map | heat in the lungs [95 %] | excess over the lungs' share of the image [95 %] | no heat | N (patients) |")
    print("|---|---|---|---|---|---|")
    columns = []
    for spec in options.targets:
        target = resolve_target(spec, segmenter=segmenter)
        method, shares, areas, patients, maps, cells = GradCam(), [], [], [], [], ""
        for batch in read_batches(data, segmenter, torch.device("cpu"), 16):
            heat = method.attribute(batch.images, target, masks_for(target, batch.lungs))
            cells = cells or method.note(batch.images, target, masks_for(target, batch.lungs)).partition(", ")[2]
            shares += relevance_mass(heat, batch.lungs).tolist()
            areas += batch.lungs.flatten(1).mean(1).tolist()
            patients += batch.patients
            maps += list(zip(batch.images, heat, batch.lungs, ask(target, batch.images, batch.lungs), strict=True))
        share, area = np.array(shares), np.array(areas)
        empty = int(np.isnan(share).sum())
        cell = [number(patient_bootstrap(values, patients)) for values in (share, share - area)]
        print(f"| {spec} | {cells} | {cell[0]} | {cell[1]} | {empty} | {len(share)} ({len(set(patients))}) |", flush=True)
        columns.append((spec, [maps[i] for i in shown]))
    options.out.mkdir(parents=True, exist_ok=True)
    draw_sheet(columns, options.out / "sheet.png")


def first_of_patients(patients: list[str], count: int) -> list[int]:
    """Places of the first images of `count` patients, evenly among them."""
    first = [patients.index(name) for name in dict.fromkeys(patients)]
    return [first[round(i)] for i in np.linspace(0, len(first) - 1, min(count, len(first)))]


def number(found: Interval) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def draw_sheet(columns: list[tuple[str, list[tuple[torch.Tensor, ...]]]], path: Path) -> None:
    rows, step = len(columns[0][1]), SIDE + 26
    picture, draw = canvas((1 + len(columns)) * (SIDE + GAP) + GAP, 36 + rows * step)
    for column, (spec, maps) in enumerate(columns, 1):
        left = GAP + column * (SIDE + GAP)
        draw.text((left, 10), fit(Path(spec).name, SIDE, 13), TEXT, font(13, bold=True))
        for row, (image, heat, lungs, p) in enumerate(maps):
            gray, top = enlarge(image, SIDE), 32 + row * step
            picture.paste(Image.fromarray(gray), (GAP, top))
            picture.paste(lay(gray, HeatMap("", heat), lungs), (left, top))
            inside = float(relevance_mass(heat[None], lungs[None]))
            text = "no heat" if inside != inside else f"p {float(p):.2f}   {inside:.0%} in the lungs"
            draw.text((left, top + SIDE + 4), text, MUTED, font(12))
    write_png(picture, path)


if __name__ == "__main__":
    main()
