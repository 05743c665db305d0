"""Synthetic images for a training split: from the training split only, with their provenance, and never into val or test."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gan_explain.augment import Maker, joined, shortfall, synthesise, write_synthetic
from gan_explain.data import Dataset, open_dataset
from gan_explain.data.manifest import is_synthetic
from gan_explain.types import DataError, Segmenter


def test_images_say_where_they_come_from(train: Dataset, everywhere: Segmenter, veil: Maker) -> None:
    found = synthesise(train, veil, 20, segmenter=everywhere, seed=4)
    assert len(found.images) == found.asked == 20
    normal = [record for record in train.records if record.label == "normal"]
    assert all(each.source in normal and each.generator == "veil" and each.seed == 4 for each in found.images)
    assert len({each.source.path for each in found.images[: len(normal)]}) == len(normal)  # each once before any comes again
    again = synthesise(train, veil, 20, segmenter=everywhere, seed=4)
    assert all((a.image == b.image).all() for a, b in zip(found.images, again.images, strict=True))
    other = synthesise(train, veil, 20, segmenter=everywhere, seed=5)
    assert any((a.image != b.image).any() for a, b in zip(found.images, other.images, strict=True))


def test_doing_nothing_is_no_synthesis(train: Dataset, everywhere: Segmenter, nothing: Maker) -> None:
    with pytest.raises(DataError, match=r"none of 12 .*'unchanged': 12"):
        synthesise(train, nothing, 2, segmenter=everywhere)


def test_balance_is_what_is_missing(train: Dataset) -> None:
    covid = next(record.path for record in train.records if record.label == "covid")
    few = train.where(lambda record: record.label == "normal" or record.path == covid)
    normal = sum(record.label == "normal" for record in few.records)
    assert shortfall(few, ("covid",)) == normal - (len(few) - normal)
    assert shortfall(few, ("normal",)) == 0


def test_held_out_images_are_refused(train: Dataset, everywhere: Segmenter, veil: Maker) -> None:
    whole = open_dataset("phantom:n=40,covid=0.5", size=32)
    with pytest.raises(DataError, match="training split only"):
        synthesise(whole, veil, 2, segmenter=everywhere)


@pytest.mark.parametrize(("label", "name"), [("normal", "covid"), ("covid", "negative")])
def test_an_empty_class_is_refused(train: Dataset, everywhere: Segmenter, veil: Maker, label: str, name: str) -> None:
    only = train.where(lambda record: record.label == label)
    with pytest.raises(DataError, match=f"expected {name} images"):
        synthesise(only, veil, 2, segmenter=everywhere)


def test_one_image_of_each_is_enough(train: Dataset, everywhere: Segmenter, veil: Maker) -> None:
    first = {next(r.path for r in train.records if r.label == label) for label in ("normal", "covid")}
    found = synthesise(train.where(lambda r: r.path in first), veil, 2, segmenter=everywhere)
    assert len(found.images) >= 1
    assert found.threshold == pytest.approx(0.1)


def test_written_images_open_as_training_data(train: Dataset, everywhere: Segmenter, veil: Maker, tmp_path: Path) -> None:
    found = synthesise(train, veil, 3, segmenter=everywhere)
    write_synthetic(found.images, tmp_path, "covid")
    data = open_dataset(tmp_path, size=32, allow_single_class=True)
    assert [record.split for record in data.records] == ["train"] * 3
    assert all(is_synthetic(record) for record in data.records)
    first = data.records[0]
    assert first.patient_id == found.images[0].source.patient_id
    assert first.extra["source_path"] == found.images[0].source.path
    assert (first.extra["generator"], first.extra["seed"], first.extra["strength"]) == ("veil", "0", "1.0000")


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_synthetic_image_in_val_or_test_is_refused(
    train: Dataset, everywhere: Segmenter, veil: Maker, tmp_path: Path, split: str
) -> None:
    write_synthetic(synthesise(train, veil, 3, segmenter=everywhere).images, tmp_path, "covid")
    path = tmp_path / "manifest.csv"
    rows = list(csv.DictReader(path.read_text().splitlines()))
    rows[1] |= {"split": split, "patient_id": "someone else"}
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(DataError, match=f"synthetic images in the training split only, got .* in {split}"):
        open_dataset(tmp_path, size=32, allow_single_class=True)


def test_synthetic_images_are_no_sources(train: Dataset, everywhere: Segmenter, veil: Maker) -> None:
    found = synthesise(train, veil, 6, segmenter=everywhere)
    both = joined(train, found.images, "normal")  # even where they are said to be negatives
    again = synthesise(both, veil, 20, segmenter=everywhere)
    assert not any(is_synthetic(each.source) for each in again.images)


def test_joined_images_are_read_as_they_are(train: Dataset, everywhere: Segmenter, veil: Maker) -> None:
    found = synthesise(train, veil, 4, segmenter=everywhere)
    both = joined(train, found.images, "covid")
    assert len(both) == len(train) + 4
    batch = both.batch([0, len(train)])
    assert (batch.images[0] == train[0]["image"]).all()
    assert torch.allclose(batch.images[1], found.images[0].image, atol=1e-4)
    assert [is_synthetic(record) for record in batch.records] == [False, True]
    assert replace(batch.records[1], source="").label == "covid"
