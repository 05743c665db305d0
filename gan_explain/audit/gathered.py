"""What has been measured of some or all patients, before anything is aggregated; shards of it on disk, and their union."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from gan_explain.audit.curves import Curves
from gan_explain.audit.patient import Found
from gan_explain.audit.pictures import load_pictures, picked, save_pictures
from gan_explain.audit.report.page import Picture
from gan_explain.audit.tables import SCHEMA_VERSION, read_document, read_tables, write_document, write_tables
from gan_explain.evaluate.features import Features
from gan_explain.evaluate.table import Row
from gan_explain.files.pseudonyms import Pseudonyms
from gan_explain.files.temporaries import write_bytes
from gan_explain.metrics.measure import Measure
from gan_explain.types import DataError

KIND, SHARD, FEATURES, SECOND = "audit shard", "shard.json", "features.safetensors", "second"
ORDER = "patient"  # column of a gathered table: the patient's place among the sorted ids, whatever name is shown
LAYERS = "layers "  # prefix of kept layers among the features


@dataclass
class Gathered:
    """`about`: what was audited and how (JSON), the same in every shard; `shard`: which of how many; rows in the order of the
    dataset; curves by name and image; features of each patient, by the place of the first image; pictures, the worst first;
    `once`: measures that are not of one patient (the positive control), taken in the first shard; `ids`: whose pseudonyms the
    rows have (`Pseudonyms.mark`), "" for patients' own ids."""

    about: Mapping[str, Any]
    shard: tuple[int, int] = (1, 1)
    rows: list[Row] = field(default_factory=list)
    curves: Curves = field(default_factory=dict)
    features: dict[int, Features] = field(default_factory=dict)
    pictures: list[Picture] = field(default_factory=list)
    once: dict[str, Measure] = field(default_factory=dict)
    second: Gathered | None = None
    ids: str = ""

    @property
    def show(self) -> int:
        return int(self.about["plan"]["show"])

    def add(self, place: int, found: Found) -> None:
        """Take in one patient, whose first image is at `place` in the dataset."""
        self.rows += found.rows
        for name, values in found.curves.items():
            self.curves.setdefault(name, {}).update(values)
        self.features[place] = found.features
        self.pictures += found.pictures
        if len(self.pictures) > 2 * self.show + 64:  # now and then, so that memory stays bounded
            self.pictures = picked(self.pictures, self.show)

    def ordered(self) -> Gathered:
        """The same in the order of the dataset, with the pictures that are to be shown."""
        return replace(
            self,
            rows=sorted(self.rows, key=lambda row: float(row["image"])),
            curves={name: dict(sorted(self.curves[name].items())) for name in sorted(self.curves)},
            features=dict(sorted(self.features.items())),
            pictures=picked(self.pictures, self.show),
            second=self.second.ordered() if self.second else None,
        )

    def named(self, names: Pseudonyms) -> Gathered:
        """The same with patients and images under their public names."""
        second = self.second.named(names) if self.second else None
        return replace(self, rows=names.rows(self.rows), second=second, ids=names.mark)

    def pooled(self) -> Features:
        """The features of all patients, in the order of the dataset."""
        total = Features()
        for each in self.features.values():
            for name, parts in each.sets.items():
                total.sets.setdefault(name, []).extend(parts)
            for name, parts in each.layers.items():
                total.layers.setdefault(name, []).extend(parts)
        return total

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write a shard into a folder; everything comes back to the bit."""
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        write_tables(folder, self.rows, self.curves)
        write_bytes(folder / FEATURES, safetensors.torch.save(_tensors(self.features)))
        save_pictures(self.pictures, folder)
        if self.second is not None:
            self.second.save(folder / SECOND)
        document = {
            "schema_version": SCHEMA_VERSION, "kind": KIND, "shard": list(self.shard), "about": dict(self.about),
            "once": {name: found.as_json() for name, found in self.once.items()},
            "second": self.second is not None, "ids": self.ids,
        }  # fmt: skip
        write_document(folder / SHARD, document)

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> Gathered:
        """Read what `save` wrote. DataError, naming the file, for anything else."""
        folder = Path(directory)
        path = folder / SHARD
        document = read_document(path, KIND)
        try:
            i, n = (int(number) for number in document["shard"])
            about, has_second = dict(document["about"]), bool(document["second"])
            once = {name: Measure.from_json(found) for name, found in document["once"].items()}
            ids = str(document.get("ids", ""))
            path = folder / FEATURES
            features = _features(safetensors.torch.load(path.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise DataError(f"{path}: expected a shard of an audit (schema {SCHEMA_VERSION}), got: {error}") from error
        rows, curves = read_tables(folder)
        second = cls.load(folder / SECOND) if has_second else None
        return cls(about, (i, n), rows, curves, features, load_pictures(folder), once, second, ids)


def union(shards: Sequence[Gathered], names: Sequence[str]) -> Gathered:
    """All shards of one audit as one; `names` say where each came from. DataError for shards of different audits, a missing one
    or one that is there twice."""
    if not shards:
        raise DataError("expected shards of an audit, got none")
    first, count = shards[0], shards[0].shard[1]
    for shard, name in zip(shards, names, strict=True):
        if shard.about != first.about or shard.shard[1] != count or (shard.second is None) != (first.second is None):
            raise DataError(
                f"{name}: expected a shard of the same audit as {names[0]}, got one of another ({_differs(first, shard)})"
            )
        if shard.ids != first.ids:
            raise DataError(
                f"{name}: expected patients under the pseudonyms of {names[0]}, got those of another salt: audit every "
                "shard with one --salt FILE"
            )
    there = sorted(shard.shard[0] for shard in shards)
    if there != list(range(1, count + 1)):
        raise DataError(f"expected each of {count} shards once, got {', '.join(f'{i}/{count}' for i in there)}")
    total = _joined(shards, first.about)
    if first.second is not None:
        seconds = [shard.second for shard in shards if shard.second is not None]
        total.second = _joined(seconds, first.second.about)
    return total


def _joined(shards: Iterable[Gathered], about: Mapping[str, Any]) -> Gathered:
    total = Gathered(about)
    for shard in shards:
        total.ids = shard.ids
        total.rows += shard.rows
        for name, values in shard.curves.items():
            total.curves.setdefault(name, {}).update(values)
        total.features.update(shard.features)
        total.pictures += shard.pictures
        total.once.update(shard.once)
    return total


def _differs(a: Gathered, b: Gathered) -> str:
    if a.shard[1] != b.shard[1]:
        return f"of {a.shard[1]} and of {b.shard[1]}"
    names = [name for name in {**a.about, **b.about} if a.about.get(name) != b.about.get(name)]
    return f"different {', '.join(names)}" if names else "with and without --compare"


def _tensors(features: Mapping[int, Features]) -> dict[str, Tensor]:
    """place/number/name -> tensor, the number keeping the order of names."""
    found: dict[str, Tensor] = {}
    for place, each in features.items():
        named = [(name, parts) for name, parts in each.sets.items()]
        named += [(LAYERS + name, parts) for name, parts in each.layers.items()]
        for name, parts in named:
            for number, part in enumerate(parts):
                found[f"{place}/{number}/{name}"] = part.contiguous().clone()
    return found


def _features(tensors: Mapping[str, Tensor]) -> dict[int, Features]:
    found: dict[int, Features] = {}
    for key in sorted(tensors, key=lambda text: [int(part) for part in text.split("/", 2)[:2]]):
        place, _, name = key.split("/", 2)
        each = found.setdefault(int(place), Features())
        kept = each.layers if name.startswith(LAYERS) else each.sets
        kept.setdefault(name.removeprefix(LAYERS), []).append(tensors[key])
    return found
