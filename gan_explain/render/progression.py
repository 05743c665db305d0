"""A patient over days: the radiographs with their layers and heat above, and what was measured of each charted below."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw
from torch import Tensor

from gan_explain.render.curves import figure_pixels
from gan_explain.render.draw import (
    ACCENT,
    BACKGROUND,
    COOL,
    FAINTEST,
    LINE,
    MUTED,
    PANEL,
    TEXT,
    Rgb,
    canvas,
    enlarge,
    fit,
    font,
    heat_bar,
    hexadecimal,
    own_style,
    write_png,
)
from gan_explain.render.heat import HeatMap, lay, wrap

MARGIN, GAP, NAMES, CAPTION, LEGEND, DPI = 20, 8, 92, 26, 178, 100
MOST = 8  # columns


@dataclass(frozen=True)
class Moment:
    """One radiograph (1, H, W): its day, its lungs, the maps laid over it (one for each row of `Rows`), and texts below it: the
    first, in the colour of the verdict, under the radiograph, then one under each map."""

    day: float
    image: Tensor
    lungs: Tensor
    maps: tuple[Tensor, ...]
    captions: tuple[str, ...]
    positive: bool


@dataclass(frozen=True)
class Row:
    """What a row of maps shows: its name, its caveat for the foot, and the value that full colour stands for at `least`."""

    name: str
    caveat: str
    least: float = 0.0


@dataclass(frozen=True)
class Line:
    """One curve over the days: values (N,), NaN where there are none."""

    label: str
    values: Sequence[float]
    colour: Rgb = ACCENT
    dashed: bool = False


@dataclass(frozen=True)
class Chart:
    """One panel over the days. `top`: the end of its axis, None: what the values need; `threshold`: a line across."""

    label: str
    lines: tuple[Line, ...]
    top: float | None = None
    threshold: float | None = None


LAYER = Row("opacity layer", "Layer: opacity α that the generator reads on the radiograph; the CNN has no say in it.", FAINTEST)
HEAT = Row("Grad-CAM", "Grad-CAM: a coarse grid, smoothed: roughly where, not what. One colour scale a row, over all days.")


def write_progression(
    moments: Sequence[Moment],
    rows: Sequence[Row],
    charts: Sequence[Chart],
    path: str | os.PathLike[str],
    *,
    title: str,
    side: int = 200,
) -> None:
    """One patient as a PNG: a column a radiograph (at most 8, evenly chosen), a line to its day, charts over all days."""
    shown = _chosen(len(moments))
    width = 2 * MARGIN + NAMES + max(len(shown), 4) * (side + GAP)
    row_height, head, bend = side + CAPTION, 66, 44
    chart_height = 44 + 150 * len(charts)
    caveats = [line for row in rows for line in wrap(row.caveat, width - 2 * MARGIN - 260, 12)]
    foot = 14 + max(24 * len(rows), 17 * len(caveats)) + 10
    above = head + (1 + len(rows)) * row_height
    picture, draw = canvas(width, above + bend + chart_height + foot)
    draw.text((MARGIN, 12), fit(title, width - 2 * MARGIN, 17), TEXT, font(17, bold=True))
    scales = [max(row.least, _largest([each.maps[i] for each in moments])) for i, row in enumerate(rows)]
    lefts = [MARGIN + NAMES + i * (side + GAP) for i in range(len(shown))]
    for i, name in enumerate(("radiograph", *(row.name for row in rows))):
        for j, word in enumerate(name.split()):
            draw.text((MARGIN, head + i * row_height + side // 2 - 16 + 17 * j), word, MUTED, font(13))
    for left, index in zip(lefts, shown, strict=True):
        _column(picture, draw, moments[index], rows, scales, left, head, side)
    pixels, places = _charts(charts, [each.day for each in moments], width, chart_height)
    picture.paste(Image.fromarray(pixels), (0, above + bend))
    for left, index in zip(lefts, shown, strict=True):
        colour = ACCENT if moments[index].positive else COOL
        start, end = (left + side // 2, above - 2), (int(places[index]), above + bend + 34)
        draw.line([start, (start[0], above + 6), (end[0], end[1] - 8), end], colour, 1)
        draw.ellipse((end[0] - 2, end[1] - 2, end[0] + 2, end[1] + 2), colour)
    top = above + bend + chart_height + 14
    for row, line in enumerate(caveats):
        draw.text((MARGIN, top + 17 * row), line, MUTED, font(12))
    for i, (each, scale) in enumerate(zip(rows, scales, strict=True)):
        _scale(picture, draw, each, scale, width - MARGIN, top + 24 * i)
    if len(shown) < len(moments):
        draw.text((width - MARGIN, 16), f"{len(shown)} of {len(moments)} shown", MUTED, font(13), anchor="ra")
    write_png(picture, path)


@dataclass(frozen=True)
class Small:
    """One patient of a sheet: days (N,), probabilities (N,) and a second measure (N,), with a title and the operating point."""

    title: str
    days: Sequence[float]
    probability: Sequence[float]
    other: Sequence[float]
    operating_point: float


@own_style()
def write_progressions(
    patients: Sequence[Small], path: str | os.PathLike[str], *, label: str, other: str, columns: int = 4
) -> None:
    """Many patients as small charts in one PNG: probability on the left axis of each, the other measure on its right axis."""
    rows = -(-len(patients) // columns)
    figure = Figure((13.2, 0.8 + 2.1 * rows), dpi=DPI, facecolor=hexadecimal(BACKGROUND))
    height = figure.get_figheight() * DPI
    grid = figure.subplots(rows, columns, squeeze=False)
    figure.subplots_adjust(left=0.04, right=0.96, bottom=34 / height, top=1 - 66 / height, wspace=0.3, hspace=0.4)
    top = 1.1 * max([0.0, *(value for each in patients for value in each.other if np.isfinite(value))]) or 1.0
    for axes, each in zip(grid.flat, patients, strict=False):
        _style(axes, 8.0)
        axes.set_title(each.title, color=hexadecimal(TEXT), fontsize=9, loc="left", pad=4)
        axes.set_ylim(-0.04, 1.06)
        axes.axhline(each.operating_point, color=hexadecimal(MUTED), lw=0.8, ls=(0, (5, 4)))
        axes.plot(each.days, each.probability, "-o", color=hexadecimal(ACCENT), lw=1.8, ms=4)
        right = axes.twinx()
        _style(right, 8.0)
        right.set_facecolor("none")
        right.grid(False)
        right.set_ylim(-0.04 * top, 1.06 * top)
        right.plot(each.days, each.other, "-s", color=hexadecimal(COOL), lw=1.5, ms=3.5)
        right.tick_params(axis="y", colors=hexadecimal(COOL))
        axes.tick_params(axis="y", colors=hexadecimal(ACCENT))
    for axes in grid.flat[len(patients) :]:
        axes.set_visible(False)
    picture = Image.fromarray(figure_pixels(figure))
    draw = ImageDraw.Draw(picture)
    x = 52
    for text, colour in (
        (f"● {label}", ACCENT),
        (f"■ {other}", COOL),
        ("- - operating point; days below", MUTED),
    ):
        draw.text((x, 12), text, colour, font(14))
        x += int(font(14).getlength(text)) + 28
    write_png(picture, path)


def _column(
    picture: Image.Image,
    draw: ImageDraw.ImageDraw,
    moment: Moment,
    rows: Sequence[Row],
    scales: Sequence[float],
    left: int,
    head: int,
    side: int,
) -> None:
    gray, step = enlarge(moment.image, side), side + CAPTION
    colour = ACCENT if moment.positive else COOL
    draw.text((left, head - 22), f"day {moment.day:g}", TEXT, font(15, bold=True))
    picture.paste(Image.fromarray(gray), (left, head))
    for i, (row, scale) in enumerate(zip(rows, scales, strict=True), 1):
        heat = HeatMap(row.name, moment.maps[i - 1], scale=scale)
        picture.paste(lay(gray, heat, moment.lungs), (left, head + i * step))
    for i, text in enumerate(moment.captions):
        shade = colour if i == 0 else MUTED
        draw.text((left, head + side + i * step + 4), fit(text, side, 13), shade, font(13, bold=i == 0))


@own_style()
def _charts(charts: Sequence[Chart], days: Sequence[float], width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """The panels as pixels (height, width, 3), and the x of each day in pixels (N,)."""
    figure = Figure((width / DPI, height / DPI), dpi=DPI, facecolor=hexadecimal(BACKGROUND))
    found: list[Axes] = list(figure.subplots(len(charts), 1, sharex=True, squeeze=False)[:, 0])
    figure.subplots_adjust(
        left=(MARGIN + NAMES) / width, right=1 - (MARGIN + LEGEND) / width, bottom=44 / height, top=1 - 34 / height, hspace=0.16
    )
    low, high = min(days), max(days)
    margin = 0.03 * (high - low or 1.0)
    for axes, chart in zip(found, charts, strict=True):
        _style(axes, 9.5)
        axes.set_xlim(low - margin, high + margin)
        axes.set_ylabel(chart.label, color=hexadecimal(TEXT), fontsize=9.5)
        values = [value for line in chart.lines for value in line.values if np.isfinite(value)]
        top = chart.top or 1.15 * max([0.0, *values]) or 1.0
        axes.set_ylim(-0.05 * top, 1.06 * top)
        if chart.threshold is not None:
            axes.axhline(
                chart.threshold, color=hexadecimal(MUTED), lw=1.0, ls=(0, (5, 4)), label=f"operating point {chart.threshold:.2f}"
            )
        for line in chart.lines:
            (drawn,) = axes.plot(days, line.values, "-o", ms=5, lw=2.2, color=hexadecimal(line.colour), label=line.label)
            if line.dashed:
                drawn.set(linestyle=(0, (4, 2)), linewidth=1.4)
        axes.legend(
            loc="upper left", bbox_to_anchor=(1.005, 1.04), frameon=False, handlelength=1.4, fontsize=8.5,
            labelcolor=hexadecimal(TEXT),
        )  # fmt: skip
    found[-1].set_xlabel("days (offset_days of the manifest)", color=hexadecimal(TEXT), fontsize=9.5)
    pixels = figure_pixels(figure)
    places = found[0].transData.transform(np.stack([np.asarray(days, dtype=np.float64), np.zeros(len(days))], 1))[:, 0]
    return pixels, places


def _style(axes: Axes, size: float) -> None:
    axes.set_facecolor(hexadecimal(PANEL))
    axes.tick_params(colors=hexadecimal(MUTED), labelsize=0.9 * size, length=3)
    axes.grid(color=hexadecimal(LINE), lw=0.6, alpha=0.6)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_color(hexadecimal(LINE))


def _scale(picture: Image.Image, draw: ImageDraw.ImageDraw, row: Row, scale: float, right: int, top: int) -> None:
    draw.text((right, top), f"{scale:.2g}", MUTED, font(12), anchor="ra")
    bar = heat_bar(100, 8)
    picture.paste(bar, (right - 40 - bar.width, top + 4))
    draw.text((right - 48 - bar.width, top), f"{row.name}  0", MUTED, font(12), anchor="ra")


def _largest(maps: Sequence[Tensor]) -> float:
    return max(float(np.percentile(each.abs().numpy(), 99.8)) for each in maps)


def _chosen(count: int) -> list[int]:
    """Indices of at most MOST moments, the first and the last among them."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, MOST))})
