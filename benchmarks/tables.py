"""Print evaluations as the Markdown tables of docs/results.md.

    gan-explain evaluate --target checkpoint:cxr128 --data DIR --out out/cxr128
    python benchmarks/tables.py out/cxr128 [NAME ...]

With names, only those measures (a name ending in a dot takes all that begin with it).
"""

from __future__ import annotations

import sys

from gan_explain.evaluate import EvaluationResult
from gan_explain.metrics.measure import Measure


def number(found: Measure) -> str:
    """`0.95 [0.91, 0.98]` of a measure, or why there is none."""
    if found.value is None:
        return f"null: {found.reason or 'not measured'}"
    between = "" if found.low is None or found.high is None else f" [{found.low:.3g}, {found.high:.3g}]"
    return f"{found.value:.3g}{between}"


def chosen(name: str, names: list[str]) -> bool:
    return not names or any(name == each or (each.endswith(".") and name.startswith(each)) for each in names)


def main() -> None:
    folder, *names = sys.argv[1:]
    measures = EvaluationResult.load(folder).measures
    print("| measure | source | value [95 % interval] | N |")
    print("|---|---|---|---|")
    for name, entry in measures.items():
        if chosen(name, names):
            rows = [("all", entry), *entry.by.items()]
            for source, row in rows:
                print(f"| {name} | {source} | {number(row)} | {'' if row.n is None else row.n} |")


if __name__ == "__main__":
    main()
