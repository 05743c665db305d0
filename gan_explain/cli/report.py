"""`gan-explain report`: a target by itself, without a generator: how well it classifies, and whether it sees opacities."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from gan_explain.cli import common
from gan_explain.cli.datasets import DATA_HELP, INCLUDE, open_included
from gan_explain.cli.models import TRUST_CODE, names, probed
from gan_explain.cli.words import FORMS


@common.command("report", out="out/report")
@click.option("--target", "spec", required=True, metavar="SPEC", help=f"CNN: {FORMS}.")
@click.option("--positive", metavar="A+B", help="Classes that count as positive. [default: the target's own]")
@click.option("--classes", metavar="A,B", help="Names of the target's outputs, where it has none.")
@click.option("--data", required=True, help=DATA_HELP)
@INCLUDE
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="test", help="Split to measure on.")
@click.option("--resolution", default=128, type=click.IntRange(32, 1024), help="Side at which images are read, in pixels.")
@click.option("--segmenter", "segmenter_name", default="lungs128", help="Checkpoint that reads the lungs.")
@TRUST_CODE
def report(
    run: common.Run,
    spec: str,
    positive: str | None,
    classes: str | None,
    data: str,
    include: Sequence[str],
    split: str,
    resolution: int,
    segmenter_name: str,
    trust_code: bool,
) -> dict[str, Any]:
    """Accuracy and its relatives of a CNN, per source and (of three or more) per class, its confusion matrix, and its response to
    rendered opacities; no generator is involved."""
    from gan_explain.evaluate import EvaluationResult, full_report
    from gan_explain.files.temporaries import write_bytes
    from gan_explain.metrics.confusion import format_confusion
    from gan_explain.metrics.measure import format_table
    from gan_explain.nets.segmenter import load_segmenter

    segmenter = load_segmenter(segmenter_name).to(run.device)
    target = probed(
        spec, run.device, positive=names(positive), classes=names(classes), segmenter=segmenter, trust_code=trust_code
    )
    dataset = open_included(run, data, resolution, include).split(split)
    if run.dry_run:
        return {"images": len(dataset)}
    found = full_report(target, dataset, segmenter, seed=run.seed)
    matrices = found.confusion.as_json() | {"left_out": found.left_out}
    provenance = {"target": spec, "split": split, "include": list(include), "operating_point": target.operating_point}
    with run.staging() as folder:
        EvaluationResult(found.measures, [], provenance).save(folder)
        write_bytes(folder / "confusion.json", (json.dumps(matrices, indent=2) + "\n").encode())
    run.say(f"{format_table(found.measures)}\n\n{format_confusion(found.confusion)}")
    if found.left_out:
        run.say(f"{found.left_out} images left out of the classes: their label is none of {', '.join(target.classes)}")
    return {"measures": found.measures, "confusion": matrices}
