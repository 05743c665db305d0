"""The benchmark of synthetic positives: regimes, cells, arms on two small phantoms' worth of training, and the table by hand."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gan_explain.augment.synthesise import Synthetic
from gan_explain.bench.augment import ARMS, Case, Fixed, Settings, hold, mixed, rows
from gan_explain.bench.augment_table import entries, markdown
from gan_explain.bench.few import few_positives, shares
from gan_explain.bench.resample import append, auroc_of, patient_weights, read_rows
from gan_explain.data import Dataset, open_dataset
from gan_explain.nets.generator import Disentangler, GeneratorConfig
from gan_explain.nets.segmenter import load_segmenter
from gan_explain.stats import auroc
from gan_explain.train.sampling import BalancedSampler
from gan_explain.train.training import stream
from gan_explain.types import DataError, Record


@pytest.fixture(scope="module")
def phantoms() -> Dataset:
    return open_dataset("phantom:n=60,covid=0.5", size=32)


def test_a_regime_has_all_negatives_and_few_positives(phantoms: Dataset) -> None:
    train = phantoms.split("train")
    few, more, other = (few_positives(train, n, seed) for n, seed in ((4, 0), (8, 0), (4, 1)))
    negatives = [record for record in train.records if record.label == "normal"]
    assert [r for r in few.records if r.label == "normal"] == negatives
    assert Counter(record.label for record in few.records)["covid"] == 4
    paths = [{record.path for record in each.records} for each in (few, more, other)]
    assert paths[0] < paths[1]  # the same seed: larger regimes hold the smaller
    assert paths[0] != paths[2]
    with pytest.raises(DataError, match="1 to 20 training images"):
        few_positives(train, 22, 0)


def test_patients_come_whole() -> None:
    records = [Record(f"{i}.png", "covid", f"p{i // 3}", "train") for i in range(12)]
    data = open_dataset("phantom:n=10", size=16)
    few = few_positives(Dataset(data.root, records, data.memory), 7, 0)
    assert sorted(Counter(record.patient_id for record in few.records).values()) == [1, 3, 3]


def test_draws_come_in_the_given_shares() -> None:
    keys = ["negative"] * 50 + ["real"] * 3 + ["synthetic"] * 20
    random = torch.Generator().manual_seed(0)
    drawn = Counter(keys[i] for i in BalancedSampler(keys, random, shares=shares(0.25)).draw(8000))
    assert {name: n / 8000 for name, n in drawn.items()} == pytest.approx(
        {"negative": 0.5, "real": 0.375, "synthetic": 0.125}, abs=0.02
    )
    assert sum(shares(0.3).values()) == pytest.approx(1)
    alone = BalancedSampler(["negative", "real"], random, shares=shares(0))
    assert alone.weights.tolist() == [0.5, 0.5]


def test_a_stream_leaves_the_process_where_it_was() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with stream(1):
        first = torch.rand(3)
    with stream(1):
        assert (torch.rand(3) == first).all()
    assert (torch.get_rng_state() == before).all()


def synthetic(name: str, count: int) -> list[Synthetic]:
    record = Record("a.png", "normal", "p", "train")
    return [Synthetic(torch.zeros(1, 4, 4), torch.ones(1, 4, 4), record, 1.0, name, 0)] * count


def test_generators_count_alike_in_a_mixture() -> None:
    kinds = Counter(each.generator for each in mixed([synthetic("gan", 5), synthetic("cyclegan", 3)]))
    assert kinds == {"gan": 3, "cyclegan": 3}
    assert len(mixed([synthetic("gan", 5), []])) == 5
    assert mixed([[]]) == []


TINY = Settings(steps=3, batch_size=4, cyclegan_steps=2, cyclegan_width=8, count=3, least_dice=0.0)


@pytest.fixture(scope="module")
def given() -> Fixed:
    """The phantom's segmenter, and an untrained generator that reads a layer on everything."""
    torch.manual_seed(0)
    generator = Disentangler(GeneratorConfig(resolution=32, grid=16, backbone="small", width=8, layer_width=8, code_dim=8))
    torch.nn.init.constant_(generator.reader.head.bias, -0.5)  # type: ignore[arg-type]
    return Fixed(load_segmenter("phantom64"), generator.eval().requires_grad_(False))


@pytest.fixture(scope="module")
def results(phantoms: Dataset, given: Fixed) -> list[dict[str, Any]]:
    return list(rows(Case(4, 0), phantoms.split("train"), hold(phantoms, given.segmenter), given, TINY))


def test_every_arm_answers_for_every_held_out_image(phantoms: Dataset, results: list[dict[str, Any]]) -> None:
    held = {record.path for record in phantoms.records if record.split != "train"}
    assert [row["arm"] for row in results] == list(ARMS)
    for row in results:
        assert (row["images"], row["seed"]) == (4, 0)
        assert set(row["p"]) == held
        assert all(0 <= p <= 1 for p in row["p"].values())
        assert set(row["dosed"]) == {r.path for r in phantoms.split("test").records if r.label == "normal"}
        assert all(len(each) == len(row["doses"]) for each in row["dosed"].values())
        json.dumps(row)
    assert set(results[4]["synthetic"]) == {"cyclegan", "gan"}
    assert results[1]["synthetic"] == {}


@pytest.mark.parametrize("arm", ["cyclegan", "gan"])
def test_arms_alone_are_what_they_are_among_others(
    phantoms: Dataset, given: Fixed, results: list[dict[str, Any]], arm: str
) -> None:
    """What an interrupted benchmark makes up for is what it would have made."""
    held = hold(phantoms, given.segmenter)
    (alone,) = rows(Case(4, 0), phantoms.split("train"), held, given, TINY, [arm])
    assert alone["p"] == results[ARMS.index(arm)]["p"]


def test_a_cut_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    assert read_rows(path) == []
    append(path, {"a": 1})
    append(path, {"a": 2})
    path.write_bytes(path.read_bytes()[:-4])
    assert read_rows(path) == [{"a": 1}]


RECORDS = [
    *(Record(f"n{i}.png", "normal", f"n{i}", "test", "nih") for i in range(10)),
    *(Record(f"c{i}.png", "covid", f"c{i}", "test", "ieee") for i in range(10)),
    *(Record(f"o{i}.png", "other_pneumonia", f"o{i}", "test", "ieee") for i in range(4)),
    *(Record(f"v{i}.png", "normal", f"v{i}", "val", "nih") for i in range(10)),
]


def result(arm: str, seed: int, found: int, rise: float) -> dict[str, Any]:
    """`found` of ten covid images at p = 0.9, the others at 0.3; negatives at 0.2, one at 0.6."""
    p = {record.path: 0.2 for record in RECORDS} | {"n0.png": 0.6}
    p |= {f"c{i}.png": 0.9 if i < found else 0.3 for i in range(10)} | {f"o{i}.png": 0.9 for i in range(4)}
    dosed = {f"n{i}.png": [0.2, 0.2 + rise] for i in range(10)}
    return {"images": 20, "seed": seed, "arm": arm, "p": p, "doses": [0.0, 1.0], "dosed": dosed}


def test_table_of_known_results() -> None:
    given = [result("classical", 0, 4, -0.1), result("classical", 1, 6, -0.1), result("gan", 0, 7, 0.1), result("gan", 1, 9, 0.1)]
    found = {(e.arm, e.measure): e for e in entries([*given, result("none", 7, 1, 0)], RECORDS, n_boot=200)}
    sensitivity = found["gan", "sensitivity"]
    assert (sensitivity.value[0], sensitivity.difference[0]) == pytest.approx((0.8, 0.3))
    assert 0 < sensitivity.difference[1] < 0.3 < sensitivity.difference[2] < 0.7
    assert (sensitivity.seeds, sensitivity.n) == (2, 10)
    assert found["gan", "specificity"].value[0] == pytest.approx(0.9)
    assert found["gan", "balanced accuracy"].value[0] == pytest.approx(0.85)
    # all ten are above the 0.2 of the validation negatives
    assert found["gan", "sensitivity at 90% specificity on val"].value[0] == pytest.approx(1)
    assert found["gan", "specificity there"].value[0] == pytest.approx(0.9)
    # 0.9 beats all, 0.3 all but one negative: (8 * 10 + 2 * 9) / 100
    assert found["gan", "AUROC"].value[0] == pytest.approx(0.98)
    # within the source of covid: ties with the four others count half
    assert found["gan", "AUROC within source"].value[0] == pytest.approx(0.4)
    assert found["gan", "AUROC within source"].n == 14
    assert found["gan", "opacity probe, slope"].value[0] == pytest.approx(0.1)
    assert found["classical", "opacity probe, rises"].value[0] == 0
    assert found["gan", "opacity probe, rises"].difference == (1, 1, 1)
    assert ("none", "sensitivity") not in found  # no reference of its seed
    classical = found["classical", "AUROC"]
    assert classical.difference == (0, 0, 0)
    text = markdown(list(found.values()))
    assert "| 20 | gan | sensitivity | 0.800 [" in text
    assert len({line.count("|") for line in text.splitlines()}) == 1
    with pytest.raises(DataError, match="expected results"):
        entries([], RECORDS)


def test_weighted_auroc_is_the_auroc_of_the_resample() -> None:
    random = np.random.default_rng(0)
    p, positive = random.integers(0, 6, 30) / 6, random.random(30) < 0.4
    weights = patient_weights([f"{i // 2}" for i in range(30)], 5, 0)
    got = auroc_of(p, positive, np.ones(30, bool))(weights)
    for row, value in zip(weights.astype(int), got, strict=True):
        index = np.repeat(np.arange(30), row)
        assert value == pytest.approx(auroc(p[index], positive[index]))
