"""Pictures, films and tables of results; depends on results alone, so a saved result renders without weights or data."""

from __future__ import annotations

from gan_explain.render.curves import positive_label, write_curve, write_curves
from gan_explain.render.draw import Axis, axis_of
from gan_explain.render.sheet import write_sheet
from gan_explain.render.strip import write_strip, write_strips
from gan_explain.render.video import write_film

__all__ = [
    "Axis",
    "axis_of",
    "positive_label",
    "write_curve",
    "write_curves",
    "write_film",
    "write_sheet",
    "write_strip",
    "write_strips",
]
