"""A shard: what has been measured of some or all patients, before anything is concluded; on disk, and the union of shards."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from gan_explain.audit.document import SCHEMA_VERSION, read_json, read_tables, write_json, write_tables
from gan_explain.audit.pictures import load_pictures, save_pictures
from gan_explain.evaluate.features import Features
from gan_explain.evaluate.gathered import Gathered
from gan_explain.files.pseudonyms import Pseudonyms
from gan_explain.files.temporaries import write_bytes
from gan_explain.metrics.measure import Measure
from gan_explain.types import DataError

KIND, SHARD, FEATURES, SECOND = "audit shard", "shard.json", "features.safetensors", "second"
LAYERS = "layers "  # prefix of kept layers among the features


@dataclass(frozen=True)
class Shard:
    """`about`: what was audited and how (JSON), the same in every shard; number: which of how many; once: measures that are not
    of one patient (the positive control), taken in the first shard; second: the same of a target beside; ids: whose pseudonyms
    the samples have (`Pseudonyms.mark`), "" for patients' own ids."""

    about: Mapping[str, Any]
    gathered: Gathered
    number: tuple[int, int] = (1, 1)
    once: Mapping[str, Measure] = field(default_factory=dict)
    second: Shard | None = None
    ids: str = ""

    def named(self, names: Pseudonyms) -> Shard:
        """The same with patients and images under their public names."""
        samples = [sample.named(names) for sample in self.gathered.samples]
        second = self.second.named(names) if self.second else None
        return replace(self, gathered=replace(self.gathered, samples=samples), second=second, ids=names.mark)

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write it into a folder; everything comes back to the bit."""
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        write_tables(folder, self.gathered.samples, self.gathered.curves, ranks=True)
        write_bytes(folder / FEATURES, safetensors.torch.save(_tensors(self.gathered.features)))
        save_pictures(self.gathered.pictures, folder)
        if self.second is not None:
            self.second.save(folder / SECOND)
        document = {
            "schema_version": SCHEMA_VERSION, "kind": KIND, "shard": list(self.number), "about": dict(self.about),
            "once": {name: found.as_json() for name, found in self.once.items()},
            "second": self.second is not None, "ids": self.ids,
        }  # fmt: skip
        write_json(folder / SHARD, document)

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> Shard:
        """Read what `save` wrote. DataError, naming the file, for anything else."""
        folder = Path(directory)
        path = folder / SHARD
        document = read_json(path, KIND)
        try:
            i, n = (int(number) for number in document["shard"])
            about, ids, has_second = dict(document["about"]), str(document["ids"]), bool(document["second"])
            once = {name: Measure.from_json(found) for name, found in document["once"].items()}
            show = int(about["plan"]["show"])
            path = folder / FEATURES
            features = _features(safetensors.torch.load(path.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
            raise DataError(f"{path}: expected a shard of an audit (schema {SCHEMA_VERSION}), got: {error}") from error
        samples, curves = read_tables(folder)
        gathered = Gathered(samples, curves, features, pictures=load_pictures(folder), show=show)
        second = cls.load(folder / SECOND) if has_second else None
        return cls(about, gathered, (i, n), once, second, ids)


def union(shards: Sequence[Shard], names: Sequence[str]) -> Shard:
    """All shards of one audit as one; `names` say where each came from. DataError for shards of different audits, a missing one
    or one that is there twice."""
    if not shards:
        raise DataError("expected shards of an audit, got none")
    first, count = shards[0], shards[0].number[1]
    for shard, name in zip(shards, names, strict=True):
        if shard.about != first.about or shard.number[1] != count or (shard.second is None) != (first.second is None):
            raise DataError(
                f"{name}: expected a shard of the same audit as {names[0]}, got one of another ({_differs(first, shard)})"
            )
        if shard.ids != first.ids:
            raise DataError(
                f"{name}: expected patients under the pseudonyms of {names[0]}, got those of another salt: audit every "
                "shard with one --salt FILE"
            )
    there = sorted(shard.number[0] for shard in shards)
    if there != list(range(1, count + 1)):
        raise DataError(f"expected each of {count} shards once, got {', '.join(f'{i}/{count}' for i in there)}")
    seconds = [shard.second for shard in shards if shard.second is not None]
    return replace(_joined(shards), second=_joined(seconds) if seconds else None)


def _joined(shards: Sequence[Shard]) -> Shard:
    gathered = Gathered(show=shards[0].gathered.show)
    for shard in shards:
        gathered.add(shard.gathered)
    once = {name: found for shard in shards for name, found in shard.once.items()}
    return Shard(shards[0].about, gathered.ordered(), (1, 1), once, None, shards[0].ids)


def _differs(a: Shard, b: Shard) -> str:
    if a.number[1] != b.number[1]:
        return f"of {a.number[1]} and of {b.number[1]}"
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
