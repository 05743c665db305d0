"""Response curves: what the target says at each strength, with the operating point and where it is crossed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from gan_explain.render.draw import (
    ACCENT,
    BACKGROUND,
    COOL,
    LINE,
    MUTED,
    PANEL,
    TEXT,
    Axis,
    Pixels,
    axis_of,
    hexadecimal,
    own_style,
    write_png,
)
from gan_explain.response import Response

_DPI = 100


@dataclass(frozen=True)
class Drawing:
    """A drawn plot: pixels (H, W, 3) and, for each point of the curve, its place (L, 2) in pixels as x, y."""

    pixels: Pixels
    points: NDArray[np.float64]


def positive_label(positive: Sequence[str]) -> str:
    """The axis label of a positive set: ("covid", "pneumonia") -> "p(covid or pneumonia)"."""
    return f"p({' or '.join(positive)})"


def beside(traversal: Response) -> tuple[str, NDArray[np.float64]] | None:
    """p(covid) along a traversal as (label, (L,)), where it is not the positive set itself; None where there is no such class."""
    if "covid" not in traversal.classes or traversal.positive == ("covid",):
        return None
    return "p(covid)", _array(traversal.class_probability[:, traversal.classes.index("covid")])


def write_curve(traversal: Response, path: str | os.PathLike[str]) -> None:
    """The response curve as a PNG of 1000 x 620 pixels."""
    write_png(Image.fromarray(draw_curve(traversal, 1000, 620).pixels), path)


@own_style()
def write_curves(traversals: Sequence[Response], path: str | os.PathLike[str]) -> None:
    """The curves of several patients in one picture, their median drawn heavily (all at the strengths of the first)."""
    first = traversals[0]
    figure, axes = _frame(1000, 620, first, 1.7)
    stack = np.stack([_array(each.probability) for each in traversals])
    for row in stack:
        axes.plot(_array(first.strengths), row, color=hexadecimal(ACCENT), lw=1.6, alpha=0.4)
    axes.plot(_array(first.strengths), np.median(stack, 0), color=hexadecimal(ACCENT), lw=4.4, label=f"median of {len(stack)}")
    _legend(axes, 1.7)
    write_png(Image.fromarray(figure_pixels(figure)), path)


@own_style()
def curve_figure(traversal: Response, width: int, height: int) -> Figure:
    """The response curve as a figure of a size in pixels."""
    figure = _curve(traversal, width, height)[0]
    figure_pixels(figure)  # drawn once: ticks are made, in this style, when they are first drawn
    return figure


@own_style()
def draw_curve(traversal: Response, width: int, height: int, *, faint: bool = False) -> Drawing:
    """Draw the response curve at a size in pixels; `faint` leaves the curves pale, for a film to draw over."""
    figure, axes = _curve(traversal, width, height, faint)
    pixels = figure_pixels(figure)
    points = np.stack([_array(traversal.strengths), _array(traversal.probability)], 1)
    places = np.asarray(axes.transData.transform(points), dtype=np.float64)  # (L, 2), y upwards
    return Drawing(pixels, np.stack([places[:, 0], height - places[:, 1]], 1))


def _curve(traversal: Response, width: int, height: int, faint: bool = False) -> tuple[Figure, Axes]:
    scale = min(width / 560, height / 360)
    figure, axes = _frame(width, height, traversal, scale)
    x, y = _array(traversal.strengths), _array(traversal.probability)
    alpha = 0.28 if faint else 1.0
    other = beside(traversal)
    axes.plot(x, y, color=hexadecimal(ACCENT), lw=2.6 * scale, alpha=alpha, label=positive_label(traversal.positive), zorder=3)
    if other is not None:
        axes.plot(x, other[1], color=hexadecimal(COOL), lw=1.6 * scale, alpha=alpha, label=other[0], zorder=2.5)
    if not faint:
        axes.fill_between(x, y, color=hexadecimal(ACCENT), alpha=0.10, lw=0)
    _crossing(axes, traversal, axis_of(traversal), scale, alpha)
    _legend(axes, scale)
    return figure, axes


def _frame(width: int, height: int, traversal: Response, scale: float) -> tuple[Figure, Axes]:
    figure = Figure((width / _DPI, height / _DPI), dpi=_DPI, facecolor=hexadecimal(BACKGROUND))
    left, bottom = 66 * scale / width, 56 * scale / height
    axes = figure.add_axes((left, bottom, 1 - left - 20 * scale / width, 1 - bottom - 34 * scale / height))
    axes.set_facecolor(hexadecimal(PANEL))
    size = 10.0 * scale
    axes.set_xlabel(axis_of(traversal).label, color=hexadecimal(TEXT), fontsize=size, labelpad=6 * scale)
    axes.set_ylabel(positive_label(traversal.positive), color=hexadecimal(TEXT), fontsize=size, labelpad=6 * scale)
    axes.tick_params(colors=hexadecimal(MUTED), labelsize=0.9 * size, length=3 * scale)
    axes.grid(color=hexadecimal(LINE), lw=0.6 * scale, alpha=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_color(hexadecimal(LINE))
        spine.set_visible(side in ("left", "bottom"))
    axes.set_ylim(-0.02, 1.04)
    low, high = float(traversal.strengths.min()), float(traversal.strengths.max())
    margin = 0.015 * (high - low or 1.0)
    axes.set_xlim(low - margin, high + margin)
    point = traversal.operating_point
    axes.axhline(point, color=hexadecimal(MUTED), lw=1.1 * scale, ls=(0, (5, 4)))
    above = point < 0.9
    axes.annotate(
        f"operating point {point:.2f}",
        (1, point),
        xycoords=("axes fraction", "data"),
        xytext=(-4 * scale, (4 if above else -4) * scale),
        textcoords="offset points",
        ha="right",
        va="bottom" if above else "top",
        color=hexadecimal(MUTED),
        fontsize=0.85 * size,
    )
    return figure, axes


def _crossing(axes: Axes, traversal: Response, axis: Axis, scale: float, alpha: float) -> None:
    at = traversal.crossing
    if at is None:
        return
    point, colour = traversal.operating_point, hexadecimal(TEXT)
    axes.plot([at, at], [-0.02, point], color=colour, lw=1.0 * scale, ls=(0, (1, 2)), alpha=max(alpha, 0.6))
    axes.plot([at], [point], "o", ms=6 * scale, mfc=hexadecimal(BACKGROUND), mec=colour, mew=1.4 * scale, alpha=max(alpha, 0.6))
    low, high = axes.get_xlim()
    right = at < low + 0.75 * (high - low)
    axes.annotate(
        f"{axis.symbol}* = {at:.2f}",
        (at, point),
        xytext=((9 if right else -9) * scale, -7 * scale),
        textcoords="offset points",
        ha="left" if right else "right",
        va="top",
        color=colour,
        fontsize=9.5 * scale,
    )


def _legend(axes: Axes, scale: float) -> None:
    legend = axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, borderaxespad=0.2, borderpad=0.2,
        fontsize=9.5 * scale, labelcolor=hexadecimal(TEXT), handlelength=1.6, columnspacing=1.6,
    )  # fmt: skip
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)


def figure_pixels(figure: Figure) -> Pixels:
    """A figure as it is drawn: (H, W, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()  # type: ignore[no-untyped-call]


def _array(values: object) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)
