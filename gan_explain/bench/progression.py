"""Do measures agree over a patient's days? Every patient with three dates, each measured under a CNN that never saw them.

For each fold a balanced target (lungs only, covid+pneumonia) is trained without the fold's patients. The generator is one for all
folds: what it was trained on is told by the split of each patient.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from gan_explain.bench.given import Given, Outcome
from gan_explain.data import Dataset
from gan_explain.metrics.measure import format_table
from gan_explain.progression import PAIRS, Progression, agreement, as_json, dated_patients, facts, measure_all, models
from gan_explain.progression.folds import folds_of, held_out
from gan_explain.progression.pictures import write_patients
from gan_explain.targets import resolve_target
from gan_explain.train.options import TargetOptions
from gan_explain.train.supervised import SupervisedTraining
from gan_explain.train.target import train_target
from gan_explain.train.training import quiet


@dataclass(frozen=True)
class Options:
    """`steps` of a fold's target; fold K trains with seed --seed + K."""

    folds: Annotated[int, Field(ge=2)] = 2
    resolution: Annotated[int, Field(ge=32)] = 64
    steps: Annotated[int, Field(ge=1)] = 800


def bench(given: Given, options: Options) -> Outcome:
    """Train a fold's target, measure its patients, go on; agreement over all. A finished fold is not trained again."""
    data = given.dataset(options.resolution)
    fold_of = folds_of(dated_patients(data), options.folds, given.seed)
    split_of = {record.patient_id: record.split for record in data.records}
    generator, segmenter = given.load_generator(), given.load_segmenter()
    if given.dry_run:
        return Outcome({"patients": len(fold_of)})
    folder, found = given.results().parent, list[Progression]()
    for fold in range(options.folds):
        held = Dataset(data.root, held_out(data.records, fold_of, fold), data.memory)
        checkpoint = folder / f"fold{fold}"
        if not (checkpoint / "config.json").is_file():
            training = SupervisedTraining(steps=options.steps, seed=given.seed + fold, device=str(given.device))
            asked = TargetOptions(
                size=options.resolution, lungs_only=True, segmenter_name=given.segmenter, positive=("covid", "pneumonia")
            )
            train_target(held, segmenter, checkpoint, asked, quiet(training))
        parts = models(generator, resolve_target(f"checkpoint:{checkpoint}", segmenter=segmenter), segmenter)
        mine = held.where(lambda record, fold=fold: fold_of.get(record.patient_id) == fold)  # type: ignore[misc]
        found += [replace(each.without_pictures(), split=split_of[each.patient]) for each in measure_all(parts, mine)]
    names = given.names(data.records)
    shown = [each.named(names) for each in found]
    measures = agreement(shown)
    document = facts() | {"measures": measures, "patients": [as_json(each, PAIRS) for each in shown]}
    count = sum(len(each.visits) for each in shown)
    text = f"{format_table(measures)}\n{len(shown)} patients, {count} radiographs, {options.folds} folds"

    def patients(path: Path) -> None:
        write_patients(shown, path)

    return Outcome(document, text, pictures={"patients.png": patients})
