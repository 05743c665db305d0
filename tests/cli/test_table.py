"""Measures as text."""

from __future__ import annotations

from gan_explain.cli.table import format_measures


def test_rows_groups_intervals_and_reasons() -> None:
    group = {"value": 0.97, "low": None, "high": None, "n": 60}
    text = format_measures(
        {
            "flip_rate": {"value": 0.98, "low": 0.9551, "high": 1.0, "n": 100, "by": {"nih": group}},
            "LPIPS": {"value": None, "reason": "no local backbone"},
            "load": {"value": 12345.6, "low": 1.0, "high": 2.0, "n": 3},
        }
    )  # fmt: skip
    lines = text.splitlines()
    assert lines[0].split() == ["measure", "value", "95%", "interval", "n"]
    assert lines[1].split() == ["flip_rate", "0.980", "[0.955,", "1.000]", "100"]
    assert lines[2].startswith("  nih")
    assert lines[2].split() == ["nih", "0.970", "60"]
    assert lines[3].endswith("not measured: no local backbone")
    assert "1.235e+04" in lines[4]
    assert len({line.rindex(line.split()[-1]) + len(line.split()[-1]) for line in (lines[0], lines[1], lines[2], lines[4])}) == 1
