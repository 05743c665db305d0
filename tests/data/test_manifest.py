"""The manifest CSV: what it may say, and each fault by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from gan_explain.data import open_dataset, write_manifest
from gan_explain.data.manifest import read_manifest
from gan_explain.types import DataError

HEADER = ("path", "label", "patient_id", "split")
ROWS = [("a.png", "normal", "p1", "train"), ("b.png", "COVID-19", "p2", "train"), ("c.png", "covid", "p3", "test")]


def test_rows_become_records(tmp_path: Path, layouts: Any) -> None:
    header = (*HEADER, "mask", "source", "age", "severity")
    rows = [(*ROWS[0], "m.png", "nih", "71", ""), (*ROWS[1], "", "ieee8023", "", "0.5")]
    layouts.disc("m.png")
    path = layouts.manifest(rows, header)
    data = open_dataset(path, size=16)
    first, second = data.records
    assert (first.mask, first.source, dict(first.extra)) == ("m.png", "nih", {"age": "71", "severity": ""})
    assert second.label == "covid"
    assert data[0]["has_lungs"]
    assert not data[1]["has_lungs"]
    assert data[1]["severity"] == 0.5
    batch = data.batch()
    assert batch.has_lungs.tolist() == [True, False]
    assert batch.severity is not None
    assert batch.severity.isnan().tolist() == [True, False]
    assert batch.lesion is None
    assert open_dataset(tmp_path, size=16).records == data.records  # the folder means the same


def test_written_manifest_reads_back(tmp_path: Path, layouts: Any) -> None:
    records = read_manifest(layouts.manifest([(*row, "x, y") for row in ROWS], (*HEADER, "licence")))
    write_manifest(records, tmp_path / "again.csv")
    assert read_manifest(tmp_path / "again.csv") == records


def test_byte_order_mark_blank_lines_and_blanks_are_tolerated(tmp_path: Path) -> None:
    text = "path, label ,patient_id,split\r\n a.png,normal,1,train\r\n\r\nb.png,covid,2,val\r\n"
    (tmp_path / "manifest.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert [record.path for record in read_manifest(tmp_path / "manifest.csv")] == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        (ROWS, ("path", "label", "patient", "split"), "missing: patient_id"),
        (ROWS, ("path", "path", "label", "patient_id"), "missing: split"),
        ([(*ROWS[0], "")], ("path", "label", "patient_id", "split", "path"), "each column once"),
        ([], HEADER, "at least one row"),
        ([*ROWS, ("d.png", "normal", "p1", "val")], HEADER, "'p1' in train and val"),
        ([*ROWS, ("a.png", "normal", "p1", "train")], HEADER, "a.png twice"),
        ([*ROWS, ("d.png", "normal", "p9", "holdout")], HEADER, "'holdout'"),
        ([*ROWS, ("d.png", "", "p9", "train")], HEADER, "column label"),
        ([*ROWS, ("d.png", "normal", "p9")], HEADER, "expected 4 cells, got 3"),
        ([*ROWS, ("/etc/passwd", "normal", "p9", "train")], HEADER, "inside it, got '/etc/passwd'"),
        ([*ROWS, ("../d.png", "normal", "p9", "train")], HEADER, "inside it, got '../d.png'"),
        ([*ROWS, ("x\\..\\..\\d.png", "normal", "p9", "train")], HEADER, "inside it"),
        ([*ROWS, ("C:\\d.png", "normal", "p9", "train")], HEADER, "inside it"),
        ([(*row, "../m.png") for row in ROWS], (*HEADER, "mask"), "column mask"),
        ([(*row, "high") for row in ROWS], (*HEADER, "severity"), "expected a number, got 'high'"),
        ([(*row, "nan") for row in ROWS], (*HEADER, "severity"), "expected a number, got 'nan'"),
        ([*ROWS, ("x\\d.png", "normal", "p9", "train")], HEADER, "expected / between folders"),
        (ROWS[1:], HEADER, "at least two classes, got one: covid"),
    ],
)
def test_faults_are_named(layouts: Any, rows: list[tuple[str, ...]], header: tuple[str, ...], message: str) -> None:
    layouts.table("manifest.csv", header, rows)
    with pytest.raises(DataError, match="manifest.csv") as error:
        open_dataset(layouts.root, size=16)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_table_is_named(tmp_path: Path, layouts: Any) -> None:
    path = layouts.picture("image.png")
    with pytest.raises(DataError, match="image.png: expected a UTF-8 CSV file"):
        open_dataset(path, size=16)
    with pytest.raises(DataError, match="no such dataset"):
        open_dataset(tmp_path / "missing", size=16)


def test_one_class_can_be_allowed(tmp_path: Path, layouts: Any) -> None:
    layouts.manifest(ROWS[1:])
    assert open_dataset(tmp_path, size=16, allow_single_class=True).classes == ("covid",)


def test_real_radiographs_open_as_their_readme_says(cxr: Path) -> None:
    data = open_dataset(cxr, size=32)
    assert len(data) == 3631
    assert sum(bool(record.mask) for record in data.records) == 2616
    covid = data.where(lambda record: record.label == "covid")
    assert [len(covid.split(name)) for name in ("train", "val", "test")] == [233, 34, 69]
    batch = data.batch([0, 1000, 3000])
    assert batch.images.shape == (3, 1, 32, 32)
    assert bool(batch.has_lungs[0])
    assert 0.1 < float(batch.lungs[0].mean()) < 0.7
    assert torch.isfinite(batch.images).all()


@pytest.mark.parametrize(("mark", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_a_separator_that_is_no_comma_is_named(tmp_path: Path, mark: str, name: str) -> None:
    text = "path,label,patient_id,split\na.png,normal,1,train\nb.png,covid,2,val\n"
    (tmp_path / "manifest.csv").write_text(text.replace(",", mark))
    with pytest.raises(DataError, match=f"separated by {name}, expected commas"):
        read_manifest(tmp_path / "manifest.csv")


@pytest.mark.parametrize(
    ("text", "encoding", "says"),
    [("", "utf-16", "expected a UTF-8 CSV file, got UTF-16"), ("sep=,\n", "utf-8", "got 'sep=': take that row out")],
)
def test_what_spreadsheets_write_is_named(tmp_path: Path, text: str, encoding: str, says: str) -> None:
    whole = text + "path,label,patient_id,split\na.png,normal,1,train\nb.png,covid,2,val\n"
    (tmp_path / "manifest.csv").write_bytes(whole.encode(encoding))
    with pytest.raises(DataError, match=says):
        read_manifest(tmp_path / "manifest.csv")
