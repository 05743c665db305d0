"""Pictures, films and tables of results; depends on results alone, so a saved result renders without weights or data."""

from __future__ import annotations

from gan_explain.render.sheet import write_sheet

__all__ = ["write_sheet"]
