"""`gan-explain data`: counts, and an export that opens again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from click.testing import Result
from PIL import Image, ImageOps

from gan_explain.data import open_dataset

Invoke = Callable[..., Result]


def test_counts_add_up(invoke: Invoke) -> None:
    result = invoke("data", "phantom:n=40,covid=0.5", "--json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["images"] == answer["patients"] == 40
    assert sum(row["images"] for row in answer["counts"]) == 40
    assert sum(row["images"] for row in answer["counts"] if row["label"] == "covid") == 20


def test_table_has_a_column_for_each_split(invoke: Invoke) -> None:
    result = invoke("data", "phantom:n=20")
    assert result.stdout.splitlines()[0].split() == ["source", "label", "train", "val", "test"]


def test_exported_phantom_opens_again(invoke: Invoke, world: Path) -> None:
    result = invoke("data", "phantom:n=10", "--out", "copy", "--resolution", 64)
    assert result.exit_code == 0, result.stderr
    original = open_dataset("phantom:n=10", size=64)
    copy = open_dataset(world / "copy", size=64)
    assert [r.label for r in copy.records] == [r.label for r in original.records]
    assert [r.split for r in copy.records] == [r.split for r in original.records]
    mine, theirs = original.batch(), copy.batch()
    assert (mine.images - theirs.images).abs().mean() < 0.02  # clipped to percentiles once more
    assert (mine.lungs == theirs.lungs).all()
    assert mine.lesion is not None
    assert theirs.lesion is not None
    assert (mine.lesion == theirs.lesion).all()
    assert mine.severity is not None
    assert theirs.severity is not None
    assert (mine.severity - theirs.severity).abs().max() < 1e-5


def test_what_was_folded_left_out_and_doubled_is_printed(invoke: Invoke, world: Path, save_image: Callable[..., Path]) -> None:
    for folder in ("normal", "non-covid"):
        (world / "set" / folder).mkdir(parents=True)
        for i in range(6):
            save_image(world / "set" / folder / f"{i}.png", 0.2 + 0.1 * i + 0.03 * (folder == "normal"))
    (world / "set" / "normal" / "copy.png").write_bytes((world / "set" / "normal" / "0.png").read_bytes())
    (world / "set" / "normal" / "x.webp").write_text("not read")
    result = invoke("data", "set")
    assert result.exit_code == 0, result.stderr
    assert "1 images show the same pixels as others" in result.stdout
    for said in ("labels read as others: non-covid as other_pneumonia", "1 files left out", "1 images are copies of others"):
        assert said in result.stdout
    assert len(json.loads(invoke("data", "set", "--json").stdout)["remarks"]) == 4


def test_odd_masks_unread_ages_and_frames_are_counted(invoke: Invoke, world: Path) -> None:
    """An empty lung mask counts as none, one of other proportions is said, `fifty` is no age, a uniform frame is cut off."""
    folder = world / "set"
    folder.mkdir()
    lungs = Image.new("L", (64, 64))
    lungs.paste(255, (10, 10, 50, 50))
    lungs.save(folder / "lungs.png")
    lungs.resize((64, 32)).save(folder / "wide.png")
    Image.new("L", (64, 64)).save(folder / "empty.png")
    rows = ["path,label,patient_id,split,mask,age"]
    masks = ("lungs", "wide", "empty", "empty", "lungs", "lungs")
    for i, (mask, age) in enumerate(zip(masks, ("58", "fifty", "058Y", ">89", "unknown", ""), strict=True)):
        image = Image.fromarray(np.random.default_rng(i).integers(0, 255, (64, 64), np.uint8))
        ImageOps.expand(image, (8, 0, 0, 0) if i == 4 else 0).save(folder / f"{i}.png")
        rows.append(f"{i}.png,{'normal' if i % 2 else 'covid'},p{i},train,{mask}.png,{age}")
    (folder / "manifest.csv").write_text("\n".join(rows))
    result = invoke("data", "set")
    assert result.exit_code == 0, result.stderr
    for said in (
        "2 images: the lung mask is empty and counts as none",
        "2 images: a mask has other proportions than its image",
        "1 ages are none and count as unknown",
        "1 images lose uniform borders, up to 11% of one",
    ):
        assert said in result.stdout
    assert "wide.png" in result.stderr
    dataset = open_dataset(folder, size=32)
    assert dataset.batch().has_lungs.tolist() == [True, True, False, False, True, True]


def test_one_image_in_two_files_of_two_splits_is_counted(invoke: Invoke, world: Path, save_image: Callable[..., Path]) -> None:
    """The same pixels as PNG and as BMP: other bytes, one image."""
    rows = ["path,label,patient_id,split"]
    for i, (split, kind) in enumerate((("train", "png"), ("test", "bmp"), ("train", "png"))):
        save_image(world / f"{i}.{kind}", 0.3 if i < 2 else 0.6)
        rows.append(f"{i}.{kind},{'covid' if i else 'normal'},p{i},{split}")
    (world / "manifest.csv").write_text("\n".join(rows))
    result = invoke("data", "manifest.csv")
    assert result.exit_code == 0, result.stderr
    assert "1 images show the same pixels as others, 1 of them in two splits" in result.stdout
