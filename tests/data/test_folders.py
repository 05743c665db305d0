"""Class folders, with and without splits, and the two public databases that are laid out so."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gan_explain.data import open_dataset
from gan_explain.types import DataError


def splits(records: Any) -> dict[str, int]:
    return dict(Counter(record.split for record in records))


def test_class_folders_are_split_by_hash(tmp_path: Path, layouts: Any) -> None:
    layouts.class_folders("normal", "COVID-19")
    layouts.text("normal/readme.txt")
    layouts.picture("normal/.hidden.png")
    layouts.picture(".cache/x.png")
    data = open_dataset(tmp_path, size=16)
    assert data.classes == ("covid", "normal")
    assert splits(data.records) == {"train": 14, "val": 2, "test": 4}
    assert len({record.patient_id for record in data.records}) == 20
    assert open_dataset(tmp_path, size=16).records == data.records
    assert open_dataset(tmp_path, size=16, seed=1).records != data.records
    assert data.batch().images.shape == (20, 1, 16, 16)


def test_split_folders_keep_their_split(tmp_path: Path, layouts: Any) -> None:
    layouts.class_folders("Train/normal", "Train/covid", "validation/normal", "test/covid", count=3)
    data = open_dataset(tmp_path, size=16)
    assert splits(data.records) == {"train": 6, "val": 3, "test": 3}
    assert {record.label for record in data.split("test").records} == {"covid"}


def test_radiography_database_with_masks_of_another_size(tmp_path: Path, layouts: Any) -> None:
    top = "COVID-19_Radiography_Dataset"
    for name in ("COVID", "Normal", "Lung_Opacity", "Viral Pneumonia"):
        for i in range(3):
            layouts.picture(f"{top}/{name}/images/{name}-{i}.png", size=30)
            layouts.disc(f"{top}/{name}/masks/{name}-{i}.png", mode="RGB")
    layouts.text(f"{top}/COVID.metadata.xlsx")
    data = open_dataset(tmp_path, size=20)
    assert data.classes == ("covid", "lung_opacity", "normal", "viral_pneumonia")
    assert len(data) == 12
    batch = data.batch()
    assert bool(batch.has_lungs.all())
    assert float(batch.lungs.mean()) == pytest.approx(3.14159 / 16, abs=0.03)


def test_qu_ex_prefers_the_lung_collection_and_reads_infection_masks(tmp_path: Path, layouts: Any) -> None:
    lungs = "Lung Segmentation Data/Lung Segmentation Data"
    for split in ("Train", "Val", "Test"):
        for name in ("COVID-19", "Non-COVID", "Normal"):
            layouts.picture(f"{lungs}/{split}/{name}/images/{name}{split}.png")
            layouts.disc(f"{lungs}/{split}/{name}/lung masks/{name}{split}.png")
    infection = "Infection Segmentation Data/Infection Segmentation Data/Train/COVID-19"
    layouts.picture(f"{infection}/images/a.png")
    layouts.disc(f"{infection}/infection masks/a.png")
    layouts.picture("Infection Segmentation Data/Infection Segmentation Data/Train/Normal/images/b.png")
    data = open_dataset(tmp_path, size=16)
    assert data.classes == ("covid", "normal", "other_pneumonia")
    assert splits(data.records) == {"train": 3, "val": 3, "test": 3}
    assert bool(data.batch().has_lungs.all())
    other = open_dataset(tmp_path / "Infection Segmentation Data", size=16)
    covid = other.where(lambda record: record.label == "covid")[0]
    assert covid["has_lesion"]
    assert float(covid["lesion"].mean()) > 0.1
    assert not covid["has_lungs"]


def test_faults_name_the_folder_and_what_was_expected(tmp_path: Path, layouts: Any) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    layouts.picture("loose/a.png")
    layouts.class_folders("one/normal", "both/train/normal", "both/covid", count=3)
    layouts.class_folders("deep/normal/x", "deep/covid/x", count=3)
    (tmp_path / "hollow" / "normal").mkdir(parents=True)
    (tmp_path / "hollow" / "covid").mkdir()
    for name, message in {
        "empty": "expected manifest.csv, metadata.csv or one folder per class with images",
        "loose": "got image files directly in it",
        "one": "at least two classes, got one: normal",
        "both": "got both",
        "hollow": "expected images in the class folders, found none",
        "deep": "expected images in the class folders, found folders in them: covid/x",
    }.items():
        with pytest.raises(DataError, match=message) as error:
            open_dataset(tmp_path / name, size=16)
        assert name in str(error.value)


@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_images_of_any_mode_make_the_same_dataset(layouts: Any, mode: str) -> None:
    for name in ("normal", "covid"):
        layouts.picture(f"{name}/a.png", mode=mode)
    images = open_dataset(layouts.root, size=24).batch().images
    assert images.shape == (2, 1, 24, 24)
    assert float(images.min()) == 0
    assert float(images.max()) == 1
    assert float(images.mean()) == pytest.approx(0.5, abs=0.05)


def test_what_is_left_out_is_listed_and_what_is_folded_is_said(
    tmp_path: Path, layouts: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for i, kind in enumerate(["png"] * 4 + ["gif"] * 3 + ["jpg"] * 2):
        layouts.picture(f"set/non-COVID/{i}.{kind}")
        layouts.picture(f"set/normal/{i}.{kind}")
    (tmp_path / "set/normal/2.png").rename(tmp_path / "set/normal/2.PNG")
    (tmp_path / "set/normal/8.jpg").rename(tmp_path / "set/normal/8.jfif")
    for name in ("a.webp", "b.webp", "c.heic", ".hidden.webp", "notes"):
        layouts.text(f"set/normal/{name}")
    layouts.picture("set/normal/more/x.png")
    data = open_dataset(tmp_path / "set", size=16, rejects=tmp_path / "rejects.csv")
    assert len(data) == 18
    assert data.remarks == (
        "labels read as others: non-covid as other_pneumonia",
        "5 files left out: 1 folders, 2 .webp, 1 .heic, 1 no suffix",
    )
    assert all(caplog.text.count(remark) == 1 for remark in data.remarks)
    lines = (tmp_path / "rejects.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == [f"normal/{x}" for x in ("more", "a.webp", "b.webp", "c.heic", "notes")]
    assert data.split("train").remarks == data.remarks


def test_images_without_a_class_and_masks_without_an_image_are_left_out(tmp_path: Path, layouts: Any) -> None:
    """A mask is that of an image of its name, with `_mask` or without."""
    layouts.class_folders("set/normal/images", "set/covid/images", count=4)
    layouts.picture("set/loose.png")
    for name in ("0", "1_mask", "other"):
        layouts.disc(f"set/normal/masks/{name}.png")
    data = open_dataset(tmp_path / "set", size=16)
    assert data.remarks == ("2 files left out: 2 .png",)
    assert [Path(each.mask).name for each in data.records if each.mask] == ["0.png", "1_mask.png"]


def test_splits_have_several_names(tmp_path: Path, layouts: Any) -> None:
    for split in ("Training", "testing"):
        layouts.class_folders(f"set/{split}/normal", f"set/{split}/covid", count=3)
    data = open_dataset(tmp_path / "set", size=16)
    assert [len(data.split(name)) for name in ("train", "val", "test")] == [6, 0, 6]
