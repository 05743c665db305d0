"""The sentences of a summary: the worst first, with numbers, and no claim that the verdict does not make."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from gan_explain.audit.document import Answer, Beside, Comparison, Curve, Findings
from gan_explain.audit.effects import effects
from gan_explain.audit.summary import compared, summarise
from gan_explain.audit.verdict import decide
from gan_explain.audit.wording import interval, listed, number, share
from gan_explain.metrics.measure import Measure


def lines(made: SimpleNamespace, measures: dict[str, Any], **more: Any) -> tuple[str, ...]:
    verdict = decide(measures, judges=["judge"], has_free="causal.outside_share.free" in measures)
    found = summarise(made.findings(measures, verdict, effects=effects(measures), **more))
    assert all(line.endswith(".") and "None" not in line and "nan" not in line for line in found)
    return found


def test_a_source_detector_is_called_one_in_the_first_lines(made: SimpleNamespace) -> None:
    found = lines(made, made.naive())
    assert found[:4] == (
        "In short: the calls of checkpoint:it follow the source of a radiograph and what lies outside the lungs, "
        "not opacities in the lungs.",
        "It does not respond to opacities in the lungs: with opacities rendered into them, p rises in 58 % [50, 66] of 154 "
        "images, by 0.010 [0.005, 0.015] per unit of dose (limit: at least 75 % and 0.05).",
        "It reads what lies outside the lungs: with the lungs held, the outside of a positive raises p by 0.20 [0.16, 0.24] more "
        "than that of a negative (91 images; at most 0.05 allowed); its lungs alone by 0.43 [0.40, 0.46]. Of its parts most "
        "by the border, 0.084 [0.050, 0.120].",
        "It is not right in every source: specificity in b is 0.4 % [0, 1] of 442 (limit: at least 60 %).",
    )
    assert any(line.startswith("Whether it tells the labels of these images apart stays open: AUROC is 0.55") for line in found)
    assert any("90 % [87, 93] of the free map's effect comes from outside" in line for line in found)


def test_a_part_that_hardly_matters_is_not_named(made: SimpleNamespace) -> None:
    measures = {**made.naive(), "transplant[border].excess": made.m(0.001, 0.0005, 0.002)}
    assert "Of its parts" not in " ".join(lines(made, measures))
    negative = {**made.naive(), "shortcut": made.m(-0.2, -0.25, -0.15)}
    assert any("the outside of a positive changes p by -0.20 [-0.25, -0.15] beside" in line for line in lines(made, negative))


def test_bad_calls_everywhere_are_not_put_down_to_the_source(made: SimpleNamespace) -> None:
    same = {"a": made.m(0.5, 0.45, 0.55), "b": made.m(0.48, 0.4, 0.56)}
    measures = {**made.naive(), "shortcut": made.m(0.0), "specificity": made.m(0.5, by=same), "sensitivity": made.m(0.5, by=same)}
    del measures["causal.outside_share.free"]
    assert lines(made, measures)[0].startswith("checkpoint:it does not respond to opacities")


def test_a_good_target_is_praised_with_numbers(made: SimpleNamespace) -> None:
    found = lines(made, made.balanced())
    assert found[0] == (
        "checkpoint:it follows the disease: when real patients' disease is laid on, p rises in 95 % [92, 98] of 100 images, by "
        "0.30 [0.27, 0.33] on average, 0.12 [0.10, 0.14] more than a random smooth layer of equal load does."
    )
    assert found[1].startswith("It follows the disease: when the disease is taken off, p falls in 97 %")
    assert any(
        line.startswith("It responds to opacities in the lungs: with opacities rendered into them, p rises in 98 %")
        for line in found
    )
    assert not any("not" in line.split(":")[0] or "open" in line for line in found)
    assert found[-1] == "Control: a marker planted as a shortcut was found and named (score 0.55 [0.40, 0.70])."


@pytest.mark.parametrize("name", ["constant", "untrained"])
def test_of_a_target_that_hardly_moves_one_thing_is_said(made: SimpleNamespace, name: str) -> None:
    (only,) = lines(made, made.targets[name]())
    assert only.startswith("checkpoint:it gives nearly the same answer whatever it is shown: the standard deviation of p over")
    assert only.endswith("There is nothing to judge or to explain.")


def test_without_measures_nothing_is_claimed(made: SimpleNamespace) -> None:
    (only,) = lines(made, {})
    assert only.startswith("Nothing is judged of checkpoint:it")


@pytest.mark.parametrize(
    ("rises", "slope", "words"),
    [
        (0.9, 0.01, "responds only faintly"),
        (0.4, 0.3, "in some images only"),
        (0.1, -0.2, "takes opacities in the lungs for a sign of health"),
        (0.5, 0.0, "does not respond to opacities"),
    ],
)
def test_ways_not_to_respond(made: SimpleNamespace, rises: float, slope: float, words: str) -> None:
    measures = {**made.balanced(), "opacity_probe.rises": made.m(rises), "opacity_probe.slope": made.m(slope)}
    assert words in lines(made, measures)[0]


@pytest.mark.parametrize(
    "missing",
    sorted(["spread", "opacity_probe.rises", "shortcut", "rise", "heal.excess", "flip.negative", "specificity", "reread"]),
)
def test_any_measure_can_be_missing(made: SimpleNamespace, missing: str) -> None:
    for name in made.targets:
        lines(made, {**made.targets[name](), missing: made.null("it was not asked for")})


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"rise": 0.01}, "It hardly follows"),
        ({"rise": -0.01, "rises": 0.2}, "It does not follow"),
        ({"rise.excess": -0.01}, "does not follow the shape of disease"),
        ({"rise.excess": -0.15}, "on average, 0.15 [0.15, 0.15] less than a random smooth layer of equal load does"),
    ],
)
def test_ways_not_to_follow_the_disease(made: SimpleNamespace, changed: dict[str, float], words: str) -> None:
    measures = {**made.balanced(), **{name: made.m(value) for name, value in changed.items()}}
    assert words in lines(made, measures)[0].replace("checkpoint:it", "It")


def test_subgroups_are_said(made: SimpleNamespace) -> None:
    columns = [("sex", 0.0002), ("view", 0.4), ("age", None)]
    subgroups = tuple(Comparison(column, {}, p_corrected=p) for column, p in columns)
    found = lines(made, made.balanced(), subgroups=subgroups)
    assert "The response differs by sex (p below 0.001), corrected for 2 tests." in found
    assert "No difference of the response by view was found." in found


def test_numbers_in_words() -> None:
    assert [number(x) for x in (0.478, -0.0001, 1, -0.25)] == ["0.48", "0.00", "1.00", "-0.25"]
    assert interval(Measure(0.0096, -0.0004, 0.015)) == "0.010 [0.000, 0.015]"
    assert interval(Measure(0.3)) == "0.30"
    assert share(Measure(0.478, 0.0, 0.9961)) == "48 % [0, 99.6]"
    assert share(Measure(1.0, 0.002, 1.0)) == "100 % [0.2, 100]"
    assert [listed(parts) for parts in (["a"], ["a", "b"], ["a", "b", "c"], [])] == ["a", "a and b", "a, b and c", ""]


def test_a_second_target_in_words() -> None:
    first = Findings(
        {"target": {"spec": "a"}},
        verdict=(Answer("opacities", "Sees opacities?", "fail", ""), Answer("outside", "Ignores the outside?", "pass", "")),
    )
    other = Findings({"target": {"spec": "b"}}, verdict=(replace(first.verdict[0], answer="pass"), first.verdict[1]))
    curve = Curve((0.0, 0.95, 1.5), (0.0, -0.3, -0.5), (0.0, -0.4, -0.6), (0.0, -0.2, -0.4), 12, 12)
    changed, gap = compared(first, Beside(other, curve))
    assert changed == "Beside it, b (answers of a and of b): Sees opacities? fail and pass."
    assert gap.startswith("At strength 0.95 of the same layers p of b is lower by 0.30 [0.20, 0.40], on 12 images")
    same = Beside(replace(other, verdict=first.verdict))
    assert compared(first, same) == ("Beside it, b: the same answers to every question.",)
