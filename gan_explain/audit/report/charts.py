"""Inline SVG of the audit's report: curves with bands, bars with intervals. Measures and curves in, markup out.

Colours are CSS classes. Every text goes through `Markup.format`, which escapes it. A number that is None or not finite leaves a
gap, never a point at 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from gan_explain.audit.document import Curve
from gan_explain.audit.report.words import finite, number
from gan_explain.audit.thresholds import Limit
from gan_explain.metrics.measure import Measure

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 12, 50
DASHES = ("none", "7 4", "2 3", "9 3 2 3", "12 4", "1 4", "5 2 1 2", "3 6")
TONES = len(DASHES)
PLOT, ROW = 220, 24  # a bar with its interval, in a table's cell

Domain = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """A curve, what it is called, and its colour and dash, 0 to TONES - 1."""

    curve: Curve
    label: str
    tone: int

    @property
    def dash(self) -> str:
        return DASHES[self.tone % TONES]


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from low to high, steps of 1, 2 or 5 times a power of ten; about so many."""
    if not high > low:
        return [low]
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def tick_label(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def _runs(xs: Sequence[Any], *columns: Sequence[Any]) -> Iterator[list[tuple[float, ...]]]:
    """Stretches in which x and every column are numbers."""
    run: list[tuple[float, ...]] = []
    for values in zip(xs, *columns, strict=True):
        found = [finite(v) for v in values]
        if any(v is None for v in found):
            if run:
                yield run
            run = []
        else:
            run.append(tuple(v for v in found if v is not None))
    if run:
        yield run


def span(series: Sequence[Series], keys: Sequence[str]) -> Domain | None:
    """The least and largest number in these columns of all curves; None where there is none."""
    found = [v for s in series for key in keys for v in map(finite, getattr(s.curve, key)) if v is not None]
    return (min(found), max(found)) if found else None


def describe(series: Sequence[Series]) -> str:
    """What a chart shows, for those who cannot see it: both ends of every curve."""
    parts = []
    for s in series:
        run = [point for part in _runs(s.curve.x, s.curve.mean) for point in part]
        if run:
            (x0, y0), (x1, y1) = run[0], run[-1]
            parts.append(f"{s.label}: {number(y0)} at {tick_label(x0)}, {number(y1)} at {tick_label(x1)}")
    return "; ".join(parts) or "no data"


@dataclass(frozen=True)
class Scale:
    """An axis: its range, and the place of a value in the picture."""

    low: float
    high: float
    at: Callable[[float], float]


def _axes(x: Scale, y: Scale, x_label: str, y_label: str, *, zero: bool) -> list[Markup]:
    """Grid, ticks, axes and their names; `zero` marks y = 0."""
    floor, right = y.at(y.low), WIDTH - RIGHT
    out: list[Markup] = []
    for value in ticks(y.low, y.high):
        at = y.at(value)
        out.append(Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(LEFT, right, at, at))
        out.append(Markup('<text class="tick end" x="{}" y="{:.1f}">{}</text>').format(LEFT - 7, at + 4, tick_label(value)))
    for value in ticks(x.low, x.high):
        at = x.at(value)
        out.append(
            Markup('<line class="axis" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>').format(at, at, floor, floor + 4)
        )
        out.append(Markup('<text class="tick mid" x="{:.1f}" y="{:.1f}">{}</text>').format(at, floor + 17, tick_label(value)))
    out.append(Markup('<line class="axis" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(LEFT, right, floor, floor))
    if zero:
        out.append(Markup('<line class="zero" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(LEFT, right, y.at(0), y.at(0)))
    out.append(
        Markup('<text class="name mid" x="{:.1f}" y="{}">{}</text>').format((LEFT + right) / 2, HEIGHT - 9, x_label)
        + Markup('<text class="name mid" transform="translate(14 {:.1f}) rotate(-90)">{}</text>').format(
            (TOP + floor) / 2, y_label
        )
    )
    return out


def curve_chart(
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    point: float | None = None,
    symmetric: bool = False,
    zero: bool = False,
) -> Markup:
    """Mean curves with their bands as one SVG; `point` is a dashed line (the operating point), `symmetric` fits y around 0."""
    reach = span(series, ("x",))
    if reach is None:
        return Markup('<p class="missing">No curve.</p>')
    x0, x1 = reach if reach[1] > reach[0] else (reach[0] - 0.5, reach[0] + 0.5)
    y0, y1 = 0.0, 1.0
    if symmetric:
        low, high = span(series, ("mean", "low", "high")) or (0.0, 0.0)
        top = max(0.1, math.ceil(1.05 * max(-low, high) * 10) / 10)
        y0, y1 = -top, top

    def px(x: float) -> float:
        return LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)

    def py(y: float) -> float:
        return TOP + (y1 - y) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)

    label = f"{y_label} against {x_label}. {describe(series)}"
    out = [Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, HEIGHT, label)]
    out += _axes(Scale(x0, x1, px), Scale(y0, y1, py), x_label, y_label, zero=symmetric or zero)
    right = WIDTH - RIGHT
    for s in series:  # bands below all lines
        for run in _runs(s.curve.x, s.curve.low, s.curve.high):
            edge = [f"{px(x):.1f},{py(high):.1f}" for x, _, high in run] + [
                f"{px(x):.1f},{py(low):.1f}" for x, low, _ in run[::-1]
            ]
            out.append(Markup('<polygon class="band t{}" points="{}"/>').format(s.tone % TONES, " ".join(edge)))
    if point is not None:
        out.append(
            Markup('<line class="point" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(LEFT, right, py(point), py(point))
        )
    for s in series:
        for run in _runs(s.curve.x, s.curve.mean):
            line = " ".join(f"{px(x):.1f},{py(y):.1f}" for x, y in run)
            out.append(
                Markup('<polyline class="line t{}" stroke-dasharray="{}" points="{}"/>').format(s.tone % TONES, s.dash, line)
            )
    if point is not None:
        lift = -5 if point < 0.92 else 14
        out.append(
            Markup('<text class="tick end halo" x="{}" y="{:.1f}">p* = {}</text>').format(
                right, py(point) + lift, number(point, 2)
            )
        )
    out.append(Markup("</svg>"))
    return Markup("").join(out)


def key(series: Series) -> Markup:
    """The sample of a line in a legend."""
    return Markup(
        '<svg class="key" viewBox="0 0 34 12" aria-hidden="true"><rect class="band t{0}" width="34" height="12"/>'
        '<line class="line t{0}" stroke-dasharray="{1}" x1="0" x2="34" y1="6" y2="6"/></svg>'
    ).format(series.tone % TONES, series.dash)


def domain(measures: Sequence[Measure], others: Sequence[float] = ()) -> Domain:
    """A scale that holds 0, every value and bound, and the other numbers, with a margin."""
    numbers = [finite(v) for m in measures for v in (m.value, m.low, m.high)] + [finite(v) for v in others]
    found = [0.0, *(v for v in numbers if v is not None)]
    low, high = min(found), max(found)
    if high - low < 1e-9:
        high = low + 1.0
    margin = 0.06 * (high - low)
    return (low - margin if low < 0 else low, high + margin)


def bar(
    measure: Measure,
    scale: Domain,
    *,
    tone: str = "t0",
    thresholds: Sequence[float] = (),
    positive: Measure | None = None,
    negative: Measure | None = None,
) -> Markup:
    """A bar from 0 to the value with its interval; dashed thresholds; the donors' own means as a triangle and a ring."""
    pad = 6
    low, high = scale

    def px(v: float) -> float:
        return pad + (min(max(v, low), high) - low) / (high - low) * (PLOT - 2 * pad)

    mid = ROW / 2
    out = [Markup('<svg class="bar" viewBox="0 0 {} {}" aria-hidden="true">').format(PLOT, ROW)]
    out.append(Markup('<line class="zero" x1="{0:.1f}" x2="{0:.1f}" y1="0" y2="{1}"/>').format(px(0), ROW))
    for at in thresholds:
        out.append(Markup('<line class="threshold" x1="{0:.1f}" x2="{0:.1f}" y1="0" y2="{1}"/>').format(px(at), ROW))
    value = finite(measure.value)
    if value is not None:
        left, right = sorted((px(0), px(value)))
        out.append(
            Markup('<rect class="fill {}" x="{:.1f}" y="{}" width="{:.1f}" height="10"/>').format(
                tone, left, mid - 5, right - left
            )
        )
        a, b = finite(measure.low), finite(measure.high)
        if a is not None and b is not None:
            out.append(Markup('<line class="whisker" x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"/>').format(px(a), px(b), mid, mid))
            for end in (a, b):
                out.append(
                    Markup('<line class="whisker" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>').format(
                        px(end), mid - 4, mid + 4
                    )
                )
        out.append(
            Markup('<line class="value {}" x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"/>').format(tone, px(value), px(value), 4, 20)
        )
    for donor, shape in ((positive, "positive"), (negative, "negative")):
        v = finite(donor.value) if donor else None
        if v is None:
            continue
        if shape == "positive":
            x = px(v)
            out.append(Markup('<path class="donor" d="M{:.1f} 1 l4 6 h-8 z"/>').format(x))
        else:
            out.append(Markup('<circle class="donor" cx="{:.1f}" cy="20" r="3"/>').format(px(v)))
    out.append(Markup("</svg>"))
    return Markup("").join(out)


def limits(limit: Limit) -> list[float]:
    """Where the thresholds of a limit lie: on both sides of 0 for "within"."""
    return [-limit.threshold, limit.threshold] if limit.relation == "within" else [limit.threshold]


def bar_axis(scale: Domain) -> Markup:
    """The axis below a column of bars on the same scale."""
    pad, (low, high) = 6, scale
    out = [Markup('<svg class="bar" viewBox="0 0 {} {}" aria-hidden="true">').format(PLOT, ROW)]
    out.append(Markup('<line class="axis" x1="{}" x2="{}" y1="1" y2="1"/>').format(pad, PLOT - pad))
    for v in ticks(low, high, 4):
        x = pad + (v - low) / (high - low) * (PLOT - 2 * pad)
        out.append(Markup('<line class="axis" x1="{0:.1f}" x2="{0:.1f}" y1="1" y2="5"/>').format(x))
        out.append(Markup('<text class="tick mid" x="{:.1f}" y="18">{}</text>').format(x, tick_label(v)))
    out.append(Markup("</svg>"))
    return Markup("").join(out)
