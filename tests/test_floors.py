"""The direction of imports, and habits that no linter knows, read from the source with ast."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "gan_explain"

# From the ground up. A part imports only from lines above its own; inside a package anything goes.
FLOORS = (
    ("labels", "optics", "pixels", "settings", "spectrum", "stats", "types"),
    ("files", "lungs", "response"),
    ("image", "nets"),
    ("data", "render", "targets"),
    ("counterfactual", "metrics"),
    ("attribution", "augment", "evaluate"),
    ("audit", "progression", "train"),
    ("bench", "doctor", "repair"),
    ("cli",),
    ("__main__",),
)
FLOOR = {part: number for number, parts in enumerate(FLOORS) for part in parts}
PRINTING = FLOOR["cli"]  # from here up: may print and seed

SEEDING = {"np.random.seed", "numpy.random.seed", "random.seed", "torch.seed", "torch.manual_seed", "torch.random.manual_seed"}
SEEDING |= {"torch.cuda.manual_seed", "torch.cuda.manual_seed_all", "torch.use_deterministic_algorithms"}
PICKLES = ("pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib")  # not imported at all
EVERYWHERE = {
    **dict.fromkeys(("pickle.load", "pickle.loads", "marshal.load", "marshal.loads", "shelve.open"), "runs code from the file"),
    **dict.fromkeys(("yaml.load", "yaml.full_load", "yaml.unsafe_load", "yaml.load_all"), "runs code from the file"),
    **dict.fromkeys(("eval", "exec", "builtins.eval", "builtins.exec"), "runs text as code"),
    **dict.fromkeys(("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"), "runs a shell"),
    **dict.fromkeys(("pandas.read_pickle", "pd.read_pickle"), "runs code from the file"),
    "tempfile.mktemp": "names a file that another process may make first",
    "torch.jit.load": "runs code from the file",
    "torch.export.load": "runs code from the file",
    "torch.hub.load": "downloads",
    "urllib.request.urlopen": "downloads",
    "torch.hub.load_state_dict_from_url": "downloads",
}
RUNS_CODE = ("torch.jit", "torch.export")  # neither imported nor aliased: their load is always spelled out, where it can be seen
# The one file that may load such archives, and what it must ask first.
TRUSTED, GUARD = "targets/archives.py", "trusted"
BELOW_CLI = {
    "print": "output belongs to the CLI",
    "warnings.filterwarnings": "a library filters nobody's warnings",
    **dict.fromkeys(SEEDING, "seeding belongs to the CLI"),
}


def dotted(node: ast.expr) -> str:
    """`a.b.c` of a name or an attribute chain; "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        head = dotted(node.value)
        return f"{head}.{node.attr}" if head else ""
    return ""


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every absolute module or name imported anywhere in a file (deferred imports too), with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def unsafe_keywords(call: ast.Call) -> Iterator[str]:
    """What a call says, or leaves unsaid, in keywords that decide whether code is run."""
    said = {each.arg: each.value.value if isinstance(each.value, ast.Constant) else None for each in call.keywords}
    name = dotted(call.func)
    if name == "torch.load" and said.get("weights_only") is not True:
        yield "torch.load without weights_only=True runs code from the file"
    if (name in ("np.load", "numpy.load") or "allow_pickle" in said) and said.get("allow_pickle") is not False:
        yield f"{name} without allow_pickle=False runs code from the file"
    if said.get("shell", False) is not False:
        yield f"{name} with a shell runs what stands in a name"


def import_violations(source: str, part: str) -> list[str]:
    """Imports in a file of `part` (a top-level module or package of gan_explain) that do not point down."""
    if part not in FLOOR:
        return [f"{part} stands on no floor: add it to FLOORS"]
    found = []
    tree = ast.parse(source)
    for line, name in imported(tree):
        pieces = name.split(".")
        if name.startswith("."):
            found.append(f"{line}: relative import {name}")
        elif name.startswith("torchvision.io"):
            found.append(f"{line}: torchvision.io crashes on a corrupt PNG; use gan_explain.image")
        elif pieces[0] == "gan_explain" and len(pieces) > 1 and pieces[1] not in (part, "__version__"):
            if pieces[1] not in FLOOR:
                found.append(f"{line}: {name} stands on no floor: add it to FLOORS")
            elif FLOOR[pieces[1]] >= FLOOR[part]:
                found.append(f"{line}: {part} imports {name}, which is not below it")
    return found


def habit_violations(source: str, part: str) -> list[str]:
    """Calls in a file of `part` that the habits forbid."""
    forbidden = EVERYWHERE if FLOOR.get(part, 0) >= PRINTING else EVERYWHERE | BELOW_CLI
    tree = ast.parse(source)
    found = [f"{line}: import of {name}: {forbidden[name]}" for line, name in imported(tree) if name in forbidden]
    found += [
        f"{line}: import of {name}: spell out torch.jit and torch.export"
        for line, name in imported(tree)
        if any(name == module or name.startswith(f"{module}.") for module in RUNS_CODE) and name not in forbidden
    ]
    found += [
        f"{line}: import of {name}: runs code from files" for line, name in imported(tree) if name.partition(".")[0] in PICKLES
    ]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            if isinstance(node, ast.Attribute) and dotted(node).startswith("torchvision.io"):
                found.append(f"{node.lineno}: torchvision.io crashes on a corrupt PNG; use gan_explain.image")
            continue
        name = dotted(node.func)
        if name in forbidden:
            found.append(f"{node.lineno}: {name}: {forbidden[name]}")
        found += [f"{node.lineno}: {unsafe}" for unsafe in unsafe_keywords(node)]
    return found


def unguarded(source: str) -> list[str]:
    """What stays forbidden in the file that may load archives: any such call but in a function that asks `GUARD` before it."""
    tree = ast.parse(source)
    loads = {name for name in EVERYWHERE if name.startswith(RUNS_CODE)}
    safe: set[int] = set()
    for function in (node for node in tree.body if isinstance(node, ast.FunctionDef)):
        first = next((step for step in function.body if not isinstance(step, ast.Expr)), None)  # after the docstring
        asks = isinstance(first, ast.Assign) and isinstance(first.value, ast.Call) and dotted(first.value.func) == GUARD
        safe |= {node.lineno for node in ast.walk(function) if isinstance(node, ast.Call) and asks}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and dotted(node.func) in loads]
    found = [f"{node.lineno}: {dotted(node.func)} without {GUARD}() before it" for node in calls if node.lineno not in safe]
    mentions = sum(isinstance(node, ast.Attribute) and dotted(node) in loads for node in ast.walk(tree))
    return found + (["a loader is passed on instead of called"] if mentions != len(calls) else [])


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_source_keeps_its_floor_and_habits(path: Path) -> None:
    source, part = path.read_text(encoding="utf-8"), part_of(path)
    if part == "__init__":
        known = ast.parse(source)
        checked = [node for node in known.body if isinstance(node, ast.If) and dotted(node.test) == "TYPE_CHECKING"]
        for_types = {name for node in checked for _, name in imported(node)}
        assert {name for _, name in imported(known)} - for_types == {
            "__future__.annotations", "importlib", "sys", "types.ModuleType", "typing.TYPE_CHECKING",
        }  # fmt: skip
        return
    habits = habit_violations(source, part)
    if path.relative_to(PACKAGE).as_posix() == TRUSTED:
        habits = [each for each in habits if not each.partition(": ")[2].startswith(RUNS_CODE)] + unguarded(source)
    assert import_violations(source, part) + habits == []


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/**/*.py")), ids=lambda path: path.name)
def test_examples_keep_the_habits(path: Path) -> None:
    assert habit_violations(path.read_text(encoding="utf-8"), "cli") == []


def test_every_package_folder_has_an_init() -> None:
    """A folder without one is left out of an installation."""
    missing = {path.parent for path in files()} - {path.parent for path in PACKAGE.rglob("__init__.py")}
    assert missing == set()


@pytest.mark.parametrize("script", sorted(set(ROOT.glob("*.py")) - {ROOT / "setup.py"}), ids=lambda path: path.name)
def test_scripts_at_the_root_only_call_the_command_line(script: Path) -> None:
    source = script.read_text(encoding="utf-8")
    names = {name for _, name in imported(ast.parse(source)) if not name.startswith("__future__")}
    assert names
    assert all(name.startswith("gan_explain.cli") for name in names)
    assert len(source.splitlines()) <= 20


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("image", "from gan_explain.nets import unet"),
        ("types", "import gan_explain.image"),
        ("data", "from gan_explain.targets import load_target"),
        ("metrics", "def f():\n    from gan_explain.cli import main"),
        ("targets", "from gan_explain import train"),
        ("train", "from gan_explain.brand_new import thing"),
        ("brand_new", ""),
        ("render", "from gan_explain.counterfactual import Traversal"),
        ("counterfactual", "def plot():\n    from gan_explain.evaluate import run"),
        ("render", "class A:\n    def plot(self):\n        from gan_explain.audit import run"),
        ("nets", "from .blocks import conv"),
        ("data", "import torchvision.io"),
        ("data", "from torchvision.io import decode_image"),
    ],
)
def test_an_import_that_does_not_point_down_is_found(part: str, source: str) -> None:
    assert len(import_violations(source, part)) == 1


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("types", "from __future__ import annotations\nimport torch"),
        ("data", "from gan_explain import image\nfrom gan_explain.data.manifest import read_manifest"),
        ("cli", "from gan_explain.train.loop import run\nfrom gan_explain import __version__"),
        ("counterfactual", "class A:\n    def plot(self):\n        from gan_explain.render import draw"),
    ],
)
def test_an_import_that_points_down_is_allowed(part: str, source: str) -> None:
    assert import_violations(source, part) == []


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("metrics", "print('hello')"),
        ("checkpoints", "torch.load(path)"),
        ("checkpoints", "torch.load(path, weights_only=False)"),
        ("cli", "import pickle\npickle.load(file)"),
        ("cli", "from pickle import load"),
        ("train", "import pickle"),
        ("data", "import shelve"),
        ("data", "from marshal import loads as read"),
        ("render", "np.load(path)"),
        ("render", "np.load(path, allow_pickle=True)"),
        ("render", "np.load(path, allow_pickle=trusted)"),
        ("render", "np.save(path, array, allow_pickle=True)"),
        ("render", "subprocess.run(command, shell=True)"),
        ("render", "subprocess.run(command, shell=bool(command))"),
        ("render", "os.system(command)"),
        ("render", "eval(text)"),
        ("render", "exec(text)"),
        ("render", "tempfile.mktemp()"),
        ("checkpoints", "torch.load(path, weights_only=trusted)"),
        ("cli", "yaml.full_load(file)"),
        ("cli", "yaml.load(file)"),
        ("train", "np.random.seed(0)"),
        ("train", "torch.manual_seed(0)"),
        ("train", "from torch import manual_seed"),
        ("data", "import warnings\nwarnings.filterwarnings('ignore')"),
        ("data", "import torchvision\ntorchvision.io.decode_image(x)"),
        ("cli", "torch.jit.load(path)"),
        ("targets", "torch.export.load(path)"),
        ("targets", "from torch.export import load"),
        ("targets", "from torch.jit import load as tensors"),
        ("targets", "from torch import jit"),
        ("targets", "import torch.export as archive"),
    ],
)
def test_a_bad_habit_is_found(part: str, source: str) -> None:
    assert habit_violations(source, part)


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("cli", "torch.manual_seed(0)\nprint('hello')"),
        ("train", "torch.Generator().manual_seed(0)"),
        ("targets", "torch.load(path, weights_only=True)"),
        ("metrics", "logger.info('print')"),
        ("render", "np.load(path, allow_pickle=False)"),
        ("render", "subprocess.run(command, shell=False)"),
        ("nets", "network.eval()"),
    ],
)
def test_a_good_habit_is_allowed(part: str, source: str) -> None:
    assert habit_violations(source, part) == []


LOAD = 'def f(request):\n    """Doc."""\n    path = trusted(request, \'x\')\n    return torch.jit.load(path)'


def test_archives_are_loaded_only_after_asking() -> None:
    assert unguarded(LOAD) == []
    assert unguarded(LOAD.replace("path = trusted(request, 'x')", "path = request.file"))
    assert unguarded(LOAD.replace("trusted(request, 'x')", "trusted")) != []
    assert unguarded(LOAD + "\nmodule = torch.export.load('x.pt2')")
    assert unguarded(LOAD + "\ndef g(path):\n    loader = torch.jit.load\n    return loader(path)")
    assert unguarded((PACKAGE / TRUSTED).read_text(encoding="utf-8")) == []
