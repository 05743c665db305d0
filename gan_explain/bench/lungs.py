"""Does Grad-CAM lie in the lungs, and does p follow what lies outside of them?

A map may look right and hide a shortcut: a map cropped to the lungs always lies in them. So two measures stand side by side, with
patient-bootstrap intervals of 95 %:

    heat        share of the map that lies in the lungs; .excess: above the lungs' share of the image, which even heat has
    transplant  by how much p of a negative rises when what lies outside its lungs, or in them, is a positive's, beyond what
                another negative's does (the audit's excess); where the outside is not 0, there is a shortcut
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from gan_explain.attribution import GradCam
from gan_explain.audit.control import excesses
from gan_explain.bench.given import Given, Outcome
from gan_explain.data import Dataset
from gan_explain.evaluate.inputs import is_positive, read_batches
from gan_explain.metrics.inputs import ask
from gan_explain.metrics.measure import Measure, format_table
from gan_explain.metrics.pointing import relevance_mass
from gan_explain.metrics.registry import Key
from gan_explain.render.heat import HeatMap
from gan_explain.render.maps import MapRow, write_maps
from gan_explain.targets import masks_for
from gan_explain.types import Segmenter, Target

PLACES = ("outside", "lungs")


@dataclass(frozen=True)
class Options:
    """`also`: targets beside the one that was named; `negatives`: that the transplants are laid on, 0: no transplants; `rows`: of
    the sheet, images of different patients."""

    also: tuple[str, ...] = ()
    negatives: Annotated[int, Field(ge=0)] = 64
    resolution: Annotated[int, Field(ge=32, le=1024)] = 128
    rows: Annotated[int, Field(ge=0)] = 6


@dataclass(frozen=True)
class Row:
    """The map of one image; NaN for one without any heat."""

    target: str
    path: str
    patient_id: str
    source: str
    positive: bool
    p: float
    heat: float
    area: float


def bench(given: Given, options: Options) -> Outcome:
    """Every target on the images of a split, positives and negatives apart."""
    segmenter, targets = given.load_segmenter(), given.load_targets((given.target, *options.also))
    split = given.dataset(options.resolution).split(given.split or "test")
    if given.dry_run:
        return Outcome({"images": len(split)})
    rows: list[Row] = []
    pictures: dict[str, MapRow] = {}
    wanted = _spread(split, options.rows)
    found: dict[str, dict[str, Measure]] = {}
    for spec, target in targets.items():
        mine = _mapped(spec, target, split, segmenter, given, wanted, pictures)
        rows += mine
        found[spec] = _measures(mine, given.seed)
        if options.negatives:
            keys = [Key("transplant", place) for place in PLACES]
            moved = excesses(target, split, segmenter, keys, limit=options.negatives)
            found[spec] |= {str(key): measure for key, measure in moved.items()}
    text = format_table({f"{spec}: {name}": each for spec, of in found.items() for name, each in of.items()})

    def sheet(path: Path) -> None:
        write_maps([pictures[name] for name in wanted], path, side=224)

    given.names(split.records)
    drawn = {"sheet.png": sheet} if wanted else {}
    return Outcome({"images": len(split), "measures": found}, text, [asdict(row) for row in rows], drawn)


def _mapped(
    spec: str, target: Target, split: Dataset, segmenter: Segmenter, given: Given, wanted: list[str], pictures: dict[str, MapRow]
) -> list[Row]:
    """One row an image; the maps of those wanted are added to their pictures."""
    method, rows = GradCam(), list[Row]()
    for batch in read_batches(split, segmenter, given.device, 16):
        heat = method.attribute(batch.images, target, masks_for(target, batch.lungs))
        inside, p = relevance_mass(heat, batch.lungs), ask(target, batch.images, batch.lungs)
        for i, record in enumerate(batch.records):
            area = float(batch.lungs[i].mean())
            positive = is_positive(record, target)
            rows.append(Row(spec, record.path, record.patient_id, record.source, positive, float(p[i]), float(inside[i]), area))
            if record.path in wanted:
                earlier = pictures.get(record.path, MapRow(batch.images[i].cpu(), batch.lungs[i].cpu(), {}, record.label))
                maps = {**earlier.maps, Path(spec).name: HeatMap("", heat[i].cpu())}
                pictures[record.path] = replace(earlier, maps=maps, note=f"{earlier.note}   p {float(p[i]):.2f}")
    return rows


def _measures(rows: list[Row], seed: int) -> dict[str, Measure]:
    found: dict[str, Measure] = {}
    for side in ("positives", "negatives"):
        mine = [row for row in rows if row.positive == (side == "positives")]
        if mine:
            heat, area = np.array([[row.heat, row.area] for row in mine]).T
            patients, sources = [row.patient_id for row in mine], [row.source for row in mine]
            found[f"heat.{side}"] = Measure.over(heat, patients, sources, seed=seed)
            found[f"heat.{side}.excess"] = Measure.over(heat - area, patients, sources, seed=seed)
    return found


def _spread(split: Dataset, count: int) -> list[str]:
    """The first images of `count` patients, evenly among them."""
    first = {record.patient_id: record.path for record in reversed(split.records)}
    paths = list(dict.fromkeys(first[record.patient_id] for record in split.records))
    return [paths[round(i)] for i in np.linspace(0, len(paths) - 1, min(count, len(paths)))]
