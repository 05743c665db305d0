"""Agreement within patients: what differs between patients does not count."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from gan_explain.cli.folder import jsonable
from gan_explain.data import Dataset
from gan_explain.progression import PAIRS, Models, Progression, Visit, agreement, as_json, csv_table, measure_all
from gan_explain.progression.agreement import correlation, rank_sums
from gan_explain.types import Record

NOTHING = torch.empty(1, 0, 0)


def patient(name: str, load: Sequence[float], p: Sequence[float], split: str = "test", heat: str = "") -> Progression:
    """A patient of whom only load and p are interesting; the area does not change."""
    visits = tuple(
        Visit(
            Record(f"{name}/{i}", "covid", name, split),
            float(i),
            b,
            (1 - b, b),
            a,
            1.0,
            math.nan if heat else a,
            *[NOTHING] * 4,
        )
        for i, (a, b) in enumerate(zip(load, p, strict=True))
    )
    return Progression(name, split, visits, ("normal", "covid"), ("covid",), 0.5, heat)


def test_rises_within_patients_count_and_levels_do_not() -> None:
    """Within each patient they rise together; over all of them they fall."""
    group = [patient(str(k), [9 - k, 9.1 - k, 9.2 - k], [0.1 * k, 0.1 * k + 0.01, 0.1 * k + 0.02]) for k in range(6)]
    found = agreement(group)
    for name in ("opacity_load~probability", "opacity_load~probability.pooled"):
        assert found[name].value == pytest.approx(1)
        assert found[name].low == pytest.approx(1)
        assert found[name].n == 6
    assert (
        spearmanr(
            [v for each in group for v in each.series("opacity_load")], [v for g in group for v in g.series("probability")]
        )[0]
        < -0.8
    )


def test_no_relation_has_an_interval_around_zero(random: np.random.Generator) -> None:
    group = [patient(str(k), random.random(4), random.random(4)) for k in range(60)]
    for name in ("opacity_load~probability", "opacity_load~probability.pooled"):
        found = agreement(group)[name]
        assert found.low < 0 < found.high
        assert found.high - found.low < 0.5


def test_one_patient_pooled_is_spearman(random: np.random.Generator) -> None:
    a, b = random.random(7), random.random(7)
    assert correlation(np.array(rank_sums(a, b))) == pytest.approx(spearmanr(a, b)[0])
    assert all(math.isnan(value) for value in rank_sums([1, 1, 1], [1, 2, 3]))
    assert all(math.isnan(value) for value in rank_sums([1, math.nan, 2], [1, 2, 3]))


def test_splits_are_told_apart_and_what_is_short_is_left_out() -> None:
    group = [
        patient("a", [0, 1, 2], [0.1, 0.2, 0.3]),
        patient("b", [0, 1, 2], [0.3, 0.2, 0.1], "train"),
        patient("c", [0, 1], [0, 1]),
    ]
    found = agreement(group)["opacity_load~probability"]
    assert found.value == pytest.approx(0)
    assert found.n == 2
    assert found.by["test"].value == pytest.approx(1)
    assert found.by["train"].value == pytest.approx(-1)


def test_what_cannot_be_measured_is_null_with_its_reason() -> None:
    group = [patient("a", [0, 1, 2], [0.1, 0.2, 0.3], heat="no gradients")]
    found = agreement(group)
    assert found["grad_cam_area~probability"].value is None
    assert found["grad_cam_area~probability"].reason == "no gradients"
    constant = agreement([patient("a", [1, 1, 1], [0.1, 0.2, 0.3])])["opacity_load~probability"]
    assert constant.value is None
    assert "changes" in str(constant.reason)
    said = as_json(group[0], PAIRS)
    assert said["spearman"]["grad_cam_area~probability"] == {"value": None, "reason": "no gradients"}
    assert said["spearman"]["opacity_area~probability"]["reason"] == "a measure does not change"
    assert said["visits"][0]["grad_cam_area"] is None
    assert json.dumps(jsonable(said), allow_nan=False)
    assert as_json(patient("c", [0, 1], [0, 1]), PAIRS)["spearman"]["opacity_load~probability"]["reason"] == "fewer than 3 days"


def test_the_table_has_a_row_a_radiograph(parts: Models, course: Callable[..., Dataset]) -> None:
    found = list(measure_all(parts, course(a=[(0, 0.0), (1, 1.0), (2, 2.0)], b=[(0, 0.5), (3, 1.0), (5, 0.0)])))
    rows = csv_table(found).splitlines()
    assert rows[0].startswith("patient_id,split,path,label,offset_days,probability,opacity_load,")
    assert rows[0].endswith("p(normal),p(covid)")
    assert len(rows) == 7
    assert rows[4].split(",")[:5] == ["b", "test", "b/0.png", "covid", "0"]
    measured = agreement(found)
    assert measured["opacity_load~probability"].value == pytest.approx(1)
    assert csv_table([patient("x", [0, 1, 2], [0, 1, 1], heat="none")]).splitlines()[1].split(",")[8] == ""
    kept = found[0].without_pictures()
    assert kept.series("opacity_load") == found[0].series("opacity_load")
    assert kept.visits[0].image.numel() == 0
