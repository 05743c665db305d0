"""Do maps point at what radiologists boxed? The reader's layer and targets' maps, on the same radiographs, by the same measures.

A box is coarse: it holds healthy lung, heart and rib too. It serves to measure with and nothing is trained or chosen by it. Each
map counts as far as it lies in the lungs, times their soft border (`lungs.support`):

    share      of the map that falls in the box; no value for a map without any heat there
    pointing   whether the hottest pixel lies in the box, or within three pixels of it
    auroc      of the pixels inside the lungs: does the map put those in the box above the others?

Boxes lie in bright places and in the middle of the lungs, so a map that finds nothing may point at them. Beside the maps stand
REFERENCES, which no method made: the lungs evenly (the value that chance has, worked out), how deep in them a pixel lies, and the
radiograph's own brightness.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from scipy import ndimage
from torch import Tensor

from gan_explain.attribution import METHODS, Method, MethodOptions
from gan_explain.bench.given import Given, Outcome
from gan_explain.counterfactual import Radiograph, read_radiograph
from gan_explain.data.manifest import read_manifest, read_table
from gan_explain.lungs import support
from gan_explain.metrics.measure import Measure, format_table
from gan_explain.metrics.pointing import pointing_game, relevance_mass
from gan_explain.nets.cxrnet import CxrNet
from gan_explain.nets.multi_unet import MultiUNet
from gan_explain.stats import auroc
from gan_explain.targets import device_of
from gan_explain.types import DataError, Record, Segmenter, Target

COLUMNS = ("path", "x", "y", "width", "height")
MEASURES = ("share", "pointing", "auroc")
REFERENCES = ("even", "depth", "brightness")
READER = "reader"
OWN = {CxrNet: "cxrnet", MultiUNet: "lung_cam"}  # maps of networks that bring their own
Box = tuple[float, float, float, float]  # x, y, width, height in pixels of the stored image


@dataclass(frozen=True)
class Boxed:
    """An image and the boxes drawn on it."""

    record: Record
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Row:
    """One map of one radiograph, measured; NaN where a measure has no value."""

    map: str
    path: str
    patient_id: str
    split: str
    share: float
    pointing: float
    auroc: float


@dataclass(frozen=True)
class Options:
    """`boxes`: a table path,x,y,width,height in pixels of the stored image, by default boxes.csv of the folder; `also`: targets
    beside --target whose Grad-CAM is measured, and the map that they draw themselves, where they do. Without --split all splits
    count: boxes train nothing."""

    boxes: Path | None = None
    also: Annotated[tuple[str, ...], Field(title="SPEC")] = ()


def read_boxes(path: Path, records: Iterable[Record]) -> list[Boxed]:
    """The boxes of a table (path, x, y, width, height) by image, in the order of the table.

    DataError names the row: an image that is not among the records, a size that is no number or not above 0.
    """
    known, found = {record.path: record for record in records}, dict[str, list[Box]]()
    for line, row in enumerate(read_table(path, COLUMNS), start=1):
        where = f"{path}: box {line}"
        if row["path"] not in known:
            raise DataError(f"{where}: expected an image of the manifest, got {row['path']!r}")
        try:
            x, y, width, height = (float(row[name]) for name in COLUMNS[1:])
        except ValueError:
            x = y = width = height = math.nan
        if not (math.isfinite(x + y) and 0 < width < math.inf and 0 < height < math.inf):
            raise DataError(f"{where}: expected x, y, width and height as numbers, the last two above 0")
        found.setdefault(row["path"], []).append((x, y, width, height))
    return [Boxed(known[name], tuple(boxes)) for name, boxes in found.items()]


def box_mask(boxes: Sequence[Box], radiograph: Radiograph) -> Tensor:
    """(1, 1, H, W) in {0, 1} over a radiograph at its own size: pixels whose centre lies in a box of the stored image.

    ValueError for a radiograph at another size."""
    (top, bottom), (left, right) = radiograph.fit["rows"], radiograph.fit["columns"]
    if radiograph.image.shape[-2:] != (bottom - top, right - left):
        raise ValueError(f"expected a radiograph at its own size, got {radiograph.fit['kept']}")
    rows, columns = torch.arange(top, bottom)[:, None] + 0.5, torch.arange(left, right)[None] + 0.5
    inside = torch.zeros(bottom - top, right - left, dtype=torch.bool)
    for x, y, width, height in boxes:
        inside |= (rows >= y) & (rows < y + height) & (columns >= x) & (columns < x + width)
    return inside[None, None].float()


def measured(
    root: Path, boxed: Iterable[Boxed], maps: Mapping[str, tuple[Method, Target]], segmenter: Segmenter
) -> Iterator[Row]:
    """A row for every radiograph and map, as they come, REFERENCES last.

    `maps`: a method and the target that it is asked of, by name.

    DataError for a box that lies outside of its image; TargetError for a target that a method cannot look into.
    """
    for each in boxed:
        record = each.record
        radiograph = read_radiograph(root / record.path, segmenter=segmenter)
        box = box_mask(each.boxes, radiograph)
        if not bool(box.any()):
            raise DataError(f"{root / record.path}: expected a box on the image, got {each.boxes}")
        lungs = radiograph.lungs
        found = {name: _heat(method, radiograph, target) for name, (method, target) in maps.items()}
        values = {name: _measures(heat, lungs, box) for name, heat in (found | _references(radiograph)).items()}
        values["even"] = float(relevance_mass(support(lungs), box)), float(relevance_mass(lungs, box)), 0.5
        for name in (*maps, *REFERENCES):
            yield Row(name, record.path, record.patient_id, record.split, *values[name])


def _references(radiograph: Radiograph) -> dict[str, Tensor]:
    """Distance from the border of the lungs, and the image."""
    inside = radiograph.lungs[0, 0].cpu().numpy() > 0.5
    depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    return {"depth": torch.from_numpy(depth).float()[None, None], "brightness": radiograph.image}


def _heat(method: Method, radiograph: Radiograph, target: Target) -> Tensor:
    """The positive part of a map (1, 1, H, W), on the CPU."""
    there = radiograph.to(device_of(target))
    return method.attribute(there.image, target, there.lungs).clamp(min=0).cpu()


def _measures(heat: Tensor, lungs: Tensor, box: Tensor) -> tuple[float, float, float]:
    """share, pointing and auroc of one map >= 0, all (1, 1, H, W)."""
    inside = heat * support(lungs)
    among = lungs.flatten() > 0.5
    ranked = auroc(heat.flatten()[among].numpy(), box.flatten()[among].numpy() > 0.5)
    return float(relevance_mass(inside, box)), float(pointing_game(inside, box)), ranked


def measures(rows: Sequence[Row], *, n_boot: int = 1000, seed: int = 0) -> dict[str, dict[str, Measure]]:
    """Every measure of every map: mean, patient-bootstrap interval of 95 %, N; whole and by split."""
    return {name: _aggregated(found, _values(found), n_boot, seed) for name, found in by_map(rows).items()}


def differences(rows: Sequence[Row], first: str, *, n_boot: int = 1000, seed: int = 0) -> dict[str, dict[str, Measure]]:
    """`first` minus each other map, radiograph by radiograph, as `measures` has them: above 0 the first points better."""
    by = by_map(rows)
    mine = _values(by[first])
    others = {name: found for name, found in by.items() if name != first}
    return {
        f"{first} - {name}": _aggregated(found, {m: mine[m] - theirs for m, theirs in _values(found).items()}, n_boot, seed)
        for name, found in others.items()
    }


def by_map(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows by the name of their map, in the order in which they came."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.map, []).append(row)
    return found


def _values(rows: Sequence[Row]) -> dict[str, np.ndarray]:
    return {name: np.array([getattr(row, name) for row in rows], dtype=np.float64) for name in MEASURES}


def _aggregated(rows: Sequence[Row], values: Mapping[str, np.ndarray], n_boot: int, seed: int) -> dict[str, Measure]:
    patients, splits = [row.patient_id for row in rows], [row.split for row in rows]
    return {name: Measure.over(each, patients, splits, n_boot=n_boot, seed=seed) for name, each in values.items()}


def bench(given: Given, options: Options) -> Outcome:
    """The reader's layer and each target's maps against the boxes, on whole radiographs."""
    root = Path(given.data)
    manifest, listed = root / "manifest.csv", options.boxes or root / "boxes.csv"
    for path in (manifest, listed):
        if not path.is_file():
            raise DataError(f"{path}: expected a CSV file, got none")
    records = read_manifest(manifest)
    chosen = [each for each in read_boxes(listed, records) if given.split in (None, each.record.split)]
    if not chosen:
        raise DataError(f"{listed}: expected a box in the splits {given.split or 'train, val, test'}, got none")
    lungs, targets = given.load_segmenter(), given.load_targets((given.target, *options.also))
    method = MethodOptions(generator=given.load_generator(), segmenter=lungs)
    maps = {READER: (METHODS[READER].of(method), next(iter(targets.values())))}
    for spec, target in targets.items():
        for name in ("grad_cam", *(name for kind, name in OWN.items() if isinstance(getattr(target, "network", None), kind))):
            maps[f"{name} ({spec})"] = METHODS[name].of(method), target
    if given.dry_run:
        return Outcome({"images": len(chosen), "maps": list(maps)})
    rows = list(given.progress(measured(root, chosen, maps, lungs), len(chosen) * (len(maps) + len(REFERENCES)), "map"))
    given.names(records)
    found, ahead = measures(rows, seed=given.seed), differences(rows, READER, seed=given.seed)
    table = {f"{name}: {measure}": each for name, of in (found | ahead).items() for measure, each in of.items()}
    document = {"images": len(chosen), "measures": found, "differences": ahead}
    return Outcome(document, format_table(table), [asdict(row) for row in rows])
