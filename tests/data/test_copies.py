"""One image twice is found, whatever it is called."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from gan_explain.data import open_dataset
from gan_explain.types import DataError

ROWS = [("a.png", "normal", "p1", "train"), ("b.png", "covid", "p2", "train"), ("c.png", "covid", "p3", "test")]


def test_a_detour_is_the_same_path(layouts: Any) -> None:
    layouts.manifest([*ROWS, (".//a.png", "covid", "p4", "train")])
    with pytest.raises(DataError, match="a.png twice"):
        open_dataset(layouts.root, size=16)


def test_the_same_bytes_in_two_splits_are_an_error(layouts: Any, tmp_path: Path) -> None:
    layouts.manifest([*ROWS, ("d.png", "normal", "p4", "test")])
    shutil.copy(tmp_path / "b.png", tmp_path / "d.png")
    with pytest.raises(DataError, match=r"the same bytes in b\.png \(train\) and d\.png \(test\)") as caught:
        open_dataset(layouts.root, size=16)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("label", "says"), [("covid", "1 images are copies of others"), ("normal", "1 under different")])
def test_the_same_bytes_in_one_split_are_counted(
    layouts: Any, tmp_path: Path, label: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    layouts.manifest([*ROWS, ("d.png", label, "p4", "train")])
    shutil.copy(tmp_path / "b.png", tmp_path / "d.png")
    (remark,) = open_dataset(layouts.root, size=16).remarks
    assert says in remark
    assert "d.png" not in remark  # it goes into results
    assert "b.png and d.png" in caplog.text
    assert remark in caplog.text


def test_a_split_that_is_made_here_keeps_copies_together(layouts: Any, tmp_path: Path) -> None:
    layouts.class_folders("normal", "covid")
    for i in range(5):
        shutil.copy(tmp_path / "normal" / f"{i}.png", tmp_path / "covid" / f"copy{i}.png")
    data = open_dataset(tmp_path, size=16)
    split = {record.path: record.split for record in data.records}
    assert all(split[f"normal/{i}.png"] == split[f"covid/copy{i}.png"] for i in range(5))
    assert "5 images are copies of others, 5 under different labels" in data.remarks[0]


def test_files_of_one_size_are_not_taken_for_one(layouts: Any, tmp_path: Path) -> None:
    layouts.manifest(ROWS)
    for name in "abc":
        with (tmp_path / f"{name}.png").open("ab") as file:  # as long as the others, equal in the middle
            file.write(bytes(200_000 - file.tell()))
    assert open_dataset(layouts.root, size=16).remarks == ()
