"""`gan-explain bench healed` from end to end, on phantoms, an untrained generator and coarse features."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from click.testing import Result

from gan_explain.bench import healed as bench

Invoke = Callable[..., Result]
OURS = ("--segmenter", "everywhere", "--generator", "tiny", "--set", "resolution=32", "--set", "positive=covid")
BENCH = ("bench", "healed", "--data", "phantom:n=120,covid=0.5")


class Coarse:
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return F.adaptive_avg_pool2d(images, 4).flatten(1)


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "Pyramid", Coarse)


def test_every_test_image_is_judged(invoke: Invoke, world: Path) -> None:
    result = invoke(*BENCH, *OURS, "--out", "b", "--json")
    assert result.exit_code == 0, result.stderr
    assert {path.name for path in (world / "b").iterdir()} == {
        "per_image.jsonl", "measures.json", "table.md", "run.json", "patient_salt",
    }  # fmt: skip
    answer = json.loads(result.stdout)
    assert answer == json.loads((world / "b" / "measures.json").read_text())
    (source,) = answer["measures"]
    found = answer["measures"][source]
    assert 0 <= found["called_normal.diseased.healed"]["low"] <= found["called_normal.diseased.healed"]["high"] <= 1
    assert found["load.diseased"]["value"] > 0
    assert set(answer["classifiers"][source]) == {"train", "val", "penalty", "threshold"}
    rows = [json.loads(line) for line in (world / "b" / "per_image.jsonl").read_text().splitlines()]
    assert len(rows) == answer["images"] == found["auroc"]["n"]
    assert "called_normal.normal.healed - as it is" in (world / "b" / "table.md").read_text()
    assert json.loads((world / "b" / "run.json").read_text())["generator"]["name"] == "tiny"


def test_a_limit_and_a_dry_run(invoke: Invoke, world: Path) -> None:
    result = invoke(*BENCH, *OURS, "--limit", 5, "--set", "sources=phantom", "--dry-run", "--json", "--out", "b")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == {"images": {"phantom": {"train": 10, "val": 10, "test": 10}}}
    assert not (world / "b").exists()


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("--set", "sources=nih"), 3, "nih: expected at least 5 diseased images"),
        (("--set", "positive=tuberculosis"), 3, "expected a source with 5 normal and 5 diseased images"),
        (("--generator", "nobody"), 3, "nobody"),
        (("--limit", 2), 3, "--limit"),
    ],
)
def test_bad_options(invoke: Invoke, world: Path, args: tuple[str, ...], code: int, says: str) -> None:
    result = invoke(*BENCH, *OURS, *args, "--out", "b")
    assert result.exit_code == code, result.stderr
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert not (world / "b").exists()
