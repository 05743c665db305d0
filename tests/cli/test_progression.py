"""`gan-explain progression` from end to end, on images of known brightness and untrained networks."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image

Invoke = Callable[..., Result]
OURS = ("--generator", "tiny", "--segmenter", "everywhere", "--target", "brightness_target:Brightness")
CONVOLVED = ("--generator", "tiny", "--segmenter", "everywhere", "--target", "checkpoint:tiny#target")


@pytest.fixture
def films(world: Path, save_image: Callable[..., Path]) -> Path:
    """Patient `ill` brightens over three days (test), `well` over three (train), `short` has one film."""
    rows = []
    course = {"ill": [(0, 0.3), (4, 0.5), (9, 0.7)], "well": [(0, 0.61), (2, 0.51), (3, 0.41)], "short": [(1, 0.52)]}
    (world / "films").mkdir()
    for patient, visits in course.items():
        for day, brightness in reversed(visits):
            save_image(world / "films" / f"{patient}{day}.png", brightness)
            split = "train" if patient == "well" else "test"
            rows.append([f"{patient}{day}.png", "normal" if patient == "well" else "covid", patient, split, "here", day])
    with open(world / "films" / "manifest.csv", "w", newline="") as file:
        csv.writer(file).writerows([["path", "label", "patient_id", "split", "source", "offset_days"], *rows])
    return world / "films"


def test_one_patient_is_charted(invoke: Invoke, films: Path, world: Path) -> None:
    result = invoke("progression", films, "--patient", "ill", *CONVOLVED, "--out", "p", "--json")
    assert result.exit_code == 0, result.stderr
    assert {path.name for path in (world / "p").iterdir()} == {
        "progression.png", "progression.csv", "progression.json", "run.json", "patient_salt",
    }  # fmt: skip
    answer = json.loads(result.stdout)
    saved = json.loads((world / "p" / "progression.json").read_text())
    assert answer["visits"] == saved["visits"]
    assert [visit["offset_days"] for visit in saved["visits"]] == [0, 4, 9]
    assert saved["split"] == "test"
    assert 0 <= saved["visits"][0]["grad_cam_area"] <= 1
    with open(world / "p" / "progression.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    who = saved["patient_id"]
    assert [row["path"] for row in rows] == [f"{who}-3", f"{who}-2", f"{who}-1"]  # numbered in the order of the manifest
    assert float(rows[1]["probability"]) == pytest.approx(saved["visits"][1]["probability"], abs=1e-6)
    with Image.open(world / "p" / "progression.png") as picture:
        assert min(picture.size) > 500


def test_a_target_that_grad_cam_cannot_look_into_is_charted_without(invoke: Invoke, films: Path, world: Path) -> None:
    result = invoke("progression", films, "--patient", "ill", *OURS, "--out", "p")
    assert result.exit_code == 0, result.stderr
    assert "no Grad-CAM" in result.stdout
    lines = [line for line in result.stdout.splitlines() if line.startswith("day ")]
    assert [line.split(":")[0] for line in lines] == ["day 0", "day 4", "day 9"]
    saved = json.loads((world / "p" / "progression.json").read_text())
    p = [visit["probability"] for visit in saved["visits"]]
    assert p == sorted(p)
    assert p[0] < 0.5 < p[2]  # as bright as they were made
    assert saved["visits"][0]["grad_cam_area"] is None
    assert "convolution" in saved["no_grad_cam"]


def test_all_patients_of_the_test_split(invoke: Invoke, films: Path, world: Path) -> None:
    result = invoke("progression", films, *CONVOLVED, "--out", "a")
    assert result.exit_code == 0, result.stderr
    assert "1 patients, 3 radiographs" in result.stdout
    assert {path.name for path in (world / "a").iterdir()} == {
        "patient_000.png", "patients.png", "patients.csv", "measures.json", "run.json", "patient_salt",
    }  # fmt: skip
    args = ("--splits", "train,test", *CONVOLVED, "--json", "--salt", "none")
    both = invoke("progression", films, *args)
    assert both.exit_code == 0, both.stderr
    answer = json.loads(both.stdout)
    assert answer["patients"] == 2
    assert set(answer["measures"]["opacity_load~probability"]["by"]) == {"train", "test"}
    saved = json.loads((world / "out" / "progression" / "measures.json").read_text())
    assert [each["patient_id"] for each in saved["patients"]] == ["ill", "well"]


@pytest.mark.parametrize("args", [("--patient", "ill"), ()])
def test_dry_run_writes_nothing(invoke: Invoke, films: Path, world: Path, args: tuple[str, ...]) -> None:
    result = invoke("progression", films, *args, *OURS, "--out", "p", "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert "nothing written" in result.stdout
    assert not (world / "p").exists()


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("--patient", "ill", "--splits", "test"), 2, "--splits is of all patients"),
        (("--splits", "some"), 2, "expected some of train, val, test"),
        (("--patient", "nobody"), 3, "such as ill, well"),
        (("--patient", "short"), 3, "two days or more"),
        (("--splits", "val"), 3, "splits"),
        (("--include", "measles"), 3, "measles"),
        (("--patient", "ill", "--target", "brightness_target:NotANumber"), 4, "NaN"),
    ],
)
def test_bad_input(invoke: Invoke, films: Path, world: Path, args: tuple[str, ...], code: int, says: str) -> None:
    given = [word for pair in zip(OURS[::2], OURS[1::2], strict=True) if pair[0] not in args for word in pair]
    result = invoke("progression", films, *args, *given, "--out", "p")
    assert result.exit_code == code, result.stderr
    assert says in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert not (world / "p").exists()


def test_data_without_days(invoke: Invoke, world: Path) -> None:
    for args in ((), ("--patient", "phantom-0-000001")):
        result = invoke("progression", "phantom:n=40", *args, *OURS, "--out", "p")
        assert result.exit_code == 3, result.stderr
        assert "offset_days" in result.stderr
    assert not (world / "p").exists()
