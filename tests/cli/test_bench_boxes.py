"""`gan-explain bench boxes` from end to end, on images of known brightness and untrained networks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Invoke = Callable[..., Result]
OURS = ("--segmenter", "everywhere", "--generator", "tiny")
BENCH = ("bench", "boxes", "--data", "films")
CAM = "grad_cam (checkpoint:tiny)"


@pytest.fixture(autouse=True)
def films(world: Path, save_image: Callable[..., Path]) -> Path:
    """Three films of 96 px, one in each split, with a box each."""
    (world / "films").mkdir()
    rows, boxes = ["path,label,patient_id,split"], ["path,x,y,width,height"]
    for i, split in enumerate(("train", "val", "test")):
        save_image(world / "films" / f"{split}.png", 0.4 + 0.1 * i)
        rows.append(f"{split}.png,other_pneumonia,p{i},{split}")
        boxes.append(f"{split}.png,10,20,30.5,40")
    (world / "films" / "manifest.csv").write_text("\n".join(rows) + "\n")
    (world / "films" / "boxes.csv").write_text("\n".join(boxes) + "\n")
    return world / "films"


def test_the_reader_stands_beside_every_targets_grad_cam(invoke: Invoke, world: Path) -> None:
    targets = ("--target", "checkpoint:tiny", "--set", "also=checkpoint:tiny#target")
    result = invoke(*BENCH, *OURS, *targets, "--out", "b", "--json")
    assert result.exit_code == 0, result.stderr
    assert {path.name for path in (world / "b").iterdir()} == {
        "per_image.jsonl", "measures.json", "table.md", "run.json", "patient_salt",
    }  # fmt: skip
    answer = json.loads(result.stdout)
    assert answer == json.loads((world / "b" / "measures.json").read_text())
    cams = [CAM, "grad_cam (checkpoint:tiny#target)"]
    assert list(answer["measures"]) == ["reader", *cams, "even", "depth", "brightness"]
    assert list(answer["differences"]) == [f"reader - {name}" for name in (*cams, "even", "depth", "brightness")]
    share = answer["measures"]["reader"]["share"]
    assert 0 <= share["low"] <= share["value"] <= share["high"] <= 1
    assert share["n"] == 3
    assert set(share["by"]) == {"train", "val", "test"}
    assert answer["measures"]["even"]["share"]["value"] == pytest.approx(31 * 40 / 96**2, rel=0.1)  # of centres, 31 columns
    one, same = (answer["differences"][f"reader - {name}"]["auroc"] for name in cams)
    assert one == same
    rows = [json.loads(line) for line in (world / "b" / "per_image.jsonl").read_text().splitlines()]
    assert len(rows) == 3 * 6
    assert "train.png" not in (world / "b" / "per_image.jsonl").read_text()  # pseudonyms
    table = (world / "b" / "table.md").read_text()
    assert "reader: share" in table
    assert f"reader - {CAM}: pointing" in table
    run = json.loads((world / "b" / "run.json").read_text())
    assert run["generator"]["name"] == "tiny"
    assert len(run["targets"]) == 2


def test_a_split_alone_and_a_dry_run(invoke: Invoke, world: Path) -> None:
    result = invoke(*BENCH, *OURS, "--split", "val", "--dry-run", "--json", "--out", "b")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == {"images": 1, "maps": ["reader", CAM]}
    assert not (world / "b").exists()


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("--set", "boxes=films/nowhere.csv"), 3, "nowhere.csv"),
        (("--data", "nowhere"), 3, "manifest.csv"),
        (("--set", "boxes=films/manifest.csv"), 3, "missing: x, y, width, height"),
        (("--generator", "nobody"), 3, "nobody"),
        (("--target", "brightness_target:Brightness"), 4, "convolution"),
        (("--segmenter", "nowhere"), 3, "found lungs on 0.0%"),
    ],
)
def test_bad_options(invoke: Invoke, world: Path, args: tuple[str, ...], code: int, says: str) -> None:
    result = invoke(*BENCH, *OURS, *args, "--out", "b")
    assert result.exit_code == code, result.stderr
    assert says in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert not (world / "b").exists()


def test_no_box_in_a_split(invoke: Invoke, films: Path) -> None:
    (films / "boxes.csv").write_text("path,x,y,width,height\ntrain.png,1,2,3,4\n")
    result = invoke(*BENCH, *OURS, "--split", "test")
    assert result.exit_code == 3
    assert "expected a box in the splits test, got none" in result.stderr
