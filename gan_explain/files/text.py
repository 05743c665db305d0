"""Text from outside made harmless: no formula to a spreadsheet, no command to a terminal, no trick on the eye.

A cell of a CSV that begins with = + - @, a tab or a line break is a formula to Excel and LibreOffice, and can read files or call
the net (CWE-1236, https://owasp.org/www-community/attacks/CSV_Injection); so is what follows a ; where that separates cells. Such
text gets an apostrophe in front, which `plain` takes off again; numbers stay numbers. `csv_text` writes every table.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

_SEPARATORS = re.compile(r"([,;\t\r\n])")  # of cells, in some country's spreadsheet
_FORMULA = re.compile(r"'*\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")  # apostrophes too: so that what is read is what was written
_BREAK = re.compile(r"'*[\t\r\n]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def csv_text(rows: Iterable[Sequence[object]], newline: str = "\n") -> str:
    """Rows (a header is one of them) as RFC 4180 CSV; numbers to the bit, None as nothing."""
    return "".join(",".join(map(_cell, row)) + newline for row in rows)


def safe(text: str) -> str:
    """Text that no spreadsheet computes: an apostrophe before what looks like a formula, unless it is a number."""
    parts = (f"'{part}" if _FORMULA.match(part) and not _NUMBER.fullmatch(part) else part for part in _SEPARATORS.split(text))
    found = "".join(parts)
    return f"'{found}" if _BREAK.match(found) else found


def plain(text: str) -> str:
    """The inverse of `safe`."""
    text = text[1:] if text.startswith("'") and _BREAK.match(text) else text
    parts = (part[1:] if part.startswith("'") and _FORMULA.match(part) else part for part in _SEPARATORS.split(text))
    return "".join(parts)


def one_line(error: BaseException, most: int = 300) -> str:
    """What an exception says, on one line of at most `most` characters; its kind where it says nothing."""
    return " ".join(str(error).split())[:most] or type(error).__name__


def printable(text: str) -> str:
    """Text without what a terminal obeys or an eye is misled by: control characters but line breaks and tabs, and marks without a
    shape (those that turn the direction of writing around among them), become their escapes."""

    def shown(each: str) -> str:
        hidden = each not in "\n\t" and unicodedata.category(each) in ("Cc", "Cf", "Cs")
        return ascii(each)[1:-1] if hidden else each

    return text if text.isprintable() else "".join(map(shown, text))


def _cell(value: object) -> str:
    if isinstance(value, float):  # numpy's too, whose own repr names their type
        return repr(float(value))
    text = safe(value) if isinstance(value, str) else "" if value is None else str(value)
    return '"' + text.replace('"', '""') + '"' if '"' in text or _SEPARATORS.search(text) else text
