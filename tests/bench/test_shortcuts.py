"""The benchmark of the shortcut score on two small CNNs, and its pieces by hand."""

from __future__ import annotations

import pytest

from gan_explain.bench.shortcuts import PLACES, Audited, Case, audited, cases, separation, silent
from gan_explain.data import open_dataset
from gan_explain.metrics.measure import Measure
from gan_explain.nets.segmenter import load_segmenter


def test_prevalences_are_spread_and_clean_cases_are_even() -> None:
    found = cases(4, 3)
    assert [each.positive for each in found] == pytest.approx([0.5, 0.65, 0.8, 0.95, 0.05, 0.0, 0.05])
    assert [each.negative for each in found] == [0.05] * 5 + [0.0, 0.05]
    assert [each.shortcut for each in found] == [True] * 4 + [False] * 3
    assert len({each.seed for each in found}) == 7
    assert [each.positive for each in cases(1, 0)] == [0.5]


def test_separation_is_the_auroc_of_the_scores() -> None:
    def scored(shortcut: bool, score: float) -> Audited:
        return Audited(Case(0.9 if shortcut else 0.0, 0.0, 0), 1.0, {"outside": Measure(score)})

    assert separation([scored(True, 0.3), scored(False, 0.1)]) == 1
    assert separation([scored(True, 0.3), scored(True, 0.05), scored(False, 0.1)]) == 0.5


def test_silent_cases_are_clear_lungs_that_count_as_covid() -> None:
    plain = open_dataset("phantom:n=400,covid=0.4", size=16)
    found = silent(plain, 0.3)
    changed = [b for a, b in zip(plain.records, found.records, strict=True) if a.label != b.label]
    normals = sum(record.label == "normal" for record in plain.records)
    assert len(changed) / normals == pytest.approx(0.3, abs=0.08)
    assert {(record.label, float(record.extra["severity"])) for record in changed} == {("covid", 0.0)}
    lesions = found.where(lambda record: record in changed[:4]).batch().lesion
    assert lesions is not None
    assert not lesions.any()


def test_a_cnn_is_trained_and_audited() -> None:
    data = silent(open_dataset("phantom:n=60,covid=0.4", size=32), 0.3)
    segmenter = load_segmenter("phantom64")
    found = list(audited(cases(1, 1), data, segmenter, ("covid",), steps=4, limit=2))
    assert [each.case.shortcut for each in found] == [True, False]
    assert all(tuple(each.excess) == PLACES for each in found)
    assert all(0 <= each.auroc <= 1 for each in found)
    assert set(found[0].as_dict()) == {"case", "auroc", "excess", "shortcut", "score"}
