"""What the documentation shows is run, the commands that it names exist, and what it links to is there."""

from __future__ import annotations

import ast
import importlib.util
import pkgutil
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import gan_explain
from gan_explain.bench import BENCHMARKS
from gan_explain.cli import main
from gan_explain.cli.options import overridden
from gan_explain.metrics import registry

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "checkpoints").rglob("*.md")])
SCRIPTS = {"interpolate.py": ["interpolate"], "train_gan.py": ["train", "generator"]}
PROGRAM = re.compile(
    r"(?:gan-explain|python (?:interpolate|train_gan)\.py|torchrun (?:--\S+ \S+ )*(?:train_gan\.py|-m gan_explain))(?= |$)"
)


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
    monkeypatch.setattr(registry, "_entries", {**registry.entries()})  # what a page registers is gone after it
    monkeypatch.setattr(registry, "_computations", {**registry._computations})
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


# -- commands -----------------------------------------------------------------------------------------------------------------


def lines_of(block: str) -> Iterator[str]:
    """The lines of a shell block: continued ones joined, comments taken off, variables put in."""
    values: dict[str, str] = {}
    for line in re.sub(r"\\\n\s*", " ", block).splitlines():
        line = re.sub(r"(^|\s)#.*", "", line).strip()
        for _ in range(3):  # a variable may name another
            line = re.sub(r"\$(\w+)", lambda match: values.get(match[1], match[0]), line)
        if assigned := re.fullmatch(r'(\w+)="(.*)"', line):
            values[assigned[1]] = assigned[2]
        else:
            yield line


def commands(document: Path) -> list[str]:
    """Every line of a shell block, indented block or `code` that starts a command of the toolkit."""
    text = document.read_text(encoding="utf-8")
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", text, re.S | re.M)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    indented = re.findall(r"(?:^    .*\n)+", rest, re.M)
    spans = [" ".join(span.split()).replace("\\|", "|") for span in re.findall(r"`([^`]+)`", rest)]
    found = [line for kind, block in fenced if kind != "python" for line in lines_of(block)]
    found += [line for block in indented for line in lines_of(block)] + spans
    return [line[match.start() :] for line in found if (match := PROGRAM.match(line))]


def named(line: str) -> tuple[click.Command, list[str], click.Context]:
    """The command that a line names, what it is given, and its context."""
    words = shlex.split(re.sub(r" \[(--[^\]]*)\]", r" \1", line))  # [--seed 1] may be left out
    script = next((word for word in words if word in SCRIPTS), None)
    start = words.index("gan_explain") if "gan_explain" in words else 0  # python -m gan_explain
    words = SCRIPTS[script] + words[words.index(script) + 1 :] if script else words[start + 1 :]
    command: click.Command = main
    context = click.Context(main, info_name="gan-explain", **main.context_settings)  # -h too
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        inner = command.get_command(context, words[0])
        if inner is None and re.fullmatch(r"[A-Z]+|.*[|.].*", words[0]):  # NAME, or a|b|c
            return command, [], context
        assert inner is not None, f"{line}: no command {words[0]!r}"
        command, context, words = inner, click.Context(inner, info_name=words[0], parent=context), words[1:]
    return command, words, context


def is_placeholder(word: str) -> bool:
    return bool(re.fullmatch(r"[A-Z_\[\].,:/]+", word)) or any(sign in word for sign in "|$…")


@pytest.mark.parametrize(
    ("document", "line"),
    [pytest.param(d, line, id=f"{name_of(d)}: {line}") for d in DOCUMENTS for line in dict.fromkeys(commands(d))],
)
def test_a_command_and_its_options_exist(document: Path, line: str) -> None:
    command, words, context = named(line)
    if isinstance(command, click.Group):
        return
    words = [word for word in words if word != "..."]
    for parameter in command.params:  # an option that is named without its value
        if words and words[-1] in parameter.opts and not getattr(parameter, "is_flag", False):
            words.append("VALUE")
    given, left, _ = command.make_parser(context).parse_args(words)
    benchmark = given.get("name")
    if command.name == "bench" and isinstance(benchmark, str) and not is_placeholder(benchmark):
        assert benchmark in BENCHMARKS, f"{line}: no benchmark {benchmark!r}"
        overridden(import_module(f"gan_explain.bench.{benchmark}").Options(), given.get("set") or ())
    assert not left, f"{line}: too many arguments: {left}"
    for parameter in command.params:
        values = given.get(parameter.name or "")
        for value in values if isinstance(values, list | tuple) else [values]:
            if isinstance(value, str) and not is_placeholder(value) and not isinstance(parameter.type, click.Path | click.Tuple):
                parameter.type.convert(value, parameter, context)


DATA_OF_THEIR_OWN = ("--include", "--classify", "--out", "--data", "--segmenter", "--target")


def trainings() -> list[tuple[str, ...]]:
    """What the documents give to `train`, but for their data and what is trained from: a phantom's are put in."""
    found: dict[tuple[str, ...], None] = {}
    for document in DOCUMENTS:
        for line in commands(document):
            command, words, context = named(line)
            if context.parent is None or context.parent.info_name != "train" or "--arch" in words[-1:]:
                continue
            pairs = list(zip(words, [*words[1:], ""], strict=False))
            files = [i for i, (word, value) in enumerate(pairs) if word == "--weights" and value != "imagenet"]
            left_out = [i for i, word in enumerate(words) if word in DATA_OF_THEIR_OWN] + files
            dropped = {*left_out, *(i + 1 for i in left_out)}
            kept = [word for i, word in enumerate(words) if i not in dropped and word not in ("--resume", "--overwrite", "...")]
            phantom = {"--data": "phantom:n=24", "--segmenter": "phantom64"}
            phantom |= {"--data": "phantom:n=24,pneumonia=0.3"} if command.name == "target" else {}
            phantom |= {"--target": "checkpoint:phantom64"} if command.name == "free" else {}
            known = [option for parameter in command.params for option in parameter.opts]
            data = [word for option, value in phantom.items() if option in known for word in (option, value)]
            found[("train", str(command.name), *kept, *data, "--dry-run")] = None
    return list(found)


@pytest.mark.parametrize("words", trainings(), ids=lambda words: " ".join(words[1:-1]))
def test_a_training_can_be_planned(words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every --set of a document is a setting, with a value that it may have."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output


def every_option(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from every_option(inner, click.Context(inner, parent=context))


def test_every_option_that_is_named_exists() -> None:
    known = {*every_option(main, click.Context(main, **main.context_settings)), "--help", "--version"}
    unknown = {}
    for document in DOCUMENTS:
        spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.S | re.M))
        options = {
            word
            for span in spans
            if not re.match(r"(?:python|torchrun|pytest|pip) ", span)
            for word in re.findall(r"(?<![\w-])--[a-z][\w-]*", span)
        }
        unknown[name_of(document)] = options - known
    assert {name: options for name, options in unknown.items() if options} == {}


def test_the_check_of_commands_can_fail() -> None:
    with pytest.raises(AssertionError, match="no command"):
        named("gan-explain dance")
    command, words, context = named("gan-explain data DIR --sing 3")
    with pytest.raises(click.NoSuchOption):
        command.make_parser(context).parse_args(words)


# -- pages that follow the code ------------------------------------------------------------------------------------------------


def test_the_page_of_the_python_interface_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("make_api", ROOT / "docs" / "make_api.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert (ROOT / "docs" / "api.md").read_text(encoding="utf-8") == made.page(), "docs/api.md is out of date: make api"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_names_of_the_code_exist(document: Path) -> None:
    """`optics.compose`, `targets.ModuleTarget`, `TargetConfig.domain`: what starts with a room is looked up from there."""
    rooms, text = {path.stem for path in (ROOT / "gan_explain").iterdir()}, document.read_text(encoding="utf-8")
    assert set(re.findall(r"\bgx\.(\w+)", text)) <= set(gan_explain.PUBLIC)
    for name in re.findall(r"`(?:gan_explain\.)?([a-z]+(?:\.\w+)+)(?:\((?:\.\.\.)?\))?`", text):
        parts = name.split(".")
        if parts[0] in rooms and parts[-1] not in ("py", "md", "json", "csv", "html", "jsonl", "dcm"):
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
