"""Names of measures: one grammar, read in one place; what anybody registers is computed, ordered and labelled like the rest."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from gan_explain.metrics import registry
from gan_explain.metrics.measure import Measure
from gan_explain.metrics.registry import Entry, Key, computations, computes, entries, grouped, ordered, register, statistic_of


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone afterwards."""
    assert entries()
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    monkeypatch.setattr(registry, "_computations", dict(registry._computations))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("rise", Key("rise")),
        ("rise.free", Key("rise", variant="free")),
        ("rise.excess", Key("rise.excess")),
        ("rise.excess.at_2", Key("rise.excess", variant="at_2")),
        ("persistence[jpeg90].healed", Key("persistence", "jpeg90", "healed")),
        ("kid[lite0].counterfactual.negative.floor", Key("kid", "lite0", "counterfactual.negative.floor")),
        ("transfer[torchvision:resnet18#a[1].pth].rises", Key("transfer", "torchvision:resnet18#a[1].pth", "rises")),
        ("nobody.knows", Key("nobody.knows")),
    ],
)
def test_a_text_is_read_as_it_was_written(text: str, key: Key) -> None:
    assert Key.parse(text) == key
    assert str(key) == text


def test_every_measure_has_a_label_and_a_group() -> None:
    for name, entry in entries().items():
        assert entry.label
        assert Key.parse(name) == Key(name)
    assert statistic_of("crossing.lambda.free") is np.median
    assert statistic_of("p") is None


def test_measures_are_ordered_by_group() -> None:
    measures = {name: Measure(0.0) for name in ("sparsity", "nobody.knows", "rise.free", "auroc", "rise")}
    assert list(ordered(measures)) == ["auroc", "rise", "rise.free", "sparsity", "nobody.knows"]
    assert next(iter(grouped(ordered(measures)))) == registry.TELLS


def test_a_measure_of_ones_own_is_computed_on_both_sides(own: None) -> None:
    before = computations("healed")

    @computes(Entry("mine", "a measure of mine", registry.AMOUNT))
    def mine(change: Any) -> Any:
        return change.p

    (found,) = (each for each in computations("healed") if each not in before)
    change = SimpleNamespace(p=torch.ones(2), named=lambda columns: {f"{name}.healed": each for name, each in columns.items()})
    assert found.function(change)["mine.healed"].tolist() == [1, 1]  # type: ignore[arg-type]
    assert Key.parse("mine.healed").label == "a measure of mine (positives, healed)"
    assert not [each for each in computations("negative", quick=True) if each.function is found.function]


def test_names_that_are_taken_or_odd_are_refused(own: None) -> None:
    with pytest.raises(ValueError, match="'rise' is registered already"):
        register(Entry("rise", "something else"))
    for bad in ({"name": "a[b]"}, {"name": ""}, {"name": "a", "group": "Fun"}):
        with pytest.raises(ValueError, match="expected a measure with a plain name"):
            Entry(**{"label": "", **bad})
