"""Print evaluations as the Markdown tables of docs/results.md.

    gan-explain evaluate --target checkpoint:cxr128 --data DIR --out out/cxr128
    python benchmarks/tables.py out/cxr128 [NAME ...]

With names, only those measures (a name ending in a dot takes all that begin with it).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from gan_explain.evaluate import EvaluationResult


def number(entry: Mapping[str, Any]) -> str:
    """`0.95 [0.91, 0.98]` of a measure, or why there is none."""
    if entry.get("value") is None:
        return f"null: {entry.get('reason', 'not measured')}"
    low, high = entry.get("low"), entry.get("high")
    between = f" [{low:.3g}, {high:.3g}]" if low is not None and high is not None else ""
    return f"{entry['value']:.3g}{between}"


def chosen(name: str, names: list[str]) -> bool:
    return not names or any(name == each or (each.endswith(".") and name.startswith(each)) for each in names)


def main() -> None:
    folder, *names = sys.argv[1:]
    measures = EvaluationResult.load(folder).measures
    print("| measure | source | value [95 % interval] | N |")
    print("|---|---|---|---|")
    for name, entry in measures.items():
        if chosen(name, names):
            rows = [("all", entry), *entry.get("by", {}).items()]
            for source, row in rows:
                print(f"| {name} | {source} | {number(row)} | {row.get('n', '')} |")


if __name__ == "__main__":
    main()
