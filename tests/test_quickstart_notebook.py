"""examples/quickstart.ipynb, cell by cell, as a kernel would: in another folder, showing what each cell ends in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

NOTEBOOK = Path(__file__).resolve().parent.parent / "examples" / "quickstart.ipynb"
KERNEL = """
import ast, json, sys

shown, names = [], {"__name__": "__main__"}
for cell in json.load(open(sys.argv[1], encoding="utf-8"))["cells"]:
    if cell["cell_type"] == "code":
        *body, last = ast.parse("".join(cell["source"])).body
        ends = isinstance(last, ast.Expr)
        exec(compile(ast.Module(body if ends else [*body, last], []), "cell", "exec"), names)
        if ends:
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
            picture = value._repr_png_() if hasattr(value, "_repr_png_") else b""
            shown.append([type(value).__name__, len(repr(value)), picture[1:4].decode()])
print(json.dumps(shown))
"""


def test_the_notebook_runs_elsewhere(tmp_path: Path) -> None:
    """With what a notebook leaves in the environment."""
    surroundings = {**os.environ, "MPLBACKEND": "agg", "PYTHONPATH": str(NOTEBOOK.parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", KERNEL, str(NOTEBOOK)], cwd=tmp_path, env=surroundings, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout.splitlines()[-1])
    assert [kind for kind, _, picture in shown if picture == "PNG"] == ["Radiograph", "Traversal", "Counterfactual"]
    assert "Figure" in [kind for kind, *_ in shown]
    assert all(length < 1500 for _, length, _ in shown)  # no tensor is printed in full
    assert len(list((tmp_path / "film" / "frames").glob("*.png"))) == 33


def test_it_is_stored_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells if cell["cell_type"] == "code")
