"""`gan-explain data`: counts, and an export that opens again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

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
    for said in ("labels read as others: non-covid as other_pneumonia", "1 files left out", "1 images are copies of others"):
        assert said in result.stdout
    assert len(json.loads(invoke("data", "set", "--json").stdout)["remarks"]) == 3
