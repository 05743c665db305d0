"""What the documentation shows is run, and what it links to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("checkpoints/*.md")])


def blocks(document: Path) -> list[tuple[int, str]]:
    """Line and source of every fenced python block that imports the package."""
    text = document.read_text(encoding="utf-8")
    found = [
        (text[: match.start()].count("\n") + 2, match[1]) for match in re.finditer(r"^```python\n(.*?)^```", text, re.S | re.M)
    ]
    return [(line, source) for line, source in found if "gan_explain" in source]


@pytest.mark.parametrize(
    ("document", "line", "source"),
    [pytest.param(d, line, source, id=f"{d.name}:{line}") for d in DOCUMENTS for line, source in blocks(d)],
)
def test_a_block_runs(document: Path, line: int, source: str) -> None:
    code = compile("\n" * (line - 1) + source, str(document), "exec", dont_inherit=True)
    exec(code, {"__name__": "__documentation__"})


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(ROOT)))
def test_local_links_and_named_modules_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in link:
            assert (document.parent / link).exists(), f"{document.name} links to {link}"
    for name in re.findall(r"`((?:gan_explain/)?(?:cli|counterfactual|data|nets|render|targets|train)/\w+\.py)`", text):
        assert (ROOT / "gan_explain" / name.removeprefix("gan_explain/")).is_file(), f"{document.name} names {name}"
