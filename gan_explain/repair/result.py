"""What a repair gives: the mended CNN, the audit before and after, and what was made, gained and lost; as a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch

from gan_explain.audit import AuditResult
from gan_explain.files.checkpoints import save_part
from gan_explain.files.pseudonyms import Pseudonyms
from gan_explain.files.temporaries import write_bytes
from gan_explain.nets.classifier import ARCHITECTURES
from gan_explain.repair.measure import Change, table
from gan_explain.repair.options import Arm
from gan_explain.targets import ModuleTarget
from gan_explain.types import Brief

SCHEMA_VERSION, KIND = 1, "repair"
DOCUMENT, TABLE, BEFORE, AFTER = "repair.json", "repair.md", "before", "after"
NETWORK = "network.safetensors"  # of an architecture that is not ours


@dataclass(frozen=True)
class Trained:
    """One training: what it changed on the test split, and against plain training with the same seed where that ran;
    `left_out`: by source that took no part."""

    arm: Arm
    seed: int
    changes: Mapping[str, Change]
    against_plain: Mapping[str, Change] | None = None
    left_out: Mapping[str, Mapping[str, Change]] | None = None

    def as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"arm": self.arm, "seed": self.seed, "measures": _json(self.changes)}
        if self.against_plain is not None:
            found["against_plain"] = _json(self.against_plain)
        if self.left_out is not None:
            found["left_out"] = {source: _json(each) for source, each in self.left_out.items()}
        return found


@dataclass(frozen=True, repr=False)
class RepairResult(Brief):
    """target: the mended CNN, of the first training; before, after: its audits; facts: what was made and how (JSON); trainings:
    every arm and seed."""

    target: ModuleTarget
    before: AuditResult
    after: AuditResult
    facts: Mapping[str, Any]
    trainings: Sequence[Trained]

    @property
    def changes(self) -> Mapping[str, Change]:
        """What the first training changed."""
        return self.trainings[0].changes

    def named(self, names: Pseudonyms) -> RepairResult:
        """The same with patients and images under their public names."""
        before, after = (
            replace(each, samples=[sample.named(names) for sample in each.samples]) for each in (self.before, self.after)
        )
        return replace(self, before=before, after=after)

    def as_json(self) -> dict[str, Any]:
        """What repair.json holds."""
        trainings = [each.as_json() for each in self.trainings]
        return {
            "schema_version": SCHEMA_VERSION, "kind": KIND, **self.facts, "measures": _json(self.changes), "trainings": trainings,
        }  # fmt: skip

    def table(self) -> str:
        """What repair.md holds."""
        first = self.trainings[0]
        lines = [f"# Repair: {first.arm}, {self.facts['depth']}, seed {first.seed}", "", table(first.changes), ""]
        lines += [f"{kind}: {sum(by.values())} images made" for kind, by in self.facts["made"].items()]
        lines += [f"not healed, {reason}: {count}" for reason, count in self.facts["refused"].items()]
        lines += list(self.facts["remarks"])
        for each in self.trainings:
            title = f"{each.arm}, seed {each.seed}"
            if each is not first:
                lines += ["", f"## {title}", "", table(each.changes)]
            if each.against_plain is not None:
                lines += ["", f"## {title}, after plain training (before) and after it (after)", "", table(each.against_plain)]
            for source, found in (each.left_out or {}).items():
                lines += ["", f"## {title} on {source}, which took no part; before is plain training", "", table(found)]
        return "\n".join(lines) + "\n"

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write the checkpoint (part `target`), before/, after/, repair.json and repair.md into a folder. A network of another
        architecture than ours goes into network.safetensors, under the names of its own state_dict."""
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        config, state = self.target.config, self.target.network.state_dict()
        if config.arch in ARCHITECTURES:
            origin = {key: self.facts[key] for key in ("target", "arms", "depth", "seed", "made")}
            save_part(folder, "target", "target", config.model_dump(mode="json"), state, origin=origin)
        else:
            tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
            about = {"target": config.model_dump_json()}
            write_bytes(folder / NETWORK, safetensors.torch.save(tensors, about))
        self.before.save(folder / BEFORE)
        self.after.save(folder / AFTER)
        write_bytes(folder / TABLE, self.table().encode())
        write_bytes(folder / DOCUMENT, (json.dumps(self.as_json(), indent=2, allow_nan=False) + "\n").encode())


def _json(found: Mapping[str, Change]) -> dict[str, Any]:
    return {name: change.as_json() for name, change in found.items()}
