"""Write docs/api.md, the public interface, from signatures and docstrings: `make api`. tests/test_docs.py holds it to them."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gan_explain
from gan_explain.metrics.registry import entries

PAGE = Path(__file__).resolve().parent / "api.md"
CLASSES = {
    "Radiographs and counterfactuals": ("counterfactual", ("Radiograph", "Traversal", "Counterfactual")),
    "Data": ("data", ("Dataset", "Batch")),
    "Targets": ("targets", ("ModuleTarget", "TargetConfig")),
    "Audit and evaluation": ("audit", ("AuditOptions", "AuditResult")),
    "Heat maps": ("attribution", ("Method", "Explanation")),
    "Contracts": ("types", ("Target", "Generator", "Segmenter", "Explainer")),
    "Errors": ("types", ("DataError", "CheckpointError", "TargetError", "TrainingDiverged")),
}
HEAD = """# Python interface

Made by `make api` from signatures and docstrings: change those.

```py
import gan_explain as gx
```

Images are float32 (N, 1, H, W) in [0, 1], air dark and bone bright. Nothing is clamped in silence: what is not so raises
ValueError in one line.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD, "## `gan_explain`", *(function(name) for name in sorted(gan_explain.PUBLIC) if name != "METHODS"), methods()]
    for title, (room, names) in CLASSES.items():
        module = importlib.import_module(f"gan_explain.{room}")
        parts += [f"## {title}", *(of_class(getattr(module, name), f"gan_explain.{room}.{name}") for name in names)]
    return "\n\n".join(part.strip() for part in [*parts, measures()]) + "\n"


def function(name: str) -> str:
    made = getattr(gan_explain, name)
    return f"### `gx.{name}`\n\n```py\n{written(name, made)}\n```\n\n{text(made)}"


def methods() -> str:
    rows = [f"| `{name}` | {first_line(type(maker()))} |" for name, maker in sorted(gan_explain.METHODS.items())]
    head = "### `gx.METHODS`\n\nHeat maps by name. `gx.METHODS[name]().attribute(images, model)`: of a target or any `nn.Module`."
    return "\n".join([head, "", "| name | map |", "|---|---|", *rows])


def measures() -> str:
    known = [each for each in entries().values() if not each.raw]
    rows = [f"| `{each.name}` | {each.label} | {each.unit or each.statistic} | {each.better or ''} |" for each in known]
    head = "## Measures\n\nWhat `evaluate` and `audit` take, each with a 95 % interval over patients."
    return "\n".join([head, "", "| name | what it is | of the samples | better |", "|---|---|---|---|", *sorted(rows)])


def of_class(cls: type, name: str) -> str:
    lines = [f"### `{name}`", text(cls)]
    lines.append("\n".join(fields(cls)))
    lines += [f"**`{inner}`** {text(made)}" for inner, made in members(cls)]
    return "\n\n".join(line for line in lines if line)


def fields(cls: type) -> Iterator[str]:
    """A line for each field that a user fills or reads: of dataclasses, configurations and protocols."""
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("gan_explain"):
            for name, annotation in inspect.get_annotations(base).items():
                if not name.startswith("_"):
                    form, words = kind(annotation), described(annotation)
                    yield f"- `{name}`: `{form}`" + (f". {words}" if words else "")


def kind(annotation: object) -> str:
    """A type as it is written in the source, without what `Annotated` adds."""
    if not isinstance(annotation, str):
        return getattr(annotation, "__name__", str(annotation))
    inside = arguments(annotation)
    return ast.unparse(inside[0]) if inside else annotation


def described(annotation: object) -> str:
    """The description of `Annotated[..., Field(description="...")]`, else nothing."""
    calls = [call for call in arguments(annotation)[1:] if isinstance(call, ast.Call)] if isinstance(annotation, str) else []
    found = [word.value for call in calls for word in call.keywords if word.arg == "description"]
    return "".join(str(ast.literal_eval(value)) for value in found)


def arguments(annotation: str) -> list[ast.expr]:
    """What stands in the brackets of `Annotated[...]`; nothing for another type."""
    tree = ast.parse(annotation, mode="eval").body
    if isinstance(tree, ast.Subscript) and ast.unparse(tree.value) == "Annotated" and isinstance(tree.slice, ast.Tuple):
        return tree.slice.elts
    return []


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """Methods and properties that have a docstring, in the order of the file."""
    for base in cls.__mro__:
        if not base.__module__.startswith("gan_explain"):
            continue
        for name, made in vars(base).items():
            if name.startswith("_"):
                continue
            made = made.__func__ if isinstance(made, classmethod | staticmethod) else made
            if isinstance(made, property) and made.__doc__:
                yield name, made
            elif inspect.isfunction(made) and made.__doc__:
                yield written(name, made, short=True), made


def written(name: str, made: Any, short: bool = False) -> str:
    """A signature on one line, or one parameter a line where that is too long."""
    signature = inspect.signature(made)
    parameters = [str(p).replace("'", "") if p.default is p.empty else parameter(p) for p in signature.parameters.values()]
    parameters = [p for p in parameters if p not in ("self", "cls")]
    first = next((i for i, p in enumerate(signature.parameters.values()) if p.kind is p.KEYWORD_ONLY), None)
    if first is not None and not any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values()):
        parameters.insert(first - (len(signature.parameters) - len(parameters)), "*")
    result = signature.return_annotation
    end = ")" if result is signature.empty else f") -> {kind(result)}"
    line = f"{name}({', '.join(parameters)}{end}"
    return line if short or len(line) <= 100 else f"{name}(\n    " + ",\n    ".join(parameters) + f",\n{end}"


def parameter(p: inspect.Parameter) -> str:
    made = type(p.default)
    default = f"{made.__name__}()" if made.__module__.startswith("gan_explain") else repr(p.default)
    return f"{p.name}: {kind(p.annotation)} = {default}"


def text(made: Any) -> str:
    """A docstring as it was written, without the indent; none is inherited."""
    return inspect.cleandoc(made.__doc__ or "")


def first_line(made: Any) -> str:
    return text(made).split("\n\n")[0].replace("\n", " ").replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
