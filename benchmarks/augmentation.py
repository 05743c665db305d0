"""Print the results of `gan-explain bench augment` as the Markdown table of docs/results.md.

    gan-explain bench augment --data DIR --out out/bench_augment
    python benchmarks/augmentation.py out/bench_augment [MEASURE ...]

Works while the benchmark runs: what is there is printed. With names, only those measures.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from gan_explain.bench.augment import read_rows
from gan_explain.bench.augment_table import entries, markdown
from gan_explain.data.manifest import read_manifest


def main() -> None:
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    rows = read_rows(folder / "results.jsonl")
    found = [entry for entry in entries(rows, read_manifest(folder / "images.csv")) if not names or entry.measure in names]
    print(markdown(found))
    print(f"\nSettings: {rows[0]['settings']}")
    for arm in dict.fromkeys(row["arm"] for row in rows):
        seconds = [row["seconds"] for row in rows if row["arm"] == arm]
        print(f"{arm}: {len(seconds)} runs, {sum(seconds) / len(seconds):.0f} s each")
    for name in ("cyclegan", "gan"):
        made = [row["synthetic"][name] for row in rows if name in row["synthetic"]]
        dropped: Counter[str] = sum((Counter(each["dropped"]) for each in made), Counter())
        print(
            f"{name}: kept {sum(each['kept'] for each in made)} of {sum(each['made'] for each in made)}, dropped {dict(dropped)}"
        )


if __name__ == "__main__":
    main()
