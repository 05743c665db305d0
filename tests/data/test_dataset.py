"""Reading, remembering, splitting and screening, whatever the layout."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_explain.data import Dataset, canonical, coarse, open_dataset, split_by_patient
from gan_explain.data.dataset import FileReader, Memory
from gan_explain.types import DataError, Record


@pytest.fixture
def folder(layouts: Any) -> Path:
    layouts.class_folders("normal", "covid")
    return layouts.root


def test_batch_is_the_samples_and_a_second_one_is_the_same(folder: Path) -> None:
    data = open_dataset(folder, size=20)
    chosen = [7, 0, 12]
    batch = data.batch(chosen)
    assert torch.equal(batch.images, torch.stack([data[i]["image"] for i in chosen]))
    assert batch.records == tuple(data.records[i] for i in chosen)
    assert batch.labels == tuple(record.label for record in batch.records)
    assert len(batch) == 3
    assert torch.equal(data.batch(chosen).images, batch.images)
    assert not batch.lungs.any()
    assert not batch.has_lungs.any()
    assert (batch.lesion, batch.severity) == (None, None)


def test_each_file_is_read_once_and_splits_share_the_memory(folder: Path) -> None:
    opened = open_dataset(folder, size=16)
    reads: list[str] = []

    class Counting(FileReader):
        def __call__(self, record: Record, size: int) -> Any:
            reads.append(record.path)
            return super().__call__(record, size)

    data = Dataset(folder, opened.records, Memory(Counting(folder), 16))
    data.batch()
    data.split("train").batch()
    data.where(lambda record: record.label == "covid")[0]
    assert sorted(reads) == sorted(record.path for record in data.records)


def test_memory_is_bounded_and_reads_again_beyond_it(folder: Path) -> None:
    opened = open_dataset(folder, size=16)
    memory = Memory(FileReader(folder), 16, limit=3 * 16 * 16 * 2)
    data = Dataset(folder, opened.records, memory)
    assert torch.equal(data.batch().images, opened.batch().images)
    assert torch.equal(data.batch().images, opened.batch().images)
    assert memory.held == 3 * 16 * 16 * 2


def test_splits_and_views(folder: Path) -> None:
    data = open_dataset(folder, size=16)
    parts = [data.split(name) for name in ("train", "val", "test")]
    assert sum(map(len, parts)) == len(data)
    assert data.where(lambda record: False).batch().images.shape == (0, 1, 16, 16)
    with pytest.raises(DataError, match="'training'"):
        data.split("training")
    with pytest.raises(IndexError):
        data[len(data)]


def test_fingerprint_changes_with_any_word_of_the_manifest(folder: Path) -> None:
    data = open_dataset(folder, size=16)
    assert data.fingerprint() == open_dataset(folder, size=32).fingerprint()
    assert data.fingerprint() != data.split("train").fingerprint()
    assert data.fingerprint() != open_dataset(folder, size=16, seed=1).fingerprint()
    assert len(data.fingerprint()) == 64


def test_works_in_a_loader(folder: Path) -> None:
    data = open_dataset(folder, size=16)
    for workers in (0, 2):
        batches = list(torch.utils.data.DataLoader(data, batch_size=5, num_workers=workers))
        assert sum(len(batch["image"]) for batch in batches) == 20
        first = batches[0]
        assert torch.equal(first["image"], data.batch(range(5)).images)
        assert first["lungs"].shape == (5, 1, 16, 16)
        assert (first["label"], first["path"][0]) == ([each.label for each in data.records[:5]], data.records[0].path)
        assert not first["has_lungs"].any()
        assert bool(first["severity"].isnan().all())


def test_one_bad_file_in_many_is_rejected_with_its_reason(
    folder: Path, layouts: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layouts.class_folders("normal", "covid", count=20)
    layouts.text("covid/bad.png")
    rejects = tmp_path / "out" / "rejects.csv"
    with caplog.at_level(logging.WARNING):
        data = open_dataset(folder, size=16, rejects=rejects)
    assert len(data) == 40
    assert "bad.png" in caplog.text
    lines = rejects.read_text().splitlines()
    assert lines[0] == "path,reason"
    assert lines[1].startswith("covid/bad.png,")
    assert "expected an image" in lines[1]
    assert len(lines) == 2


def test_more_than_five_percent_is_an_error(folder: Path, layouts: Any, tmp_path: Path) -> None:
    layouts.text("covid/bad.png")
    layouts.text("covid/worse.png")
    with pytest.raises(DataError, match=r"at most 5%.*2 of 22.*bad\.png") as error:
        open_dataset(folder, size=16, rejects=tmp_path / "rejects.csv")
    assert "\n" not in str(error.value)
    assert len((tmp_path / "rejects.csv").read_text().splitlines()) == 3


def test_a_class_that_is_all_rejected_is_an_error(layouts: Any) -> None:
    layouts.class_folders("normal", count=30)
    layouts.text("covid/bad.png")
    with pytest.raises(DataError, match="at least two classes"):
        open_dataset(layouts.root, size=16)


def test_a_missing_mask_rejects_its_image(layouts: Any) -> None:
    rows = [(f"{i}.png", "covid" if i % 2 else "normal", str(i), "train", "m.png" if i else "gone.png") for i in range(21)]
    layouts.disc("m.png")
    layouts.manifest(rows, (*layouts.header, "mask"))
    data = open_dataset(layouts.root, size=16)
    assert len(data) == 20
    assert "0.png" not in {record.path for record in data.records}


def test_patients_stay_together_and_shares_hold_in_each_class() -> None:
    records = [
        Record(f"{label}{patient}/{i}", label, f"{label}{patient}", "")
        for label in "ab"
        for patient in range(50)
        for i in range(3)
    ]
    done = split_by_patient(records, seed=3)
    split_of = {record.patient_id: record.split for record in done}
    assert all(record.split == split_of[record.patient_id] for record in done)
    for label in "ab":
        mine = [split for patient, split in split_of.items() if patient.startswith(label)]
        assert [mine.count(name) for name in ("train", "val", "test")] == [35, 5, 10]
    shuffled = split_by_patient(records[::-1], seed=3)
    assert {record.patient_id: record.split for record in shuffled} == split_of


def test_labels_are_compared_whole() -> None:
    assert [canonical(text) for text in ("COVID-19", "Viral Pneumonia", " Normal ", "covid_like")] == [
        "covid",
        "viral_pneumonia",
        "normal",
        "covid_like",
    ]
    assert [coarse(text) for text in ("bacterial_pneumonia", "Viral Pneumonia", "covid", "no finding", "lung_opacity")] == [
        "pneumonia",
        "pneumonia",
        "covid",
        "normal",
        "lung_opacity",
    ]
