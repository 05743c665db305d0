"""Recipes: who gives what to whom, drawn by name and seed."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest

from gan_explain.repair.plan import NONE, exchanged, layered, normals, some, transplanted
from gan_explain.types import Record

RECORDS = [
    Record(f"{source}{label}{i}", label, f"{source} {i // 2}", "train", source)
    for source, label, i in product("ab", ("normal", "covid"), range(20))
]
POSITIVES = {i: "covid" for i, record in enumerate(RECORDS) if record.label == "covid"}
NORMALS = [i for i in range(len(RECORDS)) if i not in POSITIVES]


def drawn(seed: int = 0, prior: float = 0.25, label: str | None = "covid", donors: dict[int, str] = POSITIVES) -> list:  # type: ignore[type-arg]
    return layered(RECORDS, donors, NORMALS, span=(0.7, 2.5), prior=prior, prior_label=label, seed=seed)


def test_every_normal_gets_one_layer_of_another_patient_from_any_source() -> None:
    found = drawn(prior=0.0)
    assert [recipe.base for recipe in found] == NORMALS
    assert {recipe.label for recipe in found} == {"covid"}
    assert all(RECORDS[recipe.donor].patient_id != RECORDS[recipe.base].patient_id for recipe in found)
    pairs = Counter((RECORDS[recipe.base].source, RECORDS[recipe.donor].source) for recipe in found)
    assert set(pairs) == set(product("ab", "ab"))
    assert 0.7 <= min(recipe.strength for recipe in found) < 1.2
    assert 2.0 < max(recipe.strength for recipe in found) <= 2.5


def test_a_share_is_of_the_prior_and_all_where_there_is_no_donor() -> None:
    found = drawn()
    assert 3 <= sum(recipe.donor == NONE for recipe in found) <= 18
    assert {recipe.donor for recipe in drawn(donors={})} == {NONE}
    assert drawn(label=None, donors={}) == []
    assert all(recipe.donor != NONE for recipe in drawn(label=None))


def test_a_layer_is_taught_as_its_donors_class() -> None:
    donors = {i: "covid" if RECORDS[i].source == "a" else "pneumonia" for i in POSITIVES}
    for recipe in drawn(prior=0.0, donors=donors):
        assert recipe.label == donors[recipe.donor]


def test_what_is_drawn_for_an_image_follows_from_its_name_and_the_seed() -> None:
    assert drawn() == drawn()
    assert drawn() != drawn(seed=1)
    fewer = layered(RECORDS, POSITIVES, NORMALS[::-3], span=(0.7, 2.5), prior=0.25, prior_label="covid", seed=0)
    assert {recipe.base: recipe for recipe in drawn()}.items() >= {recipe.base: recipe for recipe in fewer}.items()


def test_outsides_come_from_every_other_pair_of_source_and_class() -> None:
    found = transplanted(RECORDS, range(len(RECORDS)), 0)
    assert [(recipe.base, recipe.label) for recipe in found] == [(i, record.label) for i, record in enumerate(RECORDS)]
    for recipe in found:
        ours, theirs = RECORDS[recipe.base], RECORDS[recipe.outside]
        assert (ours.source, ours.label) != (theirs.source, theirs.label)
        assert ours.patient_id != theirs.patient_id
    cells = Counter((RECORDS[recipe.outside].source, RECORDS[recipe.outside].label) for recipe in found)
    assert len(cells) == 4
    assert min(cells.values()) >= 12


def test_two_classes_that_are_two_sources_exchange_their_outsides() -> None:
    """Beside the real images, as many: the outside says nothing of the label."""
    apart = [record for record in RECORDS if (record.source, record.label) in (("a", "normal"), ("b", "covid"))]
    found = transplanted(apart, range(len(apart)), 0)
    assert all(apart[recipe.outside].label != recipe.label for recipe in found)


def test_one_cell_alone_has_no_partner() -> None:
    assert transplanted(RECORDS[:20], range(20), 0) == []


def test_a_share_of_layered_images_get_another_outside() -> None:
    before, after = drawn(), exchanged(drawn(), RECORDS, 0.5, 0)
    changed = [b for a, b in zip(before, after, strict=True) if a != b]
    assert len(changed) / len(after) == pytest.approx(0.5, abs=0.25)
    assert all(recipe.outside != NONE for recipe in changed)
    assert exchanged(before, RECORDS, 0.0, 0) == before


def test_normals_are_those_that_are_called_so_else_all_that_are_not_positive() -> None:
    other = [*RECORDS, Record("x", "pneumonia", "x", "train", "a")]
    assert normals(other, lambda record: record.label == "covid") == NORMALS
    unnamed = [Record(str(i), label, str(i), "train") for i, label in enumerate(("no_finding", "covid"))]
    assert normals(unnamed, lambda record: record.label == "covid") == [0]


def test_the_most_of_each_source() -> None:
    few = some(RECORDS, list(POSITIVES), 3, seed=0)
    assert Counter(RECORDS[i].source for i in few) == {"a": 3, "b": 3}
    assert few == sorted(few)
    assert set(few) <= set(POSITIVES)
