"""`interpolate` from end to end, on untrained networks and a target that is known in full."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from gan_explain.cli import main
from gan_explain.counterfactual import even_strengths, load_traversal
from gan_explain.image import clip_percentile, read_image
from gan_explain.pixels import quantize16

Invoke = Callable[..., Result]
FEW = ("--strengths", 5, "--picture-size", 256)
FILES = {
    "classes.csv", "code.npy", "frames", "layer.npy", "lungs.png", "response_curve.csv", "response_curve.png", "run.json",
    "strip.png", "structure.png", "transition.gif", "transition.mp4", "traversal.json",
}  # fmt: skip


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def brightness_answer(image: np.ndarray) -> float:
    """The target of the small world, by hand."""
    z = 20 * (float(image.mean()) - 0.6)
    e = np.exp([-z, -0.7, -0.7])
    return float(e[1:].sum() / e.sum())


def test_negative_becomes_positive_and_everything_is_written(invoke: Invoke, negative: Path, world: Path) -> None:
    result = invoke("interpolate", negative, *FEW, "--json", "--out", "film")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    (patient,) = answer["patients"]
    assert patient["called"] == "negative"
    assert patient["input_probability"] < 0.5 < patient["probability_at_1"]
    assert 0 < patient["crossing"] < 1
    assert names(world / "film") == FILES
    assert len(list((world / "film" / "frames").iterdir())) == 5


def test_charted_probabilities_are_those_of_the_saved_frames(invoke: Invoke, negative: Path, world: Path) -> None:
    assert invoke("interpolate", negative, *FEW, "--resolution", 64, "--out", "film").exit_code == 0
    with open(world / "film" / "response_curve.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["strength", "probability"]
    for i, row in enumerate(rows):
        path = world / "film" / "frames" / f"{i:03d}.png"
        with Image.open(path) as file:
            assert file.mode == "I;16"
        assert float(row["probability"]) == pytest.approx(brightness_answer(read_image(path)), abs=1e-6)
    with open(world / "film" / "classes.csv", newline="") as file:
        classes = list(csv.DictReader(file))
    assert list(classes[0]) == ["strength", "normal", "pneumonia", "covid"]
    assert float(classes[2]["pneumonia"]) + float(classes[2]["covid"]) == pytest.approx(float(rows[2]["probability"]), abs=1e-6)


def test_first_frame_of_a_negative_is_the_input(invoke: Invoke, negative: Path, world: Path) -> None:
    assert invoke("interpolate", negative, *FEW, "--out", "film").exit_code == 0
    t = load_traversal(world / "film")
    assert (t.frames[0] == t.structure).all()
    assert t.strengths.tolist() == [0.0, 0.375, 0.75, 1.0, 1.5]
    assert t.crossing == pytest.approx(json.loads((world / "film" / "traversal.json").read_text())["crossing"])


def test_positive_is_healed_and_made_worse(invoke: Invoke, positive: Path, world: Path) -> None:
    result = invoke("interpolate", positive, *FEW, "--json", "--out", "film")
    assert result.exit_code == 0, result.stderr
    (patient,) = json.loads(result.stdout)["patients"]
    assert patient["called"] == "positive"
    assert patient["pathology"] == "own"
    assert patient["probability_at_0"] < patient["input_probability"]


def test_no_image_means_one_synthetic_patient_by_seed(invoke: Invoke, world: Path) -> None:
    assert invoke("interpolate", *FEW, "--out", "a").exit_code == 0
    assert invoke("interpolate", *FEW, "--out", "b", "--sample", 1).exit_code == 0
    assert invoke("interpolate", *FEW, "--out", "c", "--seed", 1).exit_code == 0
    first, second, other = (load_traversal(world / name) for name in "abc")
    assert torch.equal(first.frames.stack(), second.frames.stack())
    assert not torch.equal(first.frames.stack(), other.frames.stack())


def test_several_synthetic_patients_have_folders_and_a_sheet(invoke: Invoke, world: Path) -> None:
    assert invoke("interpolate", "--sample", 2, *FEW, "--out", "many").exit_code == 0
    assert names(world / "many") == {"sample_000", "sample_001", "sheet.png", "response_curves.png", "run.json"}
    assert names(world / "many" / "sample_001") == FILES - {"run.json"}
    assert invoke("interpolate", "--seed", 1, *FEW, "--out", "one").exit_code == 0
    again, alone = load_traversal(world / "many" / "sample_001"), load_traversal(world / "one")
    assert torch.equal(again.frames.stack(), alone.frames.stack())


def test_pathology_minimal_crosses_at_one(invoke: Invoke, negative: Path) -> None:
    result = invoke("interpolate", negative, "--pathology", "minimal", "--strengths", 31, "--picture-size", 256, "--json")
    assert result.exit_code == 0, result.stderr
    (patient,) = json.loads(result.stdout)["patients"]
    assert patient["pathology"] == "minimal"
    assert patient["crossing"] == pytest.approx(1, abs=0.051)


def test_pathology_from_another_image(invoke: Invoke, negative: Path, positive: Path) -> None:
    result = invoke("interpolate", negative, "--pathology", f"from:{positive}", *FEW, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["patients"][0]["pathology"] == "from"


def test_between_starts_healthy_at_a_negative(invoke: Invoke, negative: Path, positive: Path, world: Path) -> None:
    result = invoke("interpolate", "--between", negative, positive, *FEW, "--out", "line")
    assert result.exit_code == 0, result.stderr
    t = load_traversal(world / "line")
    assert t.strengths.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert (t.frames[0] == t.structure).all()


def test_target_is_the_checkpoints_own_unless_named(world: Path, negative: Path) -> None:
    args = [
        "interpolate",
        str(negative),
        "--generator",
        "tiny",
        "--segmenter",
        "everywhere",
        "--strengths",
        "3",
        "--picture-size",
        "256",
    ]
    result = CliRunner().invoke(main, [*args, "--out", "film"])
    assert result.exit_code == 0, result.stderr
    run = json.loads((world / "film" / "run.json").read_text())
    assert run["target"]["spec"] == "checkpoint:tiny"
    assert load_traversal(world / "film").positive == ("covid",)


def test_run_json_says_how_it_was_made(invoke: Invoke, negative: Path, world: Path) -> None:
    assert invoke("interpolate", negative, *FEW, "--seed", 7, "--out", "film").exit_code == 0
    run = json.loads((world / "film" / "run.json").read_text())
    assert run["exit"] == 0
    assert run["seed"] == 7
    assert run["device"] == "cpu"
    assert run["options"]["strengths"] == 5
    digest = hashlib.sha256(negative.read_bytes()).hexdigest()
    assert run["data"] == {f"radiograph {digest[:8]}": digest}
    assert run["fit"][f"radiograph {digest[:8]}"]["kept"] == [96, 96]
    assert run["generator"]["sha256"]
    assert run["target"]["positive"] == ["covid", "pneumonia"]
    assert {"python", "torch", "numpy"} <= set(run["versions"])
    assert set(run["files"]) == {
        path.relative_to(world / "film").as_posix() for path in (world / "film").rglob("*") if path.is_file()
    } - {"run.json"}


def test_second_run_replaces_the_first_and_leaves_other_files(invoke: Invoke, negative: Path, world: Path) -> None:
    assert invoke("interpolate", negative, "--strengths", 7, "--picture-size", 256, "--out", "film").exit_code == 0
    (world / "film" / "note.txt").write_text("mine")
    assert invoke("interpolate", negative, *FEW, "--out", "film").exit_code == 0
    assert len(list((world / "film" / "frames").iterdir())) == 5
    assert (world / "film" / "note.txt").read_text() == "mine"


def test_dry_run_writes_nothing(invoke: Invoke, negative: Path, world: Path) -> None:
    before = names(world)
    result = invoke("interpolate", negative, *FEW, "--out", "film", "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert names(world) - {"__pycache__"} == before


def test_without_ffmpeg_there_is_a_gif_and_a_word_about_it(
    invoke: Invoke, negative: Path, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/does/not/exist")
    result = invoke("interpolate", negative, *FEW, "--out", "film")
    assert result.exit_code == 0, result.stderr
    assert names(world / "film") == FILES - {"transition.mp4"}
    assert "no MP4" in result.stderr


def test_strengths_pass_through_one() -> None:
    assert 1.0 in even_strengths(0, 1.5, 33)
    assert even_strengths(0, 1.5, 33).diff().min() > 0
    assert even_strengths(0, 1.5, 31).tolist() == pytest.approx([0.05 * i for i in range(31)])
    assert 1.0 in even_strengths(0.99, 1.5, 3)
    assert even_strengths(0.2, 0.8, 3).tolist() == pytest.approx([0.2, 0.5, 0.8])
    assert even_strengths(0, 1.5, 2).tolist() == [0, 1.5]


# -- the radiograph as it came ------------------------------------------------------------------------------------------------


def wide(path: Path, brightness: float, height: int = 90, width: int = 150) -> Path:
    """A 16-bit ramp, up and down twice, that is not square."""
    ramp = np.linspace(0, 1, width) ** (1 / brightness - 1)
    ramp = ramp[np.cos(np.linspace(0, 4 * np.pi, width)).argsort(kind="stable").argsort()]
    Image.fromarray((65535 * np.tile(ramp, (height, 1)) + 0.5).astype(np.uint16)).save(path)
    return path


@pytest.mark.parametrize(("brightness", "pathology", "strength"), [(0.4, "prior", 0.0), (0.8, "own", 1.0)])
def test_the_end_that_is_the_input_is_it_on_the_16_bit_grid(
    invoke: Invoke, world: Path, brightness: float, pathology: str, strength: float
) -> None:
    """Strength 0 of a negative, strength 1 of a positive: at its own size, not square, as saved and read back."""
    path = wide(world / "wide.png", brightness)
    result = invoke("interpolate", path, *FEW, "--out", "film", "--json")
    assert result.exit_code == 0, result.stderr
    (patient,) = json.loads(result.stdout)["patients"]
    assert patient["pathology"] == pathology
    film = load_traversal(world / "film")
    frame = film.frames[film.strengths.tolist().index(strength)]
    expected = quantize16(torch.from_numpy(clip_percentile(read_image(path))))[None]
    assert frame.shape == (1, 90, 150)
    assert torch.equal(frame, expected)
    assert film.at(strength) == pytest.approx(patient["input_probability"], abs=1e-6)
    assert not torch.equal(film.frames[4], expected)


def test_a_longer_side_may_be_asked_for(invoke: Invoke, world: Path) -> None:
    path = wide(world / "wide.png", 0.4)
    assert invoke("interpolate", path, *FEW, "--resolution", 75, "--out", "film").exit_code == 0
    assert load_traversal(world / "film").frames[0].shape == (1, 64, 75)  # no side below 64
    assert invoke("interpolate", path, *FEW, "--resolution", "small").exit_code == 2
    assert invoke("interpolate", path, *FEW, "--resolution", 10).exit_code == 2


def test_each_file_is_opened_once(invoke: Invoke, negative: Path, positive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    real = io.open

    def counted(file: Any, *args: Any, **named: Any) -> Any:
        opened.append(str(file))
        return real(file, *args, **named)

    monkeypatch.setattr(io, "open", counted)
    monkeypatch.setattr("builtins.open", counted)
    result = invoke("interpolate", negative, "--pathology", f"from:{positive}", "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert (opened.count(str(negative)), opened.count(str(positive))) == (1, 1)


def test_remarks_are_said_recorded_and_shown(invoke: Invoke, negative: Path, world: Path) -> None:
    """The segmenter of the small world takes the whole image for lungs."""
    result = invoke("interpolate", negative, *FEW, "--out", "film")
    assert "the lungs reach the border of the image" in result.stderr
    (remarks,) = json.loads((world / "film" / "run.json").read_text())["remarks"].values()
    assert remarks == list(load_traversal(world / "film").remarks)


def test_steered_and_own(invoke: Invoke, negative: Path) -> None:
    for kind in ("steered", "own"):
        result = invoke("interpolate", negative, "--pathology", kind, *FEW, "--json")
        assert result.exit_code == 0, result.stderr
        assert json.loads(result.stdout)["patients"][0]["pathology"] == kind


def test_the_backend_of_a_notebook_is_not_inherited(world: Path, negative: Path) -> None:
    words = [
        "interpolate",
        str(negative),
        "--strengths",
        "2",
        "--out",
        "film",
        "--generator",
        "tiny",
        "--segmenter",
        "everywhere",
    ]
    here = {"MPLBACKEND": "module://matplotlib_inline.no_such_backend", "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command, env = [sys.executable, "-m", "gan_explain", *words], {**os.environ, **here}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert (world / "film" / "response_curve.png").is_file()


@pytest.mark.parametrize("command", ["interpolate", "explain"])
def test_uniform_borders_are_cut_off_unless_told(invoke: Invoke, negative: Path, world: Path, command: str) -> None:
    """96 rows between 12 black ones on either side: cut off, or kept with --no-trim; both are recorded."""
    with Image.open(negative) as image:
        framed = Image.new("L", (96, 120))
        framed.paste(image, (0, 12))
    framed.save(world / "framed.png")
    own = ("--generator", "tiny", "--target", "checkpoint:tiny#target", "--segmenter", "everywhere")
    for words, rows in (((), [12, 108]), (("--no-trim",), [0, 120])):
        asked = (*own, *(FEW if command == "interpolate" else ()), *words, "--out", "kept", "--json")
        assert invoke(command, "framed.png", *asked).exit_code == 0
        run = json.loads((world / "kept" / "run.json").read_text())
        assert run["options"]["trim"] is (not words)
        fit = run["fit"] if command == "explain" else next(iter(run["fit"].values()))
        assert fit["rows"] == rows


# -- DICOM --------------------------------------------------------------------------------------------------------------------

WRITTEN = {"traversal.dcm", "layer.dcm", "lungs.dcm"}


def film_of(path: Path, save_dicom: Callable[..., Path], **tags: object) -> Path:
    """The negative of the small world as a DICOM file, with two black rows above and below."""
    ramp = np.linspace(0, 1, 96) ** 1.5
    ramp = ramp[np.cos(np.linspace(0, 4 * np.pi, 96)).argsort(kind="stable").argsort()]
    values = np.pad((4095 * np.tile(ramp, (92, 1))).astype(np.uint16), ((2, 2), (0, 0)))
    return save_dicom(path, values, StudyInstanceUID="1.2.3.5", SeriesInstanceUID="1.2.3.6", **tags)


def test_dicom_files_hold_the_frames_the_layer_and_the_lungs(
    invoke: Invoke, world: Path, save_dicom: Callable[..., Path]
) -> None:
    pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")
    pytest.importorskip("highdicom", reason="needs the extra dicom")
    path = film_of(world / "CANARY_film.dcm", save_dicom, ImagerPixelSpacing=[0.1, 0.2])
    for folder, words in (("a", ("--dicom",)), ("b", ("--dicom", "image")), ("c", ("--dicom", "patient"))):
        result = invoke("interpolate", path, *words, *FEW, "--out", folder)
        assert result.exit_code == 0, result.stderr
        assert names(world / folder) == FILES | WRITTEN
    film = load_traversal(world / "a")
    frames, layer, lungs = (pydicom.dcmread(world / "a" / f"{each}.dcm") for each in ("traversal", "layer", "lungs"))
    assert np.array_equal(frames.pixel_array, (film.frames.stack()[:, 0].numpy() * 65535).round())
    assert np.array_equal(layer.pixel_array, film.layer[0].numpy())
    assert np.array_equal(lungs.pixel_array, film.lungs[0].numpy())
    assert frames.SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.3.4"
    assert frames.StudyInstanceUID == "1.2.3.5"
    assert "Rows 3 to 94" in frames.DerivationDescription
    assert lungs.SegmentSequence[0].SegmentAlgorithmName == "everywhere"
    for each in WRITTEN:
        assert (world / "a" / each).read_bytes() == (world / "b" / each).read_bytes()
        assert b"CANARY" not in (world / "a" / each).read_bytes()
        assert pydicom.dcmread(world / "c" / each).PatientName == "CANARY^NAME"
    assert "CANARY" not in (world / "c" / "run.json").read_text()
    assert set(json.loads((world / "a" / "run.json").read_text())["files"]) >= WRITTEN


@pytest.mark.parametrize("words", [("{negative}",), ("--sample", "2"), ()])
def test_without_a_dicom_source_dicom_files_are_anonymous(
    invoke: Invoke, world: Path, negative: Path, words: tuple[str, ...]
) -> None:
    pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")
    pytest.importorskip("highdicom", reason="needs the extra dicom")
    result = invoke("interpolate", *(word.format(negative=negative) for word in words), *FEW, "--dicom", "--out", "film")
    assert result.exit_code == 0, result.stderr
    found = [pydicom.dcmread(path) for path in (world / "film").rglob("*.dcm")]
    assert len(found) == (6 if "2" in words else 3)
    assert len({each.StudyInstanceUID for each in found}) == len(found) // 3
    assert all(each.StudyInstanceUID.startswith("2.25.") and not each.PatientID for each in found)


def test_dicom_that_cannot_be_written_is_said_at_once(
    invoke: Invoke, world: Path, negative: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*words: object, code: int) -> str:
        result = invoke("interpolate", *words, *FEW, "--out", "film")
        assert result.exit_code == code
        assert not (world / "film").exists()
        assert len(result.stderr.strip().splitlines()) == 1
        return result.stderr

    assert "expected an IMAGE" in refused("--sample", 2, "--dicom", "patient", code=2)
    assert "'image', 'patient'" in refused("--dicom", negative, code=2)
    pytest.importorskip("highdicom", reason="needs the extra dicom")
    assert "expected a DICOM file, whose patient tags" in refused(negative, "--dicom", "patient", code=3)
    monkeypatch.setitem(sys.modules, "highdicom", None)
    assert "pip install 'gan_explain[dicom]'" in refused(negative, "--dicom", code=3)
