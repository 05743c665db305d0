"""Healed images before a classifier: lungs whose disease is known, read by generators that see all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gan_explain.bench import healed as bench
from gan_explain.bench.healed import Row, measured, measures
from gan_explain.data import Dataset, open_dataset
from gan_explain.data.dataset import Compact, Memory, compact
from gan_explain.evaluate.within_source import KINDS, Judge, judge_of, kind_of, part, usable_sources
from gan_explain.metrics.logistic import Logistic
from gan_explain.metrics.measure import Measure
from gan_explain.optics import bounded, compose
from gan_explain.types import SPLITS, DataError, Record

SIZE = 32
POSITIVE = ("pneumonia",)
CPU = torch.device("cpu")
TAU = 0.5


def lungs_of(images: Tensor) -> Tensor:
    """Two lungs."""
    lungs = torch.zeros_like(images)
    lungs[..., 6:26, 4:14] = 1
    lungs[..., 6:26, 18:28] = 1
    return lungs


def lesion(images: Tensor) -> Tensor:
    """TAU in the lower half of the lung on the left, (N, 1, H, W)."""
    tau = torch.zeros_like(images)
    tau[..., 16:26, 4:14] = TAU
    return tau


def render(record: Record, size: int) -> Compact:
    """Gray noise; in the diseased under the lesion."""
    noise = torch.Generator().manual_seed(int(record.path))
    clear = 0.4 + 0.02 * torch.randn(1, 1, size, size, generator=noise)
    sick = kind_of(record, POSITIVE) == "diseased"
    return compact((compose(clear, lesion(clear)) if sick else clear)[0])


class Reads:
    """A generator that reads what a function makes of the images."""

    def __init__(self, make: Callable[[Tensor], Tensor]) -> None:
        self.make = make

    def read(self, images: Tensor, lungs: Tensor) -> Tensor:
        return bounded(self.make(images), images)


def all_of_it(images: Tensor) -> Tensor:
    """The lesion, where it is."""
    there = images[..., 16:26, 4:14].mean((2, 3), keepdim=True) > 0.5
    return lesion(images) * there * 0.999


def patches(images: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(images, 4).flatten(1)


def listed(source: str, each: int, first: int = 0) -> Iterator[Record]:
    """`each` normal and `each` diseased images in every split, two of a patient."""
    number = first
    for split in SPLITS:
        for label in ("normal", "viral_pneumonia"):
            for i in range(each):
                yield Record(str(number), label, f"{source} {split} {label} {i // 2}", split, source)
                number += 1


@pytest.fixture(scope="module")
def data() -> Dataset:
    records = [*listed("a", 12), *listed("b", 5, 1000), Record("5000", "covid", "q", "test", "a")]
    return Dataset(bench.__file__, records, Memory(render, SIZE))  # type: ignore[arg-type]


def rows_of(data: Dataset, make: Callable[[Tensor], Tensor], batch_size: int = 8) -> list[Row]:
    parts = [part(data, "a", split, POSITIVE) for split in SPLITS]
    found = judge_of(parts[0], parts[1], patches, POSITIVE, CPU)
    generator = Reads(make)
    given = parts[2], found, generator, lungs_of, patches, POSITIVE
    return list(measured(*given, batch_size=batch_size))  # type: ignore[arg-type]


def value(found: dict[str, dict[str, Measure]], name: str) -> Any:
    return found["a"][name].value


def test_what_is_healed_in_its_place_looks_normal_and_a_random_layer_does_less(data: Dataset) -> None:
    rows = rows_of(data, all_of_it)
    assert [row.kind for row in rows] == ["normal"] * 12 + ["diseased"] * 12  # covid is neither
    found = measures(rows, n_boot=100)
    assert list(found) == ["a"]
    assert value(found, "auroc") == value(found, "called_normal.normal") == 1
    assert value(found, "called_normal.diseased") == 0
    assert value(found, "called_normal.diseased.healed") == 1
    assert value(found, "called_normal.diseased.healed - as it is") == 1
    assert value(found, "auroc.healed") == pytest.approx(0.5, abs=0.3)
    assert value(found, "called_normal.diseased.random") < 0.5
    assert value(found, "p.diseased.healed - random") < -0.3
    assert value(found, "p.diseased.healed - as it is") == pytest.approx(
        value(found, "p.diseased.healed") - value(found, "p.diseased")
    )
    assert value(found, "load.diseased") == pytest.approx(TAU / 4, rel=0.05)  # of the lungs
    assert value(found, "load.diseased.random") == pytest.approx(value(found, "load.diseased"), rel=1e-3)
    assert value(found, "load.normal") == 0
    assert value(found, "p.normal.healed - as it is") == value(found, "p.normal.random - as it is") == 0
    interval = found["a"]["called_normal.normal"]
    assert (interval.low, interval.high, interval.n) == (1, 1, 12)


def test_a_generator_that_reads_nothing_heals_nothing(data: Dataset) -> None:
    found = measures(rows_of(data, torch.zeros_like), n_boot=100)
    for kind in KINDS:
        for a in ("healed - as it is", "random - as it is", "healed - random"):
            assert found["a"][f"p.{kind}.{a}"] == Measure(0, 0, 0, found["a"][f"p.{kind}.{a}"].n)
    assert found["a"]["auroc"] == found["a"]["auroc.healed"] == found["a"]["auroc.random"]


def test_rows_do_not_depend_on_the_batch(data: Dataset) -> None:
    one, many = rows_of(data, all_of_it, 1), rows_of(data, all_of_it, 24)
    assert [row.path for row in one] == [row.path for row in many]
    assert [row.p_random for row in one] == pytest.approx([row.p_random for row in many], abs=1e-5)


def test_figures_by_hand() -> None:
    def row(kind: str, p: float, healed: float, random: float, source: str = "a") -> Row:
        return Row("x", f"{kind} {p}", source, kind, 0.2, 0.1, 0.5, p, healed, random)

    rows = [row("normal", 0.1, 0.1, 0.1), row("normal", 0.5, 0.4, 0.3)]  # on the threshold is diseased
    rows += [row("diseased", 0.9, 0.3, 0.8), row("diseased", 0.4, 0.2, 0.4)]
    found = measures([*rows, row("normal", 0.9, 0.9, 0.9, "b")], n_boot=20)
    assert list(found) == ["a", "b"]
    expected = {
        "auroc": 0.75, "auroc.healed": 0.5, "auroc.random": 0.75,
        "called_normal.normal": 0.5, "called_normal.normal.healed": 1, "called_normal.diseased": 0.5,
        "called_normal.diseased.healed": 1, "called_normal.diseased.random": 0.5,
        "called_normal.diseased.healed - as it is": 0.5, "called_normal.diseased.healed - random": 0.5,
        "p.diseased": 0.65, "p.diseased.healed": 0.25, "p.diseased.healed - as it is": -0.4,
        "p.diseased.random - as it is": -0.05, "load.diseased": 0.2, "load.diseased.random": 0.1,
    }  # fmt: skip
    for name, each in expected.items():
        assert value(found, name) == pytest.approx(each), name
    assert found["b"]["auroc"] == Measure.missing("needs both classes")
    assert found["b"]["p.diseased"] == Measure.missing("no such image")


def test_the_classifier_is_fitted_to_train_and_set_on_val(data: Dataset) -> None:
    parts = [part(data, "a", split, POSITIVE) for split in SPLITS]
    found = judge_of(parts[0], parts[1], patches, POSITIVE, CPU, batch_size=5)
    assert (found.train, found.val) == (24, 24)
    assert 0 < found.threshold < 1
    assert set(found.as_dict()) == {"train", "val", "penalty", "threshold"}
    batch = parts[0].batch()
    assert found.model.mean == pytest.approx(patches(batch.images).double().numpy().mean(0))
    assert isinstance(found, Judge)
    assert isinstance(found.model, Logistic)


def test_sources_need_both_classes_in_every_split(data: Dataset) -> None:
    assert usable_sources(data, POSITIVE) == ("a", "b")
    assert usable_sources(data, POSITIVE, ("b",)) == ("b",)
    fewer = data.where(lambda r: r.path != "1000")
    assert usable_sources(fewer, POSITIVE) == ("a",)
    with pytest.raises(DataError, match="b: expected at least 5 normal images in train, got 4"):
        usable_sources(fewer, POSITIVE, ("a", "b"))
    with pytest.raises(DataError, match="nowhere: expected at least 5 diseased images in test, got 0"):
        usable_sources(data, POSITIVE, ("nowhere",))
    with pytest.raises(DataError, match="expected a source with 5 normal and 5 diseased images in each split, got none"):
        usable_sources(data, ("tuberculosis",))


def test_a_part_is_drawn_by_its_seed(data: Dataset) -> None:
    whole, few, other = (part(data, "a", "test", POSITIVE, limit, seed) for limit, seed in ((None, 0), (5, 0), (5, 1)))
    assert len(whole) == 24
    kinds = [kind_of(record, POSITIVE) for record in few.records]
    assert (kinds.count("normal"), kinds.count("diseased")) == (5, 5)
    assert {r.path for r in few.records} < {r.path for r in whole.records}
    assert few.records != other.records
    assert {r.source for r in few.records} == {"a"}
    assert {r.split for r in few.records} == {"test"}


def test_phantoms_with_covid_as_the_disease() -> None:
    phantoms = open_dataset("phantom:n=120,covid=0.5", size=SIZE)
    (source,) = usable_sources(phantoms, ("covid",))
    parts = [part(phantoms, source, split, ("covid",)) for split in SPLITS]
    found = judge_of(parts[0], parts[1], patches, ("covid",), CPU)
    rows = list(measured(parts[2], found, Reads(all_of_it), lungs_of, patches, ("covid",)))  # type: ignore[arg-type]
    assert len(rows) == len(parts[2])
    assert all(0 <= p <= 1 for row in rows for p in (row.p, row.p_healed, row.p_random))
    assert np.isfinite([row.load for row in rows]).all()
