"""`gan-explain augment` and `gan-explain bench augment`, as users run them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result

from gan_explain.data import open_dataset
from gan_explain.files.checkpoints import save_part
from gan_explain.nets.cyclegan import CycleGan, CycleGanConfig

Invoke = Callable[..., Result]
DATA = ("--data", "phantom:n=60,covid=0.3")
WITH_GAN = ("augment", *DATA, "--generator", "tiny", "--segmenter", "everywhere")
JUDGED = ("--target", "brightness_target:Brightness")


@pytest.fixture(scope="module", autouse=True)
def translator(checkpoints: Path) -> None:
    """Part "cyclegan" of checkpoint `lit`: an untrained network that brightens everything."""
    torch.manual_seed(0)
    config = CycleGanConfig(resolution=64, width=8, blocks=1)
    network = CycleGan(config)
    torch.nn.init.constant_(network.adder.head.bias[: len(network.adder.head.bias) // 2], 0.0)  # type: ignore[index, arg-type]
    save_part(checkpoints / "lit", "cyclegan", "cyclegan", config.model_dump(mode="json"), network.state_dict())


def test_images_are_written_with_their_provenance(invoke: Invoke, world: Path) -> None:
    result = invoke(
        *WITH_GAN,
        "--count",
        5,
        "--target",
        "brightness_target:Brightness",
        "--min-strength",
        0.5,
        "--max-strength",
        0.6,
        "--out",
        "more",
        "--seed",
        3,
        "--json",
    )
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["asked"] == 5
    rows = list(csv.DictReader((world / "more" / "manifest.csv").read_text().splitlines()))
    assert len(rows) == answer["kept"] >= 1
    for row in rows:
        assert (row["split"], row["label"], row["synthetic"], row["generator"], row["seed"]) == (
            "train",
            "covid",
            "1",
            "gan",
            "3",
        )
        assert row["source_path"]
        assert 0.5 <= float(row["strength"]) <= 0.6
        assert (world / "more" / row["path"]).is_file()
    assert json.loads((world / "more" / "run.json").read_text())["kept"] == len(rows)


def test_balance_with_a_cyclegan_makes_a_data_set_to_train_on(invoke: Invoke, world: Path) -> None:
    result = invoke("augment", *DATA, "--generator", "lit", "--segmenter", "everywhere", "--complete", "--out", "all")
    assert result.exit_code == 0, result.stderr
    data = open_dataset(world / "all", size=64)
    synthetic = [record for record in data.records if record.extra.get("synthetic") == "1"]
    real = open_dataset("phantom:n=60,covid=0.3", size=64)
    missing = sum((r.label == "normal") - (r.label == "covid") for r in real.split("train").records)
    assert 0 < len(synthetic) <= missing
    assert {record.split for record in synthetic} == {"train"}
    assert len(data) == len(real) + len(synthetic)
    assert {record.source for record in synthetic} == {"synthetic-cyclegan"}


def test_a_dry_run_counts_and_writes_nothing(invoke: Invoke, world: Path) -> None:
    result = invoke(*WITH_GAN, "--dry-run", "--out", "none", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["asked"] > 0
    assert not (world / "none").exists()


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (("--count", "many"), 2, "--count"),
        (("--count", "0"), 2, "--count"),
        (("--generator", "lit", "--onto", "positives"), 2, "translates negatives"),
        (("--min-strength", "1", "--max-strength", "0.5"), 2, "expected --min-strength up to"),
        (("--label", "tuberculosis"), 3, "expected tuberculosis images"),
        (("--label", "normal", "--count", "3"), 2, "knows covid"),
        (("--include", "covid"), 3, "expected negative images"),
        (("--generator", "nowhere-to-be-found"), 3, "no checkpoint"),
    ],
)
def test_bad_input_is_one_clear_line(invoke: Invoke, world: Path, more: tuple[str, ...], code: int, says: str) -> None:
    result = invoke(*WITH_GAN, *JUDGED, *more, "--out", "bad")
    assert result.exit_code == code, result.output
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert not (world / "bad").exists()


def test_a_cyclegan_wants_two_classes(invoke: Invoke, world: Path) -> None:
    assert invoke("data", "phantom:n=30", "--out", "three", "--resolution", 64).exit_code == 0
    path = world / "three" / "manifest.csv"
    rows = list(csv.DictReader(path.read_text().splitlines()))
    first = next(row for row in rows if row["split"] == "train" and row["label"] == "normal")
    first["label"] = "tuberculosis"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    call = ("augment", "--data", "three", "--generator", "lit", "--segmenter", "everywhere", "--count", 2)
    result = invoke(*call)
    assert result.exit_code == 3
    assert "expected two classes (--include), got covid, normal, tuberculosis" in result.stderr


def test_a_folder_in_use_is_refused(invoke: Invoke, world: Path) -> None:
    (world / "mine").mkdir()
    (world / "mine" / "thesis.txt").write_text("do not touch")
    result = invoke(*WITH_GAN, "--count", 2, "--out", "mine")
    assert result.exit_code == 2
    assert "holds other files" in result.stderr


def test_a_full_disk_leaves_nothing(invoke: Invoke, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gan_explain.augment import write

    real, written = write.write_bytes, []

    def full(path: Path, data: bytes) -> None:
        if written:
            raise OSError(28, "No space left on device")
        written.append(path)
        real(path, data)

    monkeypatch.setattr(write, "write_bytes", full)
    result = invoke(*WITH_GAN, *JUDGED, "--count", 3, "--out", "full")
    assert result.exit_code == 6, result.output
    assert written
    assert not (world / "full").exists()
    assert not list(world.glob(".full*"))


TINY = (
    "steps=2", "batch_size=4", "cyclegan_steps=2", "cyclegan_width=8", "gan_prior=0.3", "count=3", "regime=4:1",
    "probe_segmenter=everywhere",
)  # fmt: skip
BENCH = (
    "bench", "augment", *DATA, "--include", "normal", "--include", "covid", "--set", "resolution=32", "--segmenter", "everywhere",
    "--generator", "tiny", *(word for each in TINY for word in ("--set", each)),
)  # fmt: skip


def test_benchmark_runs_and_resumes(invoke: Invoke, world: Path) -> None:
    first = invoke(*BENCH, "--set", "arm=none,classical", "--out", "bench")
    assert first.exit_code == 0, first.stderr
    assert "| 4 | none | sensitivity |" in first.stdout
    path = world / "bench" / "results.jsonl"
    assert len(path.read_text().splitlines()) == 2
    assert invoke(*BENCH, "--out", "bench").exit_code == 2  # not without --resume
    again = invoke(*BENCH, "--resume", "--out", "bench", "--json")
    assert again.exit_code == 0, again.stderr
    arms = [json.loads(line)["arm"] for line in path.read_text().splitlines()]
    assert arms == ["none", "classical", "cyclegan", "gan", "both"]
    assert {entry["arm"] for entry in json.loads(again.stdout)["entries"]} == set(arms)
    for changed in (("--set", "count=4"), ("--generator", "disease")):
        other = invoke(*BENCH, *changed, "--set", "arm=none", "--resume", "--out", "bench")
        assert other.exit_code == 3
        assert "expected results of these settings" in other.stderr


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (("--set", "regime=400:1"), 3, "training images of covid"),
        (("--set", "regime=twenty"), 2, "IMAGES:SEEDS"),
        (("--shard", "3/2"), 2, "expected I/N"),
        (("--set", "colour=blue"), 2, "NAME=VALUE"),
        (("--set", "gan_strength=1"), 2, "gan_strength=1"),
        (("--include", "nih:normal"), 0, ""),
    ],
)
def test_bad_benchmark_options(invoke: Invoke, world: Path, more: tuple[str, ...], code: int, says: str) -> None:
    result = invoke(*BENCH, *more, "--dry-run")
    assert result.exit_code == code, result.output
    assert says in result.stderr
