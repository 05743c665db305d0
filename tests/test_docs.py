"""What the documentation shows is run, and what it links to is there."""

from __future__ import annotations

import ast
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


def test_the_architecture_names_every_room_on_its_floor() -> None:
    source = (ROOT / "tests" / "test_floors.py").read_text(encoding="utf-8")
    assigned = {
        t.id: n.value for n in ast.parse(source).body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)
    }
    floors = ast.literal_eval(assigned["FLOORS"])
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| \S.* \|$", text, re.M)
    assert [(int(floor), room) for floor, room in rows] == [(i + 1, room) for i, rooms in enumerate(floors) for room in rooms]
    rooms = {path.stem for path in (ROOT / "gan_explain").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert {room for _, room in rows} == rooms - {"__init__"}
