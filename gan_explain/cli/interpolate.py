"""`interpolate`: one pair of lungs from negative to positive, frame by frame, and what the target makes of every frame."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gan_explain.cli import common
from gan_explain.cli.models import Models, digest, load_models, load_translator, model_options, read_radiograph
from gan_explain.cli.names import shown_name
from gan_explain.cli.patients import Patient, between_two, of_radiograph, strengths_between, synthetic, translated

if TYPE_CHECKING:
    from torch import Tensor

    from gan_explain.render import Axis
    from gan_explain.types import Traversal

logger = logging.getLogger(__name__)

FILE = click.Path(path_type=Path)


@common.command("interpolate", out="out/interpolate")
@click.argument("image", required=False, type=FILE)
@click.option("--sample", type=click.IntRange(1, 1000), metavar="N", help="N synthetic patients (what runs without an IMAGE).")
@click.option("--between", nargs=2, type=FILE, metavar="A B", help="From the pathology of A to that of B, on the structure of A.")
@click.option(
    "--pathology",
    metavar="KIND",
    help="prior: like those of covid images; minimal: the least that crosses the operating point; from:IMAGE: read from another "
    "radiograph. [default: a positive's own, else prior]",
)
@click.option(
    "--generator",
    type=click.Choice(["gan", "cyclegan"]),
    default="gan",
    help="gan: a layer of pathology; cyclegan: x + λ (G(x) - x), both directions, from checkpoint cxr128-cyclegan unless named.",
)
@click.option("--steps", type=click.IntRange(2, 1001), default=33, help="Frames.")
@click.option("--min-strength", type=click.FloatRange(0, 10), default=0.0, help="λ of the first frame; 0 is the healthy image.")
@click.option("--max-strength", type=click.FloatRange(0, 10), default=1.5, help="λ of the last frame; 1 is the pathology itself.")
@click.option("--fps", type=click.IntRange(1, 60), default=12, help="Frames a second of the film.")
@click.option("--size", type=click.IntRange(256, 1024), default=384, help="Side of an image in the film, in pixels.")
@click.option("--force", is_flag=True, help="Go on with an image that does not look like a chest radiograph.")
@model_options
def interpolate(
    run: common.Run,
    image: Path | None,
    sample: int | None,
    between: tuple[Path, Path] | None,
    pathology: str | None,
    generator: str,
    steps: int,
    min_strength: float,
    max_strength: float,
    fps: int,
    size: int,
    force: bool,
    **models_named: Any,
) -> dict[str, Any]:
    """Turn a COVID-negative chest radiograph into a positive one and chart what a CNN makes of every frame.

    IMAGE is a PNG, JPEG or DICOM file. One that the target calls negative is made positive; a positive is healed and made worse.
    Without an IMAGE a synthetic patient is drawn.

    Writes lossless frames, transition.mp4 and .gif, response_curve.png and .csv, a contact strip and run.json.
    """
    from gan_explain.image import check_image

    _check_options(image, sample, between, pathology, min_strength, max_strength)
    if generator == "cyclegan":
        _check_translation(image, pathology, models_named)
    files = [path for path in (image, *(between or ()), _reference_path(pathology)) if path is not None]
    for path in files:
        check_image(path)
    shown = {path: shown_name(run, path) for path in files}
    run.record(data={shown[path]: digest(path) for path in files})
    if generator == "cyclegan" and image is not None:
        models, translator = load_translator(run, **models_named)
        radiograph = read_radiograph(image, models, name=shown[image], force=force)
        clock = time.perf_counter()
        strengths = strengths_between(min_strength, max_strength, steps)
        patient, axis = translated(models, translator, radiograph, strengths)
        patients = [patient]
    else:
        models = load_models(run, **models_named)
        reference = _reference(pathology, models, force)
        clock = time.perf_counter()
        axis = _axis(between)
        if between:
            first, second = (read_radiograph(path, models, name=shown[path], force=force) for path in between)
            patients = [between_two(models, (first, second), steps)]
        else:
            strengths = strengths_between(min_strength, max_strength, steps)
            if image is not None:
                radiograph = read_radiograph(image, models, name=shown[image], force=force)
                clock = time.perf_counter()
                patients = [of_radiograph(models, radiograph, pathology, reference, strengths, run.seed)]
            else:
                from gan_explain.checkpoints import load_synthesis

                synthesis = load_synthesis(models_named["checkpoint"]).to(models.device)
                seeds = range(run.seed, run.seed + (sample or 1))
                clock = time.perf_counter()
                patients = [synthetic(models, synthesis, pathology, reference, strengths, seed) for seed in seeds]
    answered = time.perf_counter()
    if not run.dry_run:
        with run.staging() as folder:
            _write(patients, folder, axis, fps, size)
    seconds = {"answer": round(answered - clock, 3), "write": round(time.perf_counter() - answered, 3)}
    for patient in patients:
        run.say(_sentence(patient, axis))
    run.say("dry run: nothing written" if run.dry_run else f"written to {run.out} in {sum(seconds.values()):.1f} s")
    return {
        "out": None if run.dry_run else run.out,
        "positive": models.target.positive,
        "operating_point": models.target.operating_point,
        "patients": [_facts(patient) for patient in patients],
        "seconds": seconds,
    }


def _check_options(
    image: Path | None, sample: int | None, between: tuple[Path, Path] | None, pathology: str | None, low: float, high: float
) -> None:
    if sum(map(bool, (image, sample, between))) > 1:
        raise click.UsageError("expected one of IMAGE, --sample and --between")
    if between and pathology:
        raise click.UsageError("--between takes its pathologies from the two images, not from --pathology")
    if pathology and pathology not in ("prior", "minimal") and not (pathology.startswith("from:") and len(pathology) > 5):
        raise click.UsageError(f"--pathology: expected prior, minimal or from:IMAGE, got {pathology!r}")
    if not low < high:
        raise click.UsageError(f"expected --min-strength below --max-strength, got {low:g} and {high:g}")


def _check_translation(image: Path | None, pathology: str | None, models_named: dict[str, Any]) -> None:
    """UsageError for what a CycleGAN cannot do; its own checkpoint where none was named."""
    if image is None:
        raise click.UsageError("--generator cyclegan translates a radiograph: expected an IMAGE")
    if pathology:
        raise click.UsageError("--generator cyclegan has no pathology to choose: leave out --pathology")
    if models_named["confine"] != "free" and _given("confine"):
        raise click.UsageError("--generator cyclegan changes the whole image: leave out --confine")
    if not _given("checkpoint"):
        models_named["checkpoint"] = "cxr128-cyclegan"


def _given(option: str) -> bool:
    source = click.get_current_context().get_parameter_source(option)
    return source not in (None, click.core.ParameterSource.DEFAULT)


def _axis(between: object) -> Axis:
    from gan_explain.render import BETWEEN, STRENGTH

    return BETWEEN if between else STRENGTH


def _reference_path(pathology: str | None) -> Path | None:
    return Path(pathology[5:]) if pathology and pathology.startswith("from:") else None


def _reference(pathology: str | None, models: Models, force: bool) -> Tensor | None:
    """The code (1, d) of --pathology from:IMAGE; None for another kind."""
    from gan_explain.latent.pathology import reference_code

    path = _reference_path(pathology)
    if path is None:
        return None
    radiograph = read_radiograph(path, models, name="reference", force=force)
    if radiograph.probability < models.target.operating_point:
        logger.warning("%s: the target calls this reference negative (p = %.2f)", path, radiograph.probability)
    return reference_code(models.generator, radiograph.image, radiograph.lungs)


def _write(patients: list[Patient], folder: Path, axis: Axis, fps: int, size: int) -> None:
    """All files of the result: one patient in the folder itself, several in sample_NNN with a sheet of all."""
    from tqdm import tqdm

    from gan_explain import render

    for i, patient in enumerate(tqdm(patients, unit="patient", file=sys.stderr, disable=len(patients) == 1)):
        into = folder if len(patients) == 1 else folder / f"sample_{i:03d}"
        render.save_traversal(patient.traversal, into)
        render.write_curve(patient.traversal, into / "response_curve.png", axis)
        original = None if patient.original is None else (patient.original, patient.input)
        render.write_strip(patient.traversal, into / "strip.png", axis=axis, original=original)
        render.write_film(patient.traversal, into, fps=fps, axis=axis, side=size)
    if len(patients) > 1:
        traversals = [patient.traversal for patient in patients]
        render.write_strips(traversals[:24], folder / "sheet.png")
        render.write_curves(traversals, folder / "response_curves.png", axis)


def _at(traversal: Traversal, strength: float) -> float | None:
    """The probability of the frame at a strength; None where there is no such frame."""
    found = (traversal.strengths == strength).nonzero()
    return float(traversal.probability[found[0, 0]]) if len(found) else None


def _facts(patient: Patient) -> dict[str, Any]:
    t = patient.traversal
    return {
        "name": patient.name,
        "pathology": patient.pathology,
        "input_probability": patient.input,
        "called": "positive" if patient.input >= t.operating_point else "negative",
        "probability_at_0": _at(t, 0.0),
        "probability_at_1": _at(t, 1.0),
        "probability_last": float(t.probability[-1]),
        "crossing": t.crossing,
        "clamped": t.clamped,
        "lung_share": float(t.lungs.mean()),
    }


def _sentence(patient: Patient, axis: Axis) -> str:
    from gan_explain.render import positive_label

    t = patient.traversal
    crossing = (
        f"crosses {t.operating_point:.2f} at {axis.symbol} = {t.crossing:.2f}" if t.crossing is not None else "never crosses"
    )
    ends = " to ".join(f"{float(t.probability[i]):.2f} at {axis.symbol} = {float(t.strengths[i]):.2f}" for i in (0, -1))
    return f"{patient.name}: {positive_label(t.positive)} {patient.input:.2f}; {ends}; {crossing}"
