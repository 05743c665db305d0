"""Effects in order of its size, and what the controls of an audit say of the audit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from gan_explain.audit.effects import controls, effects


def ok(measures: dict[str, Any]) -> dict[str, bool | None]:
    return {each.name: each.ok for each in controls(measures)}


def test_effects_are_sorted_and_what_is_missing_comes_last(made: SimpleNamespace) -> None:
    found = effects(made.naive())
    assert [each.name for each in found] == ["whole", "lungs", "outside", "border", "corners", "exposure", "text"]
    assert {each.name: each.kind for each in found}["exposure"] == "statistic"
    assert found[-1].excess == made.null("no donor has letters")
    assert found[0].positive == made.null("it was not measured")
    assert effects({}) == ()


def test_effects_carry_no_sources(made: SimpleNamespace) -> None:
    found = effects({"transplant[outside].excess": made.m(0.1, by={"a": made.m(0.1)})})
    assert found[0].excess == made.m(0.1)


def test_controls_that_worked(made: SimpleNamespace) -> None:
    assert ok(made.balanced()) == dict.fromkeys(
        ("null.shuffled.flip", "random.excess", "exact.zero", "exact.one", "control.marker.shortcut", "control.marker.named"),
        True,
    )


def test_controls_that_did_not_work_or_leave_it_open(made: SimpleNamespace) -> None:
    m = made.m
    assert ok({"null.constant.range": m(0.2)}) == {"null.constant.range": False}
    assert ok({"random.excess": m(0.0, -0.1, 0.1)}) == {"random.excess": None}
    assert ok({"random.excess": made.null("quick")}) == {"random.excess": None}
    assert ok({"transfer[judge].minus_pgd": m(-0.1, -0.2, -0.05)}) == {"transfer[judge].minus_pgd": False}
    assert ok({"control.marker.named": m(0.0)}) == {"control.marker.named": False}
    assert ok({"exact.zero": m(0.0), "outside.change": m(0.001)}) == {"exact.zero": True, "outside.change": False}


def test_a_clean_marker_adds_nothing_to_the_targets_own_shortcut(made: SimpleNamespace) -> None:
    clean = {"control.marker.clean": made.m(0.19, 0.12, 0.26)}
    assert ok(clean) == {"control.marker.clean": False}
    assert ok({**clean, "shortcut": made.m(0.2, 0.16, 0.24)})["control.marker.clean"] is True
