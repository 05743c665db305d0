"""Text made harmless: no cell is a formula, numbers stay numbers, what is read is what was written, terminals obey nothing."""

from __future__ import annotations

import ast
import csv
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan_explain.files.text import csv_text, plain, printable, safe

PACKAGE = Path(__file__).resolve().parent.parent / "gan_explain"
FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "  =1", "\uff1d1+1", "\ttab", "\rreturn", "\nline"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_becomes_text(text: str) -> None:
    assert safe(text) == f"'{text}"
    assert plain(safe(text)) == text


@pytest.mark.parametrize(
    ("text", "written"), [("a;=1+1;b", "a;'=1+1;b"), ("\t=1", "'\t'=1"), ('=HYPERLINK("x",-1)', "'=HYPERLINK(\"x\",'-1)")]
)
def test_a_formula_behind_a_separator_too(text: str, written: str) -> None:
    assert safe(text) == written
    assert plain(written) == text


@pytest.mark.parametrize("text", ["-1", "+2.5", "-1e-05", "-.5", "0.25", "", "covid", "a=b", "p-1", "'quoted'"])
def test_numbers_and_words_stay(text: str) -> None:
    assert safe(text) == text


@given(st.text())
def test_what_is_read_is_what_was_written(text: str) -> None:
    assert plain(safe(text)) == text


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=2), min_size=1, max_size=5))
def test_a_csv_reader_gets_every_cell_back(rows: list[list[str]]) -> None:
    assert [[plain(cell) for cell in row] for row in csv.reader(io.StringIO(csv_text(rows), newline=""))] == rows


def test_numbers_are_written_to_the_bit_and_text_is_quoted_where_it_could_split() -> None:
    assert csv_text([(0.1, np.float64(-1 / 3), 7, None, True)]) == "0.1,-0.3333333333333333,7,,True\n"
    assert csv_text([('say "x"', "a,b", "a;b", "a\nb")]) == '"say ""x""","a,b","a;b","a\nb"\n'


def test_no_other_writer_of_csv_is_used() -> None:
    """A csv.writer or DictWriter anywhere in the package would write formulas."""
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr in ("writer", "DictWriter", "to_csv")
        and isinstance(node.value, ast.Name)
        if node.value.id in ("csv", "pandas", "pd", "frame")
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\nc \u00e9 \u6f22", "a\tb\nc \u00e9 \u6f22"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("a\u202egnp.exe", "a\\u202egnp.exe"),
        ("a\rb\x07\x9b", "a\\rb\\x07\\x9b"),
        ("\udcff", "\\udcff"),
    ],
)
def test_nothing_printed_is_obeyed_by_a_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown
