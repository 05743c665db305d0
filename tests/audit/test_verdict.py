"""Verdicts of measures made by hand: an interval decides, and what is not known is left open."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from gan_explain.audit.checks import check, movement
from gan_explain.audit.document import as_json
from gan_explain.audit.thresholds import IDS, QUESTIONS, Limit
from gan_explain.audit.verdict import decide, failing
from gan_explain.metrics.measure import Measure


def answers(measures: dict[str, Any], **options: Any) -> dict[str, str]:
    verdict = decide(measures, **{"judges": ["judge"], **options})
    assert [each.id for each in verdict] == list(IDS)
    json.dumps(as_json(verdict), allow_nan=False)
    return {each.id: each.answer for each in verdict}


def why(measures: dict[str, Any], which: str, **options: Any) -> str:
    verdict = decide(measures, **{"judges": ["judge"], **options})
    return next(each.why for each in verdict if each.id == which)


@pytest.mark.parametrize(
    ("relation", "low", "high", "answer"),
    [
        ("at least", 0.5, 0.6, "pass"),
        ("at least", 0.4, 0.6, "abstain"),
        ("at least", 0.3, 0.49, "fail"),
        ("at most", 0.3, 0.5, "pass"),
        ("at most", 0.3, 0.6, "abstain"),
        ("at most", 0.51, 0.6, "fail"),
        ("more than", 0.5, 0.6, "abstain"),
        ("more than", 0.51, 0.6, "pass"),
        ("more than", 0.4, 0.5, "fail"),
        ("within", -0.5, 0.5, "pass"),
        ("within", -0.9, -0.6, "fail"),
        ("within", 0.6, 0.9, "fail"),
        ("within", -0.6, 0.1, "abstain"),
    ],
)
def test_the_interval_decides(made: SimpleNamespace, relation: Any, low: float, high: float, answer: str) -> None:
    found = check(Limit("x", relation, 0.5, "x"), made.m((low + high) / 2, low, high))
    assert found.answer == answer
    assert (not found.reason) == (answer != "abstain")


def test_what_is_not_known_is_open_and_says_why(made: SimpleNamespace) -> None:
    limit = Limit("x", "at least", 0.5, "x")
    assert check(limit, None).reason == "it was not measured"
    assert check(limit, made.null("no judges")).reason == "no judges"
    assert check(limit, Measure(1.0, n=50)).reason == "it has no interval"
    assert check(limit, made.m(1.0, 0.9, 1.0, n=9)).reason == "it rests on 9 images, at least 10 are needed"


def test_all_of_few_images_is_less_sure_than_all_of_many(made: SimpleNamespace) -> None:
    limit = Limit("x", "at least", 0.9, "x", share=True)
    assert check(limit, made.m(1.0, n=35)).found.low == pytest.approx(0.025 ** (1 / 35))  # .8999: Clopper and Pearson's bound
    assert [check(limit, made.m(1.0, n=n)).answer for n in (35, 36)] == ["abstain", "pass"]
    assert check(limit, replace(made.m(1.0, n=1000), patients=12)).answer == "abstain"  # patients are the unit where known
    none = check(Limit("x", "at most", 0.1, "x", share=True), made.m(0.0, n=20))
    assert (none.found.high, none.answer) == (pytest.approx(1 - 0.025 ** (1 / 20)), "abstain")
    assert check(Limit("x", "at least", 0.9, "x"), made.m(1.0, n=20)).answer == "pass"  # no share: taken as it is


def test_a_good_target_passes_everything(made: SimpleNamespace) -> None:
    assert set(answers(made.balanced()).values()) == {"pass"}


def test_a_source_detector_is_found_though_its_auroc_says_nothing(made: SimpleNamespace) -> None:
    found = answers(made.naive(), has_free=True)
    assert [name for name in IDS if found[name] == "fail"] == ["opacities", "outside", "sources"]
    assert found["informed"] == "abstain"
    assert "specificity in b is 0.4 % [0, 1]" in why(made.naive(), "sources")


@pytest.mark.parametrize("name", ["constant", "untrained"])
def test_a_target_that_hardly_moves_is_not_explained(made: SimpleNamespace, name: str) -> None:
    found = answers(made.targets[name]())
    assert found.pop("informed") == "fail"
    assert set(found.values()) == {"abstain"}
    assert "nearly the same answer" in why(made.targets[name](), "explanation")


def test_a_target_that_follows_opacities_is_judged_though_all_images_are_negative(made: SimpleNamespace) -> None:
    measures = {**made.balanced(), "spread": made.m(0.01, 0.0, 0.02), "auroc": made.null("needs positives and negatives")}
    assert movement(measures)[0]
    found = answers(measures)
    assert (found["informed"], found["opacities"]) == ("fail", "pass")


def test_without_measures_everything_is_open(made: SimpleNamespace) -> None:
    assert set(answers({}).values()) == {"abstain"}
    assert "it was not measured" in why({}, "outside")
    assert decide({}, thresholds=()) == ()


@pytest.mark.parametrize(
    ("which", "name"),
    [
        ("monotone", "monotonicity.rho"),
        ("opacities", "opacity_probe.rises"),
        ("outside", "shortcut"),
        ("disease", "rise.excess"),
        ("healing", "heal.falls"),
        ("explanation", "reader.rho[veils]"),
    ],
)
def test_a_missing_measure_leaves_its_question_open(made: SimpleNamespace, which: str, name: str) -> None:
    measures = {**made.balanced(), name: made.null("a quick audit does not measure it")}
    assert answers(measures)[which] == "abstain"
    assert why(measures, which).endswith("(a quick audit does not measure it)")


@pytest.mark.parametrize(
    ("which", "name", "value"),
    [
        ("disease", "rise", 0.01),
        ("disease", "rises", 0.5),
        ("disease", "rise.excess", 0.0),
        ("healing", "heal.fall", 0.01),
        ("healing", "heal.falls", 0.5),
        ("healing", "heal.excess", -0.1),
        ("monotone", "monotonicity.rho", 0.5),
        ("monotone", "monotonicity.violation", 0.3),
        ("explanation", "exact.zero", 0.01),
        ("explanation", "exact.one", 0.01),
        ("explanation", "reader.rho[veils]", 0.3),
        ("explanation", "reread", 0.9),
        ("explanation", "transfer[judge].rises", 0.2),
        ("explanation", "persistence[jpeg90]", 0.5),
        ("explanation", "persistence[jpeg90].healed", 0.5),
        ("explanation", "null.shuffled.flip", 0.9),
        ("outside", "shortcut", -0.2),
    ],
)
def test_each_limit_can_fail_its_question(made: SimpleNamespace, which: str, name: str, value: float) -> None:
    found = answers({**made.balanced(), name: made.m(value)})
    assert [each for each in IDS if found[each] == "fail"] == [which]


def test_a_control_that_was_not_named_forbids_a_pass_but_no_fail(made: SimpleNamespace) -> None:
    unnamed = {"control.marker.named": made.m(0.0)}
    assert answers({**made.balanced(), **unnamed})["outside"] == "abstain"
    assert "could not have seen" in why({**made.balanced(), **unnamed}, "outside")
    assert answers({**made.naive(), **unnamed})["outside"] == "fail"
    del (without := made.balanced())["control.marker.named"]
    assert answers(without)["outside"] == "pass"  # where it was not run it is not held against the target


def test_a_reader_that_reads_no_disease_forbids_to_say_that_the_target_does_not_follow_it(made: SimpleNamespace) -> None:
    flat = {**made.balanced(), "rise": made.m(0.0), "heal.fall": made.m(0.0)}
    assert [name for name in IDS if answers(flat)[name] == "fail"] == ["disease", "healing"]
    unread = {**flat, "reader.rho[veils]": made.m(0.1, 0.0, 0.2)}
    assert [name for name in IDS if answers(unread)[name] == "fail"] == ["explanation"]
    assert "may be none" in why(unread, "disease")


def test_what_a_free_layer_does_counts_where_it_moves_the_target(made: SimpleNamespace) -> None:
    free = {**made.balanced(), "causal.outside_share.free": made.m(0.9, 0.8, 1.0), "rise.free": made.m(0.7, 0.6, 0.8)}
    assert answers(free, has_free=True)["outside"] == "fail"
    assert answers(free, has_free=False)["outside"] == "pass"
    assert answers({**free, "rise.free": made.m(0.001)}, has_free=True)["outside"] == "pass"


def test_one_source_is_not_every_source_and_a_tiny_one_is_not_asked(made: SimpleNamespace) -> None:
    one = {
        **made.balanced(),
        "specificity": made.m(0.9, by={"a": made.m(0.9)}),
        "sensitivity": made.m(0.9, by={"a": made.m(0.9)}),
    }
    assert answers(one)["sources"] == "abstain"
    one["sensitivity"] = made.m(0.2, by={"a": made.m(0.2)})
    assert answers(one)["sources"] == "fail"
    asked = next(each for each in decide(made.balanced()) if each.id == "sources").checks
    assert {each.limit.measure for each in asked} == {
        f"{rate}[{source}]" for rate in ("specificity", "sensitivity") for source in "ab"
    }


def test_judges_that_cannot_judge_are_left_out_where_another_can(made: SimpleNamespace) -> None:
    measures = {**made.balanced(), "transfer[deaf].rises": made.null("judge deaf does not tell these labels apart")}
    assert answers(measures, judges=["deaf", "judge"])["explanation"] == "pass"
    assert "judge deaf does not" in why(measures, "explanation", judges=["deaf"])
    assert "no other networks were given" in why(measures, "explanation", judges=[])


def test_few_flips_are_not_asked_to_survive(made: SimpleNamespace) -> None:
    few = {
        **made.balanced(),
        "persistence[blur]": made.m(0.0, n=3),
        "persistence[blur].healed": made.null("no sample has a value"),
    }
    assert answers(few)["explanation"] == "pass"
    quick = {key: found for key, found in few.items() if not key.startswith("persistence")}
    assert answers({**quick, "persistence": made.null("a quick audit does not measure it")})["explanation"] == "abstain"


def test_shuffled_weights_are_not_asked_of_a_target_that_has_none_to_shuffle(made: SimpleNamespace) -> None:
    assert (
        answers({**made.balanced(), "null.shuffled.flip": made.null("the weights cannot be shuffled")})["explanation"] == "pass"
    )


def test_the_table_can_be_another(made: SimpleNamespace) -> None:
    verdict = decide(made.balanced(), thresholds=QUESTIONS[:1])
    assert [(each.id, each.answer) for each in verdict] == [("disease", "pass")]


def test_which_questions_fail(made: SimpleNamespace) -> None:
    verdict = decide(made.naive(), judges=["judge"], has_free=True)  # informed abstains
    assert failing(verdict, ["any"]) == ["opacities", "outside", "sources"]
    assert failing(verdict, ["outside", "monotone"]) == ["outside"]
    assert failing(verdict, ["informed"]) == []
    assert failing(verdict, ["informed", "abstain"]) == ["informed"]
    assert (
        failing(verdict, ["any", "abstain"]) == failing(verdict, ["abstain"]) == ["informed", "opacities", "outside", "sources"]
    )
    assert failing(verdict, []) == []
    with pytest.raises(ValueError, match=r"expected some of disease, .*, any, abstain, got outsides"):
        failing(verdict, ["outsides", "any"])
