"""`gan-explain progression`: a patient's radiographs over days, measured and charted; or all patients, and how measures agree."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from gan_explain.cli import common
from gan_explain.cli.datasets import open_included
from gan_explain.cli.folder import write_json
from gan_explain.cli.models import load_models
from gan_explain.cli.names import Salt
from gan_explain.cli.options import ARGUMENT
from gan_explain.cli.words import Include, Layer, ModelOptions

if TYPE_CHECKING:
    from pathlib import Path

    from gan_explain.data import Dataset
    from gan_explain.files.pseudonyms import Pseudonyms
    from gan_explain.progression import Models, Progression


SPLITS = ("train", "val", "test")
SIDE, FIGURES = 200, 12  # of a radiograph in a figure, in pixels; patients that get a figure of their own


@dataclass(frozen=True, kw_only=True)
class ProgressionOptions:
    """Which patients, and how they are drawn."""

    TITLE: ClassVar = "Patients"
    data: Annotated[str, Field(description="Folder or manifest CSV."), ARGUMENT]
    patient: Annotated[
        str | None,
        Field(title="ID", description="The patient to chart, by pseudonym too. [default: all with three days or more]"),
    ] = None
    splits: Annotated[tuple[str, ...], Field(title="A,B", description="Splits to take patients from. [default: test]")] = ()
    include: Include = ()
    layer: Layer = ""

    def __post_init__(self) -> None:
        if self.splits and self.patient:
            raise ValueError("--splits is of all patients, not of one")
        if set(self.splits) - set(SPLITS):
            raise ValueError(f"--splits {','.join(self.splits)}: expected some of {', '.join(SPLITS)}")


@common.command("progression", out="out/progression")
def progression(run: common.Run, options: ProgressionOptions, models: ModelOptions) -> dict[str, Any]:
    """Follow patients of DATA, a folder or manifest with the column offset_days: opacity that is read, p beside it, Grad-CAM.

    Opacity load (mean thickness over the lungs) and area are the generator's, which the target did not teach. With --patient
    writes progression.png, .csv and .json of one patient; without, of all, and measures.json: Spearman's correlations within
    patients, pooled, with intervals over patients. A model knows the patients that it was trained on: their split is told in
    every file, and of all patients the test split is taken unless another is named.
    """
    from gan_explain import progression as package

    salt = Salt(run)
    loaded = load_models(run, models)
    parts = package.models(loaded.generator, loaded.target, loaded.segmenter, options.layer)
    dataset = open_included(run, options.data, loaded.generator.resolution, options.include)
    if options.patient:
        return _one(run, parts, dataset, salt, options)
    wanted = options.splits or ("test",)
    run.record(splits=wanted)
    chosen = dataset.where(lambda record: record.split in wanted)
    return _all(run, parts, chosen, salt.names(dataset.records), salt, options)


def _one(run: common.Run, parts: Models, dataset: Dataset, salt: Salt, options: ProgressionOptions) -> dict[str, Any]:
    from gan_explain.progression import PAIRS, as_json, csv_table, facts, measure_patient
    from gan_explain.progression.patients import of_patient
    from gan_explain.progression.pictures import write_patient

    names = salt.names(dataset.records)
    patient = names.real(options.patient or "")
    if run.dry_run:
        count = len(of_patient(dataset, patient))
        run.say(f"{count} radiographs of the patient")
        return {"radiographs": count}
    found = measure_patient(parts, dataset, patient).named(names)
    answer = facts() | {"kind": "progression"} | as_json(found, PAIRS)
    with run.staging() as folder:
        write_patient(found, folder / "progression.png", side=SIDE)
        _write_text(folder / "progression.csv", csv_table([found]))
        write_json(folder / "progression.json", common.jsonable(answer))
        salt.keep(folder)
    for line in _lines(found):
        run.say(line)
    run.say(f"written to {run.out}")
    return {"out": run.out, **answer}


def _all(
    run: common.Run, parts: Models, dataset: Dataset, names: Pseudonyms, salt: Salt, options: ProgressionOptions
) -> dict[str, Any]:
    from tqdm import tqdm

    from gan_explain.metrics.measure import format_table
    from gan_explain.progression import PAIRS, agreement, as_json, csv_table, dated_patients, facts, measure_all
    from gan_explain.progression.pictures import write_patient, write_patients
    from gan_explain.types import DataError

    if not len(dataset):
        raise DataError(f"{dataset.root}: no image in the splits that were asked for")
    count = len(dated_patients(dataset))
    if run.dry_run:
        run.say(f"{count} patients with three days or more")
        return {"patients": count}
    kept: list[Progression] = []
    with run.staging() as folder:
        for measured in tqdm(measure_all(parts, dataset), total=count, unit="patient", file=sys.stderr, disable=None):
            each = measured.named(names)
            if len(kept) < FIGURES:
                write_patient(each, folder / f"patient_{len(kept):03d}.png", side=SIDE)
            kept.append(each.without_pictures())
        measures = agreement(kept, run.seed)
        write_patients(kept, folder / "patients.png")
        _write_text(folder / "patients.csv", csv_table(kept))
        patients = [as_json(each, PAIRS) for each in kept]
        shown = facts() | {"kind": "progressions", "measures": measures, "patients": patients}
        write_json(folder / "measures.json", common.jsonable(shown))
        salt.keep(folder)
    run.say(format_table(measures))
    radiographs = sum(len(each.visits) for each in kept)
    run.say(f"{len(kept)} patients, {radiographs} radiographs; correlations are within patients; written to {run.out}")
    return {"out": run.out, "patients": len(kept), "radiographs": radiographs, "measures": measures}


def _lines(found: Progression) -> list[str]:
    """One line a radiograph."""
    from gan_explain.render import positive_label

    label = positive_label(found.positive)
    lines = [
        f"day {visit.day:g}: {label} {visit.probability:.2f}, opacity load {visit.opacity_load:.2f}, on {visit.opacity_area:.0%} "
        f"of the lungs" + ("" if found.no_heat else f", Grad-CAM on {visit.grad_cam_area:.0%}")
        for visit in found.visits
    ]
    if found.no_heat:
        lines.append(f"no Grad-CAM: {found.no_heat}")
    return lines


def _write_text(path: Path, text: str) -> None:
    from gan_explain.files.temporaries import write_bytes

    write_bytes(path, text.encode())
