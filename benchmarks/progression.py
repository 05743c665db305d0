"""Within-patient agreement over every patient with three dates, cross-fitted: nobody is measured by a target that saw them.

    python benchmarks/progression.py --data DIR --out runs/progression                    # 2 folds, 64 px, from scratch

For each fold a balanced target (lungs only, covid+pneumonia) is trained without the fold's patients, by the command that it
prints; a fold whose checkpoint is there already is not trained again. The generator is one for all folds: what it was trained on
is told by the split of each patient. Prints the table, and writes measures.json, patients.csv and patients.png.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from gan_explain.data import Dataset, open_dataset, write_manifest
from gan_explain.files.checkpoints import find_checkpoint, read_config
from gan_explain.metrics.measure import format_table
from gan_explain.nets.load import load_generator
from gan_explain.nets.segmenter import load_segmenter
from gan_explain.progression import PAIRS, Progression, agreement, as_json, csv_table, dated_patients, facts, measure_all, models
from gan_explain.progression.folds import folds_of, held_out
from gan_explain.progression.pictures import write_patients
from gan_explain.targets import resolve_target
from gan_explain.types import CheckpointError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, default=Path("runs/progression"))
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--target-steps", type=int, default=800)
    parser.add_argument("--generator", default="disease", metavar="NAME")
    parser.add_argument("--seed", type=int, default=0, help="of the folds; fold K trains with seed SEED + K")
    options = parser.parse_args()
    data = open_dataset(options.data, size=options.size)
    fold_of = folds_of(dated_patients(data), options.folds, options.seed)
    split_of = {record.patient_id: record.split for record in data.records}
    generator = load_generator(options.generator)
    found: list[Progression] = []
    for fold in range(options.folds):
        checkpoint = options.out / f"checkpoint{fold}"
        held = Dataset(data.root, held_out(data.records, fold_of, fold), data.memory)
        if not trained(checkpoint):
            train(held, options.out / f"fold{fold}", checkpoint, options, options.seed + fold)
        segmenter = load_segmenter("lungs128")
        target = resolve_target(f"checkpoint:{checkpoint}", segmenter=segmenter)
        parts = models(generator, target, segmenter)
        mine = held.where(lambda record, fold=fold: fold_of.get(record.patient_id) == fold)  # type: ignore[misc]
        found += [replace(each.without_pictures(), split=split_of[each.patient]) for each in measure_all(parts, mine)]
    measures = agreement(found)
    print(format_table(measures))
    print(f"{len(found)} patients, {sum(len(each.visits) for each in found)} radiographs, {options.folds} folds")
    write_patients(found, options.out / "patients.png")
    (options.out / "patients.csv").write_text(csv_table(found))
    saved = facts() | {"measures": measures, "patients": [as_json(each, PAIRS) for each in found]}
    (options.out / "measures.json").write_text(json.dumps(saved, indent=2, default=lambda measure: measure.as_json()))


def trained(checkpoint: Path) -> bool:
    """Whether a fold's target is there."""
    try:
        return "target" in read_config(find_checkpoint(str(checkpoint)))["parts"]
    except CheckpointError:
        return False


def train(held: Dataset, folder: Path, checkpoint: Path, options: argparse.Namespace, seed: int) -> None:
    """Write the fold's manifest beside links to the images, and train on it by the command line."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in {Path(path).parts[0] for record in held.records for path in (record.path, record.mask) if path}:
        link = folder / name
        if not link.exists():
            link.symlink_to((held.root / name).resolve())
    write_manifest(held.records, folder / "manifest.csv")
    balanced = ["--lungs-only", "--positive", "covid+pneumonia", "--steps", str(options.target_steps)]
    shared = ["--data", str(folder), "--resolution", str(options.size), "--seed", str(seed), "--out", str(checkpoint)]
    command("train", "target", *balanced, *shared, "--overwrite")


def command(*args: str) -> None:
    print("gan-explain", *args, file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "gan_explain", *args], check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main()
