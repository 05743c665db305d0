"""Folds: everybody in one, nobody in two, and nobody measured by a model that saw them."""

from __future__ import annotations

import pytest

from gan_explain.progression.folds import folds_of, held_out
from gan_explain.types import Record

PATIENTS = [f"p{i}" for i in range(11)]


def test_folds_are_even_and_stay() -> None:
    folds = folds_of(PATIENTS, 3)
    assert sorted(folds) == sorted(PATIENTS)
    sizes = [list(folds.values()).count(i) for i in range(3)]
    assert sorted(sizes) == [3, 4, 4]
    assert folds_of(reversed(PATIENTS), 3) == folds
    assert folds_of(PATIENTS, 3, seed=1) != folds
    for count in (1, 12):
        with pytest.raises(ValueError, match="2 to 11 folds"):
            folds_of(PATIENTS, count)


def test_a_fold_is_tested_and_the_others_train() -> None:
    patients = zip(PATIENTS, ("train", "val", "test") * 4, strict=False)
    records = [Record(f"{name}/{i}", "covid", name, split) for name, split in patients for i in range(2)]
    folds = folds_of(PATIENTS[:6], 2)
    tested: list[str] = []
    for fold in (0, 1):
        split = {record.patient_id: record.split for record in held_out(records, folds, fold)}
        mine = [name for name in PATIENTS[:6] if split[name] == "test"]
        assert all(folds[name] == fold for name in mine)
        assert all(split[name] == "train" for name in PATIENTS[:6] if name not in mine)
        assert all(split[record.patient_id] == record.split for record in records if record.patient_id not in folds)
        tested += mine
    assert sorted(tested) == PATIENTS[:6]
