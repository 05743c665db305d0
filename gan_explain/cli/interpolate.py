"""`interpolate`: one pair of lungs from negative to positive, frame by frame, and what the target makes of every frame."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import click
from pydantic import Field

from gan_explain.cli import common
from gan_explain.cli.models import load_models, load_translator, translates
from gan_explain.cli.names import shown_name
from gan_explain.cli.options import ARGUMENT, Shown
from gan_explain.cli.words import Force, HighStrength, ModelOptions, PictureSize, Resolution, Strengths, Trim

if TYPE_CHECKING:
    from torch import Tensor

    from gan_explain.counterfactual import Radiograph, Traversal
    from gan_explain.image import Picture
    from gan_explain.types import Segmenter

KINDS = ("own", "prior", "minimal", "steered")  # of --pathology, and from:IMAGE
LEAST_SIDE = 64  # pixels
FPS = 12  # of the film


@dataclass(frozen=True, kw_only=True)
class TraversalOptions:
    """What turns into what, in which steps."""

    TITLE: ClassVar = "Traversal"
    image: Annotated[Path | None, Field(description="PNG, JPEG or DICOM file."), ARGUMENT] = None
    sample: Annotated[
        int | None, Field(ge=1, le=1000, title="N", description="N synthetic patients (what runs without an IMAGE).")
    ] = None
    between: Annotated[
        tuple[Path, Path] | None,
        Field(title="A B", description="From the pathology of A to that of B, on the structure of A."),
    ] = None
    pathology: Annotated[
        str | None,
        Field(
            title="KIND",
            description="own: what is read on IMAGE; prior: like that of covid images; minimal: the least that crosses the "
            "operating point; steered: what the target answers to most; from:IMAGE: another patient's. "
            "[default: a positive's own, else prior]",
        ),
    ] = None
    strengths: Strengths = 33
    max_strength: HighStrength = 1.5
    resolution: Resolution = None
    trim: Trim = True
    picture_size: PictureSize = 384
    dicom: Annotated[
        Literal["image", "patient"] | None,
        Field(description="Write DICOM files too; patient: with the patient's tags of a DICOM IMAGE. [alone: image]"),
        Shown(alone="image"),
    ] = None
    force: Force = False

    @property
    def reference(self) -> Path | None:
        return Path(self.pathology[5:]) if self.pathology and self.pathology.startswith("from:") else None

    @property
    def kind(self) -> str | None:
        """A name of `counterfactual.PATHOLOGIES`."""
        return "from" if self.reference else self.pathology

    @property
    def files(self) -> list[Path]:
        return [path for path in (self.image, *(self.between or ()), self.reference) if path is not None]

    @property
    def subject(self) -> Path | None:
        """The image whose structure is shown."""
        return self.between[0] if self.between else self.image

    @property
    def lambdas(self) -> Tensor:
        from gan_explain.counterfactual import even_strengths

        return even_strengths(0.0, self.max_strength or 0.0, self.strengths)

    def __post_init__(self) -> None:
        if sum(map(bool, (self.image, self.sample, self.between))) > 1:
            raise ValueError("expected one of IMAGE, --sample and --between")
        if self.between and self.pathology:
            raise ValueError("--between takes its pathologies from the two images, not from --pathology")
        if self.pathology and self.pathology not in KINDS and not (self.reference and self.pathology != "from:"):
            raise ValueError(f"--pathology: expected {', '.join(KINDS)} or from:IMAGE, got {self.pathology!r}")
        if self.pathology == "own" and self.image is None:
            raise ValueError("--pathology own is what is read on a radiograph: expected an IMAGE")
        if self.dicom == "patient" and not self.subject:
            raise ValueError("--dicom patient copies the tags of a DICOM file: expected an IMAGE")
        if not (self.max_strength or 0.0) > 0:
            raise ValueError("--max-strength: expected more than 0")
        if self.resolution is not None and self.resolution < LEAST_SIDE:
            raise ValueError(f"--resolution {self.resolution}: expected at least {LEAST_SIDE} pixels")


@common.command("interpolate", out="out/interpolate")
def interpolate(run: common.Run, asked: TraversalOptions, models: ModelOptions) -> dict[str, Any]:
    """Turn a COVID-negative chest radiograph into a positive one and chart what a CNN makes of every frame.

    IMAGE is a PNG, JPEG or DICOM file, kept whole and at its own size, or with --resolution at another. One that the target calls
    negative is made positive; a positive is healed and made worse. Without an IMAGE a synthetic patient is drawn. A --generator
    that is a CycleGAN translates.

    Writes lossless frames, transition.mp4 and .gif, response_curve.png and .csv, a contact strip and run.json; with
    --dicom also traversal.dcm, layer.dcm and lungs.dcm.
    """
    from gan_explain.files.dicom_out import dicom_source
    from gan_explain.image import read_picture

    pictures = {path: read_picture(path) for path in asked.files}
    if asked.dicom:  # what stands against it is said at once
        subject = pictures[asked.subject] if asked.subject else None
        dicom_source(subject.path if subject else None, subject.sha256 if subject else "", patient=asked.dicom == "patient")
    run.record(data={shown_name(run, path, picture.sha256): picture.sha256 for path, picture in pictures.items()})
    follow = _translation if translates(models.generator) else _pathology
    patients, seconds = follow(run, asked, pictures, models)
    answered = time.perf_counter()
    if not run.dry_run:
        with run.staging() as folder:
            _write(patients, folder, asked, models.segmenter)
        seconds["write"] = round(time.perf_counter() - answered, 3)
    for patient in patients:
        run.say(_sentence(patient))
    if not run.dry_run:
        run.say(f"written to {run.out} in {sum(seconds.values()):.1f} s")
    first = patients[0].traversal
    return {
        "out": None if run.dry_run else run.out,
        "positive": first.positive,
        "operating_point": first.operating_point,
        "patients": [_facts(patient) for patient in patients],
        "seconds": seconds,
    }


@dataclass(frozen=True)
class Patient:
    """A traversal and the radiograph that it started from."""

    traversal: Traversal
    radiograph: Radiograph

    @property
    def original(self) -> tuple[Tensor, float] | None:
        """The radiograph as it came and its p, for a positive: its frames start healed."""
        t = self.traversal
        return (self.radiograph.image[0].cpu(), t.input) if t.input >= t.operating_point else None


Followed = tuple[list[Patient], dict[str, float]]
Pictures = dict[Path, "Picture"]


def _read(run: common.Run, pictures: Pictures, asked: TraversalOptions, segmenter: Segmenter) -> dict[Path, Radiograph]:
    """The radiographs of the files, under the names that results may show."""
    from gan_explain.counterfactual import read_radiograph

    def read(path: Path, picture: Picture) -> Radiograph:
        found = read_radiograph(picture, segmenter=segmenter, size=asked.resolution, trim=asked.trim, force=asked.force)
        return replace(found.to(run.device), name=shown_name(run, path, picture.sha256))

    found = {path: read(path, picture) for path, picture in pictures.items()}
    run.record(
        fit={each.name: each.fit for each in found.values()},
        remarks={each.name: each.remarks for each in found.values() if each.remarks},
    )
    return found


def _pathology(run: common.Run, asked: TraversalOptions, pictures: Pictures, named: ModelOptions) -> Followed:
    """The patients asked for, under their pathologies, and how long that took."""
    from gan_explain.counterfactual import traverse
    from gan_explain.counterfactual.synthetic import synthetic_radiograph
    from gan_explain.nets.load import load_structure

    models = load_models(run, named)
    generator, target, segmenter = models.generator, models.target, models.segmenter
    clock = time.perf_counter()
    found = _read(run, pictures, asked, segmenter)
    reference = found[asked.reference] if asked.reference else None
    if asked.between:
        a, b = (found[path] for path in asked.between)
        patients = [Patient(traverse(generator, target, a, pathology="between", reference=b, strengths=asked.strengths).cpu(), a)]
    else:
        kind, subjects = asked.kind, [found[asked.image]] if asked.image else []
        if not subjects:
            network = load_structure(named.generator).to(run.device)
            seeds = range(run.seed, run.seed + (asked.sample or 1))
            kind, subjects = kind or "prior", [synthetic_radiograph(network, generator, segmenter, seed) for seed in seeds]
        traversals = traverse(
            generator, target, subjects, pathology=kind, seed=run.seed, strengths=asked.lambdas, reference=reference
        )
        patients = [Patient(each.cpu(), subject) for each, subject in zip(traversals, subjects, strict=True)]
    return patients, {"answer": round(time.perf_counter() - clock, 3)}


def _translation(run: common.Run, asked: TraversalOptions, pictures: Pictures, named: ModelOptions) -> Followed:
    """The radiograph on its way to its translation, and how long that took. UsageError for what a CycleGAN cannot do."""
    from gan_explain.counterfactual.translate import translate

    if asked.image is None:
        raise click.UsageError("a CycleGAN translates a radiograph: expected an IMAGE")
    if asked.pathology:
        raise click.UsageError("a CycleGAN has no pathology to choose: leave out --pathology")
    network, target, segmenter = load_translator(run, named)
    clock = time.perf_counter()
    radiograph = _read(run, pictures, asked, segmenter)[asked.image]
    found = translate(network, target, radiograph, strengths=asked.lambdas, resolution=network.config.resolution)
    return [Patient(found.cpu(), radiograph)], {"answer": round(time.perf_counter() - clock, 3)}


def _write(patients: Sequence[Patient], folder: Path, asked: TraversalOptions, segmenter: str) -> None:
    """All files of the result: one patient in the folder itself, several in sample_NNN with a sheet of all."""
    from tqdm import tqdm

    from gan_explain import render

    for i, patient in enumerate(tqdm(patients, unit="patient", file=sys.stderr, disable=len(patients) == 1)):
        into = folder if len(patients) == 1 else folder / f"sample_{i:03d}"
        patient.traversal.save(into, dicom=asked.dicom or False, segmenter=segmenter)
        small = patient.traversal.reduced(asked.picture_size)
        render.write_curve(small, into / "response_curve.png")
        render.write_strip(small, into / "strip.png", original=patient.original)
        render.write_film(small, into, fps=FPS, side=asked.picture_size)
    if len(patients) > 1:
        traversals = [patient.traversal for patient in patients]
        render.write_strips(traversals[:24], folder / "sheet.png")
        render.write_curves(traversals, folder / "response_curves.png")


def _facts(patient: Patient) -> dict[str, Any]:
    from gan_explain.lungs import opacity_load

    t = patient.traversal
    return {
        "name": t.name,
        "pathology": t.pathology,
        "input_probability": t.input,
        "called": "positive" if t.input >= t.operating_point else "negative",
        "probability_at_0": t.at(0.0),
        "probability_at_1": t.at(1.0),
        "probability_last": float(t.probability[-1]),
        "crossing": t.crossing,
        "load": float(opacity_load(t.layer[None], t.lungs[None])),
        "lung_share": float(t.lungs.mean()),
        "remarks": t.remarks,
        **t.facts,
    }


def _sentence(patient: Patient) -> str:
    from gan_explain import render

    t, symbol = patient.traversal, render.axis_of(patient.traversal).symbol
    crossing = f"crosses {t.operating_point:.2f} at {symbol} = {t.crossing:.2f}" if t.crossing is not None else "never crosses"
    ends = " to ".join(f"{float(t.probability[i]):.2f} at {symbol} = {float(t.strengths[i]):.2f}" for i in (0, -1))
    return f"{t.name}: {render.positive_label(t.positive)} {t.input:.2f}; {ends}; {crossing}"
