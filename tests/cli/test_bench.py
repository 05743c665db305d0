"""`gan-explain bench`: every benchmark is listed, has options, and checks what it is given; small ones run from end to end."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import Result

from gan_explain.bench import BENCHMARKS

Invoke = Callable[..., Result]
MODELS = ("--generator", "tiny", "--segmenter", "everywhere", "--target", "checkpoint:tiny#target")
PHANTOMS = ("--data", "phantom:n=60,covid=0.5")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_is_listed_and_has_options_and_a_function(invoke: Invoke, name: str) -> None:
    assert f"{name}  " in invoke("bench", "--help").stdout
    module = import_module(f"gan_explain.bench.{name}")
    assert is_dataclass(module.Options())
    assert callable(module.bench)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("poetry",), "expected one of augment, boxes"),
        ((), "NAME"),
        (("latency", "--set", "resolution=64"), "a name of full, repeats, steps"),
        (("spectral", "--set", "resolution=8192"), "--set resolution=8192: expected less than or equal to 512"),
        (("spectral", "--set", "seeds=0"), "--set seeds=0: expected greater than or equal to 1"),
        (("dice", "--limit", "4"), "--limit is taken by explainers, healed alone"),
        (("dice", "--shard", "1/2"), "--shard is taken by augment, crop, spectral alone"),
        (("spectral", "--set", "colour=blue"), "a name of arch, arm, batch_size"),
    ],
)
def test_usage(invoke: Invoke, args: tuple[str, ...], says: str) -> None:
    result = invoke("bench", *args)
    assert result.exit_code == 2, result.output
    assert says in result.stderr


def test_an_unknown_label_leaves_nothing(invoke: Invoke, world: Path) -> None:
    result = invoke("bench", "lungs", *MODELS, *PHANTOMS, "--include", "flu", "--out", "b")
    assert result.exit_code == 3
    assert "no record fits --include flu" in result.stderr
    assert not (world / "b").exists()


def test_lungs(invoke: Invoke, world: Path) -> None:
    """Lungs are everywhere: all heat lies in them, and there is no outside."""
    args = ("--set", "resolution=64", "--set", "rows=2", "--set", "negatives=3", "--set", "also=checkpoint:tiny")
    result = invoke("bench", "lungs", *MODELS, *PHANTOMS, *args, "--out", "b", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)["measures"]
    assert set(found) == {"checkpoint:tiny#target", "checkpoint:tiny"}
    for of in found.values():
        assert {"heat.positives", "heat.negatives.excess", "transplant[outside]", "transplant[lungs]"} <= set(of)
        assert of["heat.positives"]["value"] in (None, pytest.approx(1))
        assert of["heat.positives.excess"]["value"] in (None, pytest.approx(0))
    rows = [json.loads(line) for line in (world / "b" / "per_image.jsonl").read_text().splitlines()]
    assert {row["positive"] for row in rows} == {True, False}
    assert all(row["path"].startswith("p") and row["area"] == 1 for row in rows)
    assert (world / "b" / "sheet.png").is_file()


def test_dice(invoke: Invoke) -> None:
    result = invoke("bench", "dice", *MODELS, *PHANTOMS, "--set", "also=nowhere", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)["dice"]
    assert list(found) == ["everywhere, 32 px", "nowhere, 32 px"]
    assert found["everywhere, 32 px"]["value"] > found["nowhere, 32 px"]["value"]


def test_latency(invoke: Invoke) -> None:
    result = invoke("bench", "latency", *MODELS, "--dry-run", "--json")
    assert json.loads(result.stdout) == {"resolution": 64}


def test_translation(invoke: Invoke, world: Path) -> None:
    """The fog brightens, so that the brightness target flips; the null knows tones alone."""
    fog = ("--set", "checkpoint=fog", "--set", "targets=checkpoint:tiny#target")
    for more, name in (((), "fog"), (("--set", "tones=true"), "tones")):
        result = invoke("bench", "translation", *MODELS, *PHANTOMS, *fog, *more, "--out", name, "--json")
        assert result.exit_code == 0, result.stderr
        answer = json.loads(result.stdout)
        assert answer["translation"] == name
        assert set(answer["measures"]) == {"to_positive", "to_negative"}
        assert "flip[tiny#target]" in answer["measures"]["to_positive"]
        assert (world / name / "sheet.png").is_file()


def test_shortcuts(invoke: Invoke) -> None:
    few = ("shortcuts=1", "clean=1", "images=60", "steps=2", "resolution=32", "limit=3")
    result = invoke("bench", "shortcuts", *MODELS, *(word for each in few for word in ("--set", each)), "--out", "b", "--json")
    assert result.exit_code == 0, result.stderr
    assert [each["shortcut"] for each in json.loads(result.stdout)["targets"]] == [True, False]


def test_crop_resumes(invoke: Invoke, world: Path) -> None:
    few = ("--set", "resolution=32", "--set", "steps=1", "--set", "seeds=1", "--set", "arm=whole,lungs")
    crop = ("bench", "crop", *MODELS, "--data", "phantom:n=30,covid=0.5", *few)
    first = invoke(*crop, "--out", "b")
    assert first.exit_code == 0, first.stderr
    lines = (world / "b" / "results.jsonl").read_text().splitlines()
    assert [json.loads(line)["arm"] for line in lines] == ["whole", "lungs"]
    more = invoke(*crop, "--resume", "--out", "b", "--json")
    assert more.exit_code == 0, more.stderr
    assert (world / "b" / "results.jsonl").read_text().splitlines() == lines
    assert {entry["measure"] for entry in json.loads(more.stdout)["entries"]} == {"accuracy", "COVID F1"}
    other = invoke(*crop, "--set", "steps=2", "--resume", "--out", "b")
    assert other.exit_code == 3
    assert "expected results of these settings" in other.stderr


def test_progression_trains_a_target_a_fold_and_once(invoke: Invoke, world: Path, save_image: Callable[..., Path]) -> None:
    rows = ["path,label,patient_id,split,offset_days"]
    for k in range(6):
        for day in (0, 3, 8) if k < 4 else (0,):
            save_image(world / f"{k}_{day}.png", 0.3 + 0.08 * k + 0.009 * day)
            split = "train" if k < 4 else "val"
            rows.append(f"{k}_{day}.png,{('normal', 'covid', 'other_pneumonia')[k % 3]},p{k},{split},{day}")
    (world / "manifest.csv").write_text("\n".join(rows) + "\n")
    args = ("bench", "progression", *MODELS, "--data", "manifest.csv", "--set", "resolution=32", "--set", "steps=1", "--out", "b")
    result = invoke(*args, "--json")
    assert result.exit_code == 0, result.stderr
    assert len(json.loads(result.stdout)["patients"]) == 4
    before = (world / "b" / "fold0" / "weights.safetensors").stat().st_mtime_ns
    assert invoke(*args, "--resume").exit_code == 0
    assert (world / "b" / "fold0" / "weights.safetensors").stat().st_mtime_ns == before
