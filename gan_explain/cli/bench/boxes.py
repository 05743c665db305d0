"""`gan-explain bench boxes`: do maps point at what radiologists boxed?"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from gan_explain.cli import common
from gan_explain.cli.models import GENERATOR_OPTION, TRUST_CODE, default_target, generator_facts, probed, target_facts
from gan_explain.cli.names import Salt
from gan_explain.cli.words import FORMS

SPLITS = ("train", "val", "test")
READER, ROWS, MEASURES, TABLE = "reader", "per_image.jsonl", "measures.json", "table.txt"


@common.command("boxes", out="out/bench_boxes")
@click.option(
    "--data", required=True, type=click.Path(path_type=Path), metavar="DIR", help="A folder with manifest.csv and its images."
)
@click.option(
    "--boxes", "table", type=click.Path(path_type=Path), metavar="CSV",
    help="path,x,y,width,height in pixels of the stored image. [default: boxes.csv of the folder]",
)  # fmt: skip
@click.option("--split", multiple=True, type=click.Choice(SPLITS), help="Splits to take. [default: all; boxes train nothing]")
@GENERATOR_OPTION
@click.option(
    "--target", "specs", multiple=True, metavar="SPEC",
    help=f"CNN whose Grad-CAM is measured: {FORMS}; may be repeated. [default: the generator checkpoint's own, else cxr128's]",
)  # fmt: skip
@click.option("--segmenter", default="lungs128", metavar="NAME", help="Checkpoint that finds the lungs.")
@TRUST_CODE
def boxes(
    run: common.Run,
    data: Path,
    table: Path | None,
    split: Sequence[str],
    generator: str,
    specs: Sequence[str],
    segmenter: str,
    trust_code: bool,
) -> dict[str, Any]:
    """The reader's layer and each CNN's Grad-CAM against boxes that radiologists drew, on whole radiographs at their own size.

    Share of the map that falls in the box (of what lies in the lungs), pointing game, AUROC of the pixels in the lungs; means
    with patient-bootstrap intervals of 95 %, whole and by split; and the paired difference, the reader minus each other map.
    Beside them stand maps that find nothing: heat spread evenly over the lungs, depth in them, brightness. The reader asks no
    CNN.

    Writes per_image.jsonl, measures.json and table.txt.
    """
    from tqdm import tqdm

    from gan_explain.attribution import METHODS, MethodOptions
    from gan_explain.bench import boxes as bench
    from gan_explain.data.manifest import read_manifest
    from gan_explain.files.temporaries import write_bytes
    from gan_explain.metrics.measure import format_table
    from gan_explain.nets.load import load_generator
    from gan_explain.nets.segmenter import load_segmenter
    from gan_explain.types import DataError

    secret = Salt(run)
    manifest, listed = data / "manifest.csv", table or data / "boxes.csv"
    for path in (manifest, listed):
        if not path.is_file():
            raise DataError(f"{path}: expected a CSV file, got none")
    records = read_manifest(manifest)
    found = bench.read_boxes(listed, records)
    wanted = split or SPLITS
    chosen = [each for each in found if each.record.split in wanted]
    if not chosen:
        raise DataError(f"{listed}: expected a box in the splits {', '.join(wanted)}, got none")
    lungs = load_segmenter(segmenter).to(run.device)
    given = dict.fromkeys(specs or (default_target(generator),))
    targets = {spec: probed(spec, run.device, segmenter=lungs, trust_code=trust_code) for spec in given}
    options = MethodOptions(generator=load_generator(generator).to(run.device), segmenter=lungs)
    first = next(iter(targets.values()))
    maps = {READER: (METHODS[READER](options), first)}
    maps |= {f"grad_cam ({spec})": (METHODS["grad_cam"](options), target) for spec, target in targets.items()}
    run.record(generator=generator_facts(generator), targets=[target_facts(spec, each) for spec, each in targets.items()])
    if run.dry_run:
        return {"images": len(chosen), "maps": list(maps)}
    names = secret.names(records)
    measuring = bench.measured(data, chosen, maps, lungs)
    total = len(chosen) * (len(maps) + len(bench.REFERENCES))
    rows = list(tqdm(measuring, total=total, unit="map", file=sys.stderr, disable=None))
    measures, ahead = bench.measures(rows, seed=run.seed), bench.differences(rows, READER, seed=run.seed)
    text = format_table({f"{name}: {measure}": each for name, of in (measures | ahead).items() for measure, each in of.items()})
    document = common.jsonable({"schema_version": 1, "images": len(chosen), "measures": measures, "differences": ahead})
    with run.staging() as folder:
        lines = [json.dumps(each, allow_nan=False) for each in names.rows([row.as_dict() for row in rows])]
        write_bytes(folder / ROWS, "".join(f"{line}\n" for line in lines).encode())
        write_bytes(folder / MEASURES, (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())
        write_bytes(folder / TABLE, f"{text}\n".encode())
        secret.keep(folder)
    run.say(f"{text}\n\n{len(chosen)} radiographs; written to {run.out}")
    return dict(document)
