"""What the documentation shows is run, the commands that it names exist, and what it links to is there."""

from __future__ import annotations

import ast
import pkgutil
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "checkpoints").rglob("*.md")])


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


def blocks(document: Path) -> list[tuple[int, str]]:
    """Line and source of every fenced python block that imports the package."""
    text = document.read_text(encoding="utf-8")
    found = [
        (text[: match.start()].count("\n") + 2, match[1]) for match in re.finditer(r"^```python\n(.*?)^```", text, re.S | re.M)
    ]
    return [(line, source) for line, source in found if "gan_explain" in source]


@pytest.mark.parametrize(
    ("document", "line", "source"),
    [pytest.param(d, line, source, id=f"{name_of(d)}:{line}") for d in DOCUMENTS for line, source in blocks(d)],
)
def test_a_block_runs(document: Path, line: int, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = compile("\n" * (line - 1) + source, str(document), "exec", dont_inherit=True)
    exec(code, {"__name__": "__documentation__"})


def headings(document: Path) -> set[str]:
    """Anchors of a page, as GitHub names them."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.S | re.M)
    plain = [re.sub(r"[^\w\- ]", "", heading.strip().lower()) for heading in re.findall(r"^#+ (.*)$", text, re.M)]
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_local_links_and_named_modules_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for link, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", text):
        if "://" not in link:
            place = document.parent / link if link else document
            assert place.exists(), f"{document.name} links to {link}"
            assert not anchor or anchor in headings(place), f"{document.name} links to {link}#{anchor}"
    for name in re.findall(r"`((?:gan_explain/)?(?:\w+/)+\w+\.py)`", text):
        places = [ROOT / "gan_explain" / name.removeprefix("gan_explain/"), ROOT / name, ROOT / "tests" / name]
        assert any(place.is_file() for place in places), f"{document.name} names {name}"


# -- pages that follow the code ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_names_of_the_code_exist(document: Path) -> None:
    """`optics.compose`, `targets.ModuleTarget`, `TargetConfig.domain`: what starts with a room is looked up from there."""
    rooms = {path.stem for path in (ROOT / "gan_explain").iterdir()}
    for name in re.findall(r"`(?:gan_explain\.)?([a-z]+(?:\.\w+)+)(?:\(\))?`", document.read_text(encoding="utf-8")):
        parts = name.split(".")
        if parts[0] in rooms and parts[-1] not in ("py", "md", "json", "csv", "html", "jsonl"):
            try:
                pkgutil.resolve_name(f"gan_explain.{name}")
            except (ImportError, AttributeError):
                pytest.fail(f"{document.name} names {name}")


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


# -- words ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_no_history_of_the_work(document: Path) -> None:
    """A document is read first by someone who was not there."""
    text = document.read_text(encoding="utf-8")
    history = r"(?i)\basked:? 0?\.\d|\(asked\b|\bmissed\*\*|\| met\b|\bthis session\b|^#+ 0\d\d\b|\bissue \d+"
    assert re.findall(history, text, re.M) == []


def test_the_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 90
    assert text.count("![") == 1
