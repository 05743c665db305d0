"""A full disk (a limit on file sizes stands for it) and places that are taken: exit 6, what was there stays, nothing is new."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_trainers import TRAINERS

from gan_explain.bench.resample import append, read_rows
from gan_explain.cli.exits import OK, RESOURCES
from gan_explain.files.checkpoints import CONFIG, WEIGHTS, load_part, save_part
from gan_explain.train.loop import STATE, STATS, run
from gan_explain.train.training import Training

Command = Callable[..., tuple[int, str]]
Files = Callable[[Path], set[str]]
TRAIN = (
    "train",
    "segmenter",
    "--data",
    "phantom:n=24",
    "--resolution",
    32,
    "--set",
    "batch_size=4",
    "--set",
    "save_every=2",
    "--out",
    "out",
)
MODELS = ("--generator", "phantom64", "--segmenter", "phantom64", "--out", "out")
FEW = ("--data", "phantom:n=24", "--limit", 3)
RESULTS: dict[str, tuple[object, ...]] = {
    "audit": ("audit", "--target", "checkpoint:phantom64", *MODELS, *FEW, "--quick"),
    "evaluate": ("evaluate", *MODELS, *FEW),
    "interpolate": ("interpolate", *MODELS, "--sample", 1, "--strengths", 3, "--picture-size", 256),
}
LARGEST = {"audit": 20_000, "evaluate": 3_000, "interpolate": 20_000}  # less than the largest file, more than the first
TAKEN = {"audit": "report.html", "evaluate": "measures.json", "interpolate": "transition.mp4"}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- trainings ----------------------------------------------------------------------------------------------------------------


def test_a_training_on_a_full_disk_keeps_its_state_and_goes_on_when_there_is_room(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert command(*TRAIN, "--steps", 2)[0] == OK
    before = {name: (out / name).read_bytes() for name in (STATE, WEIGHTS, CONFIG)}
    size = (out / STATE).stat().st_size
    code, line = command(*TRAIN, "--steps", 4, "--resume", largest=size // 2)
    assert code == RESOURCES, line
    assert "File too large" in line
    assert {name: (out / name).read_bytes() for name in before} == before
    assert {path.name for path in out.iterdir()} == {STATE, STATS, WEIGHTS, CONFIG, "run.json", "sheet_000002.png"}
    assert command(*TRAIN, "--steps", 4, "--resume")[0] == OK
    assert torch.load(out / STATE, weights_only=True)["step"] == 4


def test_a_part_that_finds_no_room_leaves_the_checkpoint_as_it_was(command: Command, tmp_path: Path) -> None:
    """The state has its room, the weights of a checkpoint with many parts have not."""
    assert command(*TRAIN, "--steps", 2)[0] == OK
    out = tmp_path / "out"
    room = (out / STATE).stat().st_size + 100_000
    save_part(out, "large", "kind", {}, {"w": torch.zeros(room // 4)})
    before = {name: (out / name).read_bytes() for name in (WEIGHTS, CONFIG)}
    code, line = command(*TRAIN, "--steps", 4, "--resume", largest=room)
    assert code == RESOURCES, line
    assert torch.load(out / STATE, weights_only=True)["step"] == 4
    assert {name: (out / name).read_bytes() for name in before} == before
    assert not [path for path in out.rglob("*") if path.name.endswith(".tmp")]
    assert set(load_part(out, "large").state) == {"w"}


@pytest.mark.parametrize("name", [STATE, STATS, WEIGHTS, CONFIG])
def test_a_folder_in_the_place_of_a_file_is_found_before_the_first_step(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    trainer = TRAINERS["segmenter"]()
    trainer.step = lambda step: pytest.fail("took a step")  # type: ignore[method-assign]
    with pytest.raises(IsADirectoryError, match=f"{name}: expected a place for a file, got a folder"):
        run(trainer, Training(steps=2), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_checkpoint_stays_whole_where_its_configuration_cannot_be_moved_in(tmp_path: Path) -> None:
    save_part(tmp_path, "part", "kind", {}, {"w": torch.zeros(3)})
    before = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / CONFIG).rename(tmp_path / "kept")
    (tmp_path / CONFIG).mkdir()
    with pytest.raises(IsADirectoryError):
        save_part(tmp_path, "part", "kind", {}, {"w": torch.ones(3)})
    assert (tmp_path / WEIGHTS).read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {WEIGHTS, CONFIG, "kept"}


def test_rows_that_come_after_a_line_cut_short_are_read(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    append(path, {"arm": 1})
    path.write_bytes(path.read_bytes() + b'{"arm": 2, "val')
    append(path, {"arm": 3})
    append(path, {"arm": 4})
    assert [row["arm"] for row in read_rows(path)] == [1, 3, 4]


# -- results ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name != "interpolate")) for name in RESULTS])
def test_a_result_on_a_full_disk_and_in_taken_places(command: Command, tmp_path: Path, files: Files, name: str) -> None:
    out = tmp_path / "out"

    def refused(largest: int | None = None) -> str:
        code, line = command(*RESULTS[name], largest=largest)
        assert code == RESOURCES, line
        return line

    assert "File too large" in refused(LARGEST[name])
    assert files(tmp_path) == {"log0.txt"}
    out.touch()
    assert "expected a folder, got a file" in refused()
    out.unlink()

    assert command(*RESULTS[name])[0] == OK
    before = contents(out)
    assert "File too large" in refused(LARGEST[name])
    assert contents(out) == before
    (out / TAKEN[name]).unlink()
    (out / TAKEN[name]).mkdir()
    assert f"{TAKEN[name]}: expected a place for a file, got a folder" in refused()
    del before[TAKEN[name]]
    assert contents(out) == before
    assert not [path for path in files(tmp_path) if path.endswith(".tmp")]
