"""CSV that no spreadsheet takes for formulas: the one writer of every table that holds text from outside.

A cell that begins with = + - @, a tab or a line break is a formula to Excel and LibreOffice, and can read files or call the net
(CWE-1236, https://owasp.org/www-community/attacks/CSV_Injection). Such text gets an apostrophe in front, which `plain` takes off
again; numbers stay numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_FORMULA = re.compile(r"'*\s*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")  # apostrophes too: so that what is read is what was written
_QUOTED = re.compile(r"[,;\"\t\r\n]")  # ; and tab separate cells in some countries' spreadsheets


def csv_text(rows: Iterable[Sequence[object]], newline: str = "\n") -> str:
    """Rows (a header is one of them) as RFC 4180 CSV; numbers to the bit, None as nothing."""
    return "".join(",".join(map(_cell, row)) + newline for row in rows)


def safe(text: str) -> str:
    """Text that no spreadsheet computes: an apostrophe before what looks like a formula, unless it is a number."""
    return f"'{text}" if _FORMULA.match(text) and not _is_number(text) else text


def plain(text: str) -> str:
    """The inverse of `safe`."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, re.ASCII) is not None


def _cell(value: object) -> str:
    if isinstance(value, float):  # numpy's too, whose own repr names their type
        return repr(float(value))
    text = safe(value) if isinstance(value, str) else "" if value is None else str(value)
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text
