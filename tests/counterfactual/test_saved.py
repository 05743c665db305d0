"""Traversals as files."""

from __future__ import annotations

import json
import weakref
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from gan_explain.counterfactual import Traversal, load_traversal
from gan_explain.response import Frames, stored
from gan_explain.types import DataError


def test_round_trip_to_the_bit(traversal: Traversal, tmp_path: Path) -> None:
    traversal.save(tmp_path / "t")
    again = load_traversal(tmp_path / "t")
    for field in fields(traversal):
        before, after = getattr(traversal, field.name), getattr(again, field.name)
        if isinstance(before, torch.Tensor):
            assert torch.equal(before, after), field.name
        elif isinstance(before, Frames):
            assert torch.equal(before.stack(), after.stack())
        else:
            assert before == after, field.name
    assert again.crossing == traversal.crossing == pytest.approx(0.6)


def test_columns_of_the_curve(traversal: Traversal, tmp_path: Path) -> None:
    traversal.save(tmp_path)
    lines = (tmp_path / "response_curve.csv").read_text().splitlines()
    assert lines[0] == "strength,probability"
    assert lines[4] == "0.75,0.5"
    assert (tmp_path / "classes.csv").read_text().splitlines()[0] == "strength,normal,pneumonia,covid"


def test_folder_in_use_is_refused(traversal: Traversal, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(FileExistsError, match="new or empty"):
        traversal.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.slow
def test_frames_sort_beyond_a_thousand(traversal: Traversal, tmp_path: Path) -> None:
    strengths = torch.linspace(0, 1, 1001)
    frames = torch.linspace(0, 1, 1001).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    p = torch.zeros(1001, 3)
    long = replace(traversal, frames=stored(frames), strengths=strengths, probability=p[:, 0], class_probability=p)
    long.save(tmp_path)
    assert load_traversal(tmp_path).frames.stack()[:, 0, 0, 0].diff().min() > 0


@pytest.mark.parametrize(
    "name", ["traversal.json", "response_curve.csv", "classes.csv", "layer.npy", "structure.png", "frames/003.png"]
)
def test_damaged_file_is_named(traversal: Traversal, tmp_path: Path, name: str) -> None:
    traversal.save(tmp_path)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=Path(name).name):
        load_traversal(tmp_path)


@pytest.mark.parametrize("name", ["traversal.json", "code.npy", "frames/003.png"])
def test_missing_file_is_named(traversal: Traversal, tmp_path: Path, name: str) -> None:
    traversal.save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=Path(name).parts[0]):
        load_traversal(tmp_path)


def test_newer_schema_is_refused(traversal: Traversal, tmp_path: Path) -> None:
    traversal.save(tmp_path)
    manifest = json.loads((tmp_path / "traversal.json").read_text())
    (tmp_path / "traversal.json").write_text(json.dumps({**manifest, "schema_version": 99}))
    with pytest.raises(DataError, match="schema_version 2"):
        load_traversal(tmp_path)


def test_frames_are_written_and_read_one_at_a_time(traversal: Traversal, tmp_path: Path) -> None:
    alive: list[weakref.ref[torch.Tensor]] = []
    most = 0

    def make(i: int) -> torch.Tensor:
        nonlocal most
        frame = torch.full((1, 8, 8), i / 7)
        alive.append(weakref.ref(frame))
        most = max(most, sum(each() is not None for each in alive))
        return frame

    replace(traversal, frames=Frames(make, 7)).save(tmp_path)
    assert len(alive) == 7
    assert most <= 2
    again = load_traversal(tmp_path)
    (tmp_path / "frames" / "006.png").unlink()
    assert again.frames[0].shape == (1, 8, 8)
    with pytest.raises(DataError, match=r"006\.png"):
        again.frames[6]
