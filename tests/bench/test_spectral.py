"""The benchmark of spectral importance: its arms on a small phantom, and its table by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from gan_explain.bench.resample import as_json
from gan_explain.bench.spectral import ARMS, BANDS, Settings, entries, markdown, rows, statistics
from gan_explain.data import Dataset, open_dataset
from gan_explain.types import DataError, Record

SETTINGS = Settings(arch="small", steps=2, spectrum_steps=2, batch_size=4)


@pytest.fixture(scope="module")
def phantoms() -> Dataset:
    return open_dataset("phantom:n=30,covid=0.5", size=32)


def test_every_arm_answers_for_val_and_test(phantoms: Dataset) -> None:
    found = {row["arm"]: row for row in rows(phantoms, 0, SETTINGS)}
    assert set(found) == set(ARMS)
    held = {record.path for record in phantoms.records if record.split != "train"}
    for row in found.values():
        assert set(row["p"]) == held
        assert (row["seed"], row["size"], row["settings"]) == (0, 32, as_json(SETTINGS))
    assert set(found["spectrum"]["bands"]) == set(phantoms.classes)
    assert all(len(bands) == BANDS for bands in found["spectrum"]["bands"].values())
    assert found["none"]["p"] != found["gaussian"]["p"] != found["importance"]["p"]


def test_a_seed_gives_the_same_networks_whatever_arms_are_asked_for(phantoms: Dataset) -> None:
    alone = next(rows(phantoms, 3, SETTINGS, ["none"]))
    beside = {row["arm"]: row for row in rows(phantoms, 3, SETTINGS, ["none", "importance"])}
    assert set(beside) == {"none", "importance"}  # the spectrum network is trained, and not told of
    assert alone["p"] == beside["none"]["p"]
    assert next(rows(phantoms, 4, SETTINGS, ["none"]))["p"] != alone["p"]


def test_filters_with_no_effect_change_nothing(phantoms: Dataset) -> None:
    """Gains of 1 and no blur: three times the same training, up to rounding."""
    still = dataclasses.replace(SETTINGS, low=1.0, high=1.0, sigma=0.0)
    found = {row["arm"]: list(row["p"].values()) for row in rows(phantoms, 0, still)}
    assert found["gaussian"] == pytest.approx(found["none"], abs=2e-3)
    assert found["importance"] == pytest.approx(found["none"], abs=2e-3)


def test_splits_are_needed(phantoms: Dataset) -> None:
    with pytest.raises(DataError, match="expected the splits val and test"):
        next(rows(phantoms.split("train"), 0, SETTINGS))


def records(n: int = 8) -> list[Record]:
    """n patients a split, every other one with covid."""
    return [
        Record(f"{split}{i}.png", ("normal", "covid")[i % 2], f"{split}{i}", split) for split in ("val", "test") for i in range(n)
    ]


def row(arm: str, seed: int, wrong: Sequence[str] = ()) -> dict[str, Any]:
    """0.8 for covid and 0.2 for the rest, but for the images named, which get the other value."""
    return {"arm": arm, "seed": seed, "p": {r.path: 0.8 if (r.label == "covid") != (r.path in wrong) else 0.2 for r in records()}}


def test_measures_are_those_at_the_operating_point_of_val() -> None:
    found = statistics(row("none", 0, ["test1.png", "test3.png", "test0.png"]), records())
    values = {name: float(statistic(np.ones((1, 8)))[0]) for name, (statistic, _) in found.items()}
    assert values == pytest.approx({"balanced accuracy": 0.625, "sensitivity": 0.5, "specificity": 0.75, "AUROC": 0.625})
    assert {name: n for name, (_, n) in found.items()} == {
        "balanced accuracy": 8, "sensitivity": 4, "specificity": 4, "AUROC": 8
    }  # fmt: skip
    shifted = row("none", 0)
    shifted["p"] = {path: p / 4 for path, p in shifted["p"].items()}  # 0.2 and 0.05: all below 0.5
    assert float(statistics(shifted, records())["sensitivity"][0](np.ones((1, 8)))[0]) == 1


def test_differences_are_paired_by_seed_and_by_patient() -> None:
    found = [row("none", seed, ["test1.png"]) for seed in range(4)] + [row("importance", seed) for seed in range(3)]
    by = {(e.arm, e.measure): e for e in entries(found, records(), n_boot=400)}
    none, ours = by["none", "sensitivity"], by["importance", "sensitivity"]
    assert (none.value[0], ours.value[0], none.seeds, ours.seeds, ours.n) == (0.75, 1.0, 4, 3, 4)
    assert none.differences == {}
    value, low, high = ours.differences["none"]
    assert value == pytest.approx(0.25)
    assert 0 <= low < 0.25 < high <= 1  # which patients are drawn
    assert ours.value[1:] == (1.0, 1.0)
    assert by["importance", "specificity"].differences["none"] == (0, 0, 0)
    with pytest.raises(DataError, match="expected results"):
        entries([], records())


def test_seeds_are_resampled_too() -> None:
    """Two seeds, one a third worse on every patient alike: the interval spans both."""
    everyone = [r.path for r in records() if r.split == "test"]
    found = [row("none", 0), row("none", 1), row("gaussian", 0), row("gaussian", 1, everyone)]
    by = {(e.arm, e.measure): e for e in entries(found, records(), n_boot=400)}
    assert by["gaussian", "AUROC"].differences["none"] == (-0.5, -1.0, 0.0)


def test_the_table_has_a_row_an_arm_and_measure() -> None:
    lines = markdown(entries([row("none", 0), row("gaussian", 0), row("importance", 0)], records(), n_boot=20)).splitlines()
    assert len(lines) == 2 + 3 * 4
    assert all(line.count("|") == lines[0].count("|") for line in lines)
    assert lines[0].startswith("| arm | measure | value [95 %] | minus none [95 %] | minus gaussian [95 %] |")
    assert (
        "| importance | sensitivity | 1.000 [1.000, 1.000] | +0.000 [+0.000, +0.000] | +0.000 [+0.000, +0.000] | 1 | 4 |" in lines
    )
