"""`gan-explain bench explainers` from end to end on untrained networks and phantoms."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image

Invoke = Callable[..., Result]
BENCH = (
    "bench",
    "explainers",
    "--data",
    "phantom:n=20,covid=0.5",
    "--split",
    "train",
    "--set",
    "resolution=64",
    "--set",
    "steps=4",
)
NAMES = ("grad_cam", "difference", "noise", "mask")
OURS = ("--segmenter", "everywhere", "--generator", "tiny", "--target", "checkpoint:tiny#target", "--limit", 2)


def test_methods_are_measured_drawn_and_told(invoke: Invoke, world: Path) -> None:
    result = invoke(*BENCH, *OURS, "--set", "method=grad_cam,difference", "--set", "rows=1", "--out", "b", "--json")
    assert result.exit_code == 0, result.stderr
    names = {"per_image.jsonl", "measures.json", "table.md", "bars.png", "maps.png", "run.json", "patient_salt"}
    assert {path.name for path in (world / "b").iterdir()} == names
    rows = [json.loads(line) for line in (world / "b" / "per_image.jsonl").read_text().splitlines()]
    assert [(row["method"], row["mask"]) for row in rows] == [(name, "lesion") for name in NAMES for _ in range(2)]
    answer = json.loads(result.stdout)
    assert answer == json.loads((world / "b" / "measures.json").read_text())
    spec = "checkpoint:tiny#target"
    assert answer["images"] == {spec: 2}
    found = answer["measures"][spec]
    assert list(found) == list(NAMES)
    assert found["difference"]["iou"]["value"] == pytest.approx(sum(row["iou"] for row in rows[2:4]) / 2)
    assert found["difference"]["iou"]["n"] == 2
    assert {each["best_other"] for each in answer["leads"]} == {"grad_cam"}
    table = (world / "b" / "table.md").read_text()
    assert "2 positives" in table
    assert "| difference |" in table
    with Image.open(world / "b" / "maps.png") as sheet:
        assert sheet.size[0] > 3 * 160
    run = json.loads((world / "b" / "run.json").read_text())
    assert run["targets"][0]["spec"] == spec


def test_what_a_target_does_not_allow_is_left_out_by_default_and_refused_by_name(invoke: Invoke, world: Path) -> None:
    brightness = ("--segmenter", "everywhere", "--generator", "tiny", "--target", "brightness_target:Brightness", "--limit", 1)
    result = invoke(*BENCH, *brightness, "--dry-run", "--json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    [spec] = answer["methods"]
    assert "occlusion" in answer["methods"][spec]
    assert "convolution" in answer["left_out"][spec]["grad_cam"]
    assert {"difference", "reader", "latent_path"} <= set(answer["methods"][spec])
    refused = invoke(*BENCH, *brightness, "--set", "method=grad_cam")
    assert refused.exit_code == 4
    assert "convolution" in refused.stderr
    assert not (world / "out").exists()


def test_another_target_stands_in_the_same_table(invoke: Invoke, world: Path) -> None:
    other = "brightness_target:Brightness"
    result = invoke(*BENCH, *OURS, "--set", "method=difference", "--set", f"also={other}@occlusion", "--out", "b", "--json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert {spec: list(found) for spec, found in answer["measures"].items()} == {
        "checkpoint:tiny#target": ["difference", "noise", "mask"], other: ["occlusion", "noise", "mask"]
    }  # fmt: skip
    assert {each["best_other"] for each in answer["leads"]} == {f"occlusion ({other})"}
    assert f"| {other} | occlusion |" in (world / "b" / "table.md").read_text()
    refused = invoke(*BENCH, *OURS, "--set", f"also={other}@grad_cam")
    assert refused.exit_code == 4
    assert "convolution" in refused.stderr


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("--set", "method=tea_leaves"), 2, "grad_cam"),
        (("--set", "also=checkpoint:tiny#target@tea_leaves"), 2, "grad_cam"),
        (("--set", "baseline=black"), 2, "blurred"),
        (("--generator", "nobody"), 3, "nobody"),
        (("--generator", "fog", "--set", "method=reader"), 3, "no part 'generator'"),
        (("--include", "normal"), 3, "covid"),
        (("--target", "checkpoint:nobody"), 3, "nobody"),
    ],
)
def test_bad_options(invoke: Invoke, world: Path, args: tuple[str, ...], code: int, says: str) -> None:
    result = invoke(*BENCH, *OURS, *args, "--out", "b")
    assert result.exit_code == code, result.stderr
    assert says in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert not (world / "b").exists()
