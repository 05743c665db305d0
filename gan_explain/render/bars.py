"""Bars with intervals: a panel for each measure, in it a bar for each of a few names, all in one picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from gan_explain.render.curves import figure_pixels
from gan_explain.render.draw import ACCENT, BACKGROUND, COOL, LINE, MUTED, PANEL, TEXT, hexadecimal, own_style, write_png


@dataclass(frozen=True)
class Bar:
    """A value with its interval; None where there is none. `marked` bars stand out by colour."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    marked: bool = False


@dataclass(frozen=True)
class Panel:
    title: str
    bars: Sequence[Bar]


@own_style()
def write_bars(panels: Sequence[Panel], path: str | os.PathLike[str], columns: int = 4) -> None:
    """Write a PNG of panels in rows of `columns`; the first bar of each stands at its top. ValueError without a bar, or where the
    panels' names are not the same ones."""
    if not panels or not panels[0].bars:
        raise ValueError("expected at least one panel with a bar, got none")
    if len({tuple(bar.name for bar in panel.bars) for panel in panels}) > 1:
        raise ValueError("expected the same names in every panel, got others")
    rows = -(-len(panels) // columns)
    height = 0.9 + 0.26 * len(panels[0].bars)
    figure = Figure((3.6 * columns, height * rows), dpi=100, facecolor=hexadecimal(BACKGROUND), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes, panel in zip(grid.flat, panels, strict=False):
        _draw(axes, panel)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    write_png(Image.fromarray(figure_pixels(figure)), path)


def _draw(axes: Axes, panel: Panel) -> None:
    axes.set_facecolor(hexadecimal(PANEL))
    axes.set_title(panel.title, color=hexadecimal(TEXT), fontsize=9)
    axes.tick_params(colors=hexadecimal(MUTED), labelsize=8, length=2)
    axes.grid(axis="x", color=hexadecimal(LINE), lw=0.5, alpha=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_color(hexadecimal(LINE))
        spine.set_visible(side in ("left", "bottom"))
    for place, bar in enumerate(panel.bars):
        if bar.value is None:
            continue
        axes.barh(place, bar.value, 0.7, color=hexadecimal(ACCENT if bar.marked else COOL), alpha=0.8)
        if bar.low is not None and bar.high is not None:
            axes.plot([bar.low, bar.high], [place, place], color=hexadecimal(TEXT), lw=1.2, solid_capstyle="butt")
    axes.set_yticks(range(len(panel.bars)), [bar.name for bar in panel.bars])
    axes.set_ylim(len(panel.bars) - 0.5, -0.5)
