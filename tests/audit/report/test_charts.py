"""Charts of the report: points lie where the numbers say, gaps stay gaps, texts are escaped."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from gan_explain.audit.document import Curve
from gan_explain.audit.report.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    PLOT,
    RIGHT,
    TOP,
    WIDTH,
    Series,
    bar,
    bar_axis,
    curve_chart,
    domain,
    key,
    limits,
    ticks,
)
from gan_explain.audit.thresholds import Limit
from gan_explain.metrics.measure import Measure


def curve(mean: list[float | None]) -> Curve:
    x, values = tuple(float(i) for i in range(len(mean))), tuple(mean)
    return Curve(x, values, values, values, 3, 2)


def points(svg: str, tag: str = "polyline") -> list[list[tuple[float, float]]]:
    found = [node.attrib["points"] for node in ElementTree.fromstring(svg).iter(tag)]
    return [[(float(a), float(b)) for a, b in (pair.split(",") for pair in text.split())] for text in found]


def test_corners_of_the_plot() -> None:
    svg = curve_chart([Series(curve([0.0, 1.0]), "a", 0)], x_label="x", y_label="p")
    assert points(svg) == [[(LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, TOP)]]
    assert "a: 0.000 at 0, 1.000 at 1" in svg


def test_gap_in_a_curve_stays_a_gap() -> None:
    svg = curve_chart([Series(curve([0.1, 0.2, None, 0.4, float("nan"), 0.6]), "a", 0)], x_label="x", y_label="p")
    assert [len(run) for run in points(svg)] == [2, 1, 1]
    assert [len(run) for run in points(svg, "polygon")] == [4, 2, 2]


def test_difference_is_drawn_around_zero() -> None:
    svg = curve_chart([Series(curve([-0.2, 0.4]), "a", 0)], x_label="x", y_label="p", symmetric=True)
    ((_, first), (_, last)), middle = points(svg)[0], (TOP + HEIGHT - BOTTOM) / 2
    assert (first - middle) == pytest.approx(-(last - middle) / 2, abs=0.2)


def test_nothing_to_draw() -> None:
    assert "No curve" in curve_chart([], x_label="x", y_label="p")
    assert "no data" in curve_chart([Series(curve([None, None]), "a", 0)], x_label="x", y_label="p")
    assert "<svg" in curve_chart([Series(curve([0.5]), "a", 0)], x_label="x", y_label="p")  # one strength has no width


def test_labels_are_escaped() -> None:
    svg = curve_chart([Series(curve([0.0, 1.0]), '"><img src=x>', 0)], x_label="<x>", y_label="</svg>", point=0.5)
    assert len(list(ElementTree.fromstring(svg))) > 5
    assert "<img" not in svg


def test_curves_differ_by_more_than_colour() -> None:
    marks = [key(Series(curve([0.0]), "a", tone)) for tone in range(8)]
    assert len({re.search('dasharray="(.*?)"', mark)[1] for mark in marks}) == 8  # type: ignore[index]


def test_ticks_are_round() -> None:
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(0, 1.5) == [0, 0.5, 1.0, 1.5]
    assert ticks(-0.6, 0.6) == [-0.5, 0, 0.5]
    assert ticks(2, 2) == [2]


def test_bar_reaches_from_zero_to_the_value() -> None:
    svg = bar(Measure(0.5, 0.25, 0.75), (0, 1), thresholds=[0.05])
    rect = next(node for node in ElementTree.fromstring(svg).iter("rect"))
    assert (float(rect.attrib["x"]), float(rect.attrib["width"])) == (6, (PLOT - 12) / 2)
    whisker = next(node for node in ElementTree.fromstring(svg).iter("line") if node.attrib["class"] == "whisker")
    assert (float(whisker.attrib["x1"]), float(whisker.attrib["x2"])) == (6 + 0.25 * (PLOT - 12), 6 + 0.75 * (PLOT - 12))


def test_bar_without_a_value_or_an_interval() -> None:
    assert "rect" not in bar(Measure.missing("none"), (0, 1))
    assert "whisker" not in bar(Measure(0.5), (0, 1))
    assert "svg" in bar_axis((-0.1, 0.3))


def test_scale_holds_zero_and_everything_else() -> None:
    low, high = domain([Measure(0.2, 0.1, 0.3), Measure()], [-0.05])
    assert low < -0.05
    assert high > 0.3
    assert domain([]) == (0, pytest.approx(1.06))


def test_within_has_a_threshold_on_both_sides() -> None:
    assert limits(Limit("x", "within", 0.05, "x")) == [-0.05, 0.05]
    assert limits(Limit("x", "at least", 0.6, "x")) == [0.6]
