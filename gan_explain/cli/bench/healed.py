"""`gan-explain bench healed`: does a healed pneumonia look normal to a classifier that the generator never met?"""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from gan_explain.cli import common
from gan_explain.cli.datasets import DATA_HELP, open_included
from gan_explain.cli.models import GENERATOR_OPTION, generator_facts, names
from gan_explain.cli.names import Salt

ROWS, MEASURES, TABLE = "per_image.jsonl", "measures.json", "table.txt"


@common.command("healed", out="out/bench_healed")
@click.option("--data", required=True, help=DATA_HELP)
@GENERATOR_OPTION
@click.option("--sources", metavar="A,B", help="Sources to take. [default: all that have both classes in each split]")
@click.option("--positive", default="pneumonia", metavar="A+B", help="Labels that count as diseased, against normal.")
@click.option("--limit", type=click.IntRange(5), metavar="N", help="N images of each class, source and split, drawn by --seed.")
@click.option("--resolution", default=256, type=click.IntRange(32, 1024), help="Side at which images are read, in pixels.")
@click.option("--segmenter", default="lungs128", metavar="NAME", help="Checkpoint that finds the lungs.")
@click.option("--batch-size", default=8, type=click.IntRange(1), help="Images at a time.")
def healed(
    run: common.Run,
    data: str,
    generator: str,
    sources: str | None,
    positive: str,
    limit: int | None,
    resolution: int,
    segmenter: str,
    batch_size: int,
) -> dict[str, Any]:
    """How often a classifier that had no part in training the generator calls healed pneumonias normal.

    One classifier a source, pneumonia against normal: logistic regression on EfficientNet-Lite0's ImageNet features, averaged
    over the whole image, fitted to the source's training split; penalty and threshold (best balanced accuracy) from its
    validation split. Of the test split: images as they are, with what was read taken off, and with a random smooth layer of equal
    load taken off; share called normal, mean p, paired differences, the classifier's AUROC, with patient-bootstrap intervals of
    95 %.

    The features have the same ImageNet start as the reader's contracting half; nothing of the generator was trained with
    the classifiers, or with anything that was trained for them.

    Writes per_image.jsonl, measures.json and table.txt.
    """
    from tqdm import tqdm

    from gan_explain.bench import healed as bench
    from gan_explain.files.temporaries import write_bytes
    from gan_explain.metrics.measure import format_table
    from gan_explain.nets.load import load_generator
    from gan_explain.nets.segmenter import load_segmenter
    from gan_explain.types import SPLITS

    secret = Salt(run)
    network, lungs = load_generator(generator).to(run.device), load_segmenter(segmenter).to(run.device)
    features, labels = bench.Pyramid(), names(positive) or ()
    dataset = open_included(run, data, resolution, ())
    run.record(generator=generator_facts(generator))
    chosen = bench.usable_sources(dataset, labels, names(sources) or ())
    parts = {s: {split: bench.part(dataset, s, split, labels, limit, run.seed) for split in SPLITS} for s in chosen}
    if run.dry_run:
        return {"images": {source: {split: len(each) for split, each in of.items()} for source, of in parts.items()}}
    judges, rows = {}, []
    total = sum(len(of["test"]) for of in parts.values())
    with tqdm(total=total, unit="image", file=sys.stderr, disable=None) as bar:
        for source, of in parts.items():
            judges[source] = bench.judge_of(of["train"], of["val"], features, labels, run.device)
            for row in bench.measured(
                of["test"], judges[source], network, lungs, features, labels, seed=run.seed, batch_size=batch_size
            ):
                rows.append(row)
                bar.update()
    measures = bench.measures(rows, seed=run.seed)
    text = format_table({f"{source}: {name}": each for source, of in measures.items() for name, each in of.items()})
    about = {source: each.as_dict() for source, each in judges.items()}
    document = common.jsonable({"schema_version": 1, "images": total, "classifiers": about, "measures": measures})
    shown = secret.names(dataset.records).rows([row.as_dict() for row in rows])
    with run.staging() as folder:
        write_bytes(folder / ROWS, "".join(f"{json.dumps(each, allow_nan=False)}\n" for each in shown).encode())
        write_bytes(folder / MEASURES, (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())
        write_bytes(folder / TABLE, f"{text}\n".encode())
        secret.keep(folder)
    run.say(f"{text}\n\n{total} radiographs; written to {run.out}")
    return dict(document)
