"""`gan-explain bench explainers`: every heat-map method on the same images, measured and side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from gan_explain.cli import common
from gan_explain.cli.datasets import DATA_HELP, INCLUDE, open_included
from gan_explain.cli.models import (
    GENERATOR_OPTION,
    SPEC,
    TRUST_CODE,
    default_target,
    generator_facts,
    names,
    probed,
    target_facts,
)
from gan_explain.cli.names import Salt

if TYPE_CHECKING:
    from gan_explain.attribution import Method
    from gan_explain.bench.explainers import Asked, Row
    from gan_explain.bench.explainers_table import Key
    from gan_explain.files.pseudonyms import Pseudonyms
    from gan_explain.metrics.measure import Measure
    from gan_explain.render.bars import Panel
    from gan_explain.render.maps import MapRow
    from gan_explain.types import Target

ROWS, MEASURES, TABLE, BARS, MAPS = "per_image.jsonl", "measures.json", "table.md", "bars.png", "maps.png"


@common.command("explainers", out="out/bench_explainers")
@click.option("--data", required=True, help=DATA_HELP)
@INCLUDE
@click.option(
    "--split", type=click.Choice(["train", "val", "test"]), default="test", help="Split whose positives are asked about."
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Ask about N of them, drawn by --seed.")
@click.option("--resolution", default=128, type=click.IntRange(32, 1024), help="Side at which images are read, in pixels.")
@GENERATOR_OPTION
@click.option("--target", metavar="SPEC", help=SPEC)
@click.option("--method", metavar="A,B", help="Heat maps to compare. [default: all that a target allows]")
@click.option(
    "--also", multiple=True, nargs=2, metavar="SPEC A,B", help="Another target and the heat maps to ask of it; may be repeated."
)
@click.option("--layer", default="", show_default="a method's own choice", metavar="NAME", help="Layer to look at.")
@click.option("--segmenter", default="lungs128", metavar="NAME", help="Checkpoint that finds the lungs.")
@click.option(
    "--baseline", type=click.Choice(["blurred", "mean", "negatives"]), default="blurred",
    help="What a deleted pixel becomes: blurred, the mean of what the target sees, or the mean training negative.",
)  # fmt: skip
@click.option("--steps", default=50, type=click.IntRange(1), help="Steps of deletion and insertion.")
@click.option("--batch-size", default=8, type=click.IntRange(1), help="Images at a time.")
@click.option("--rows", "shown", default=4, type=click.IntRange(0), help="Images whose maps are drawn.")
@TRUST_CODE
def explainers(
    run: common.Run,
    data: str,
    include: Sequence[str],
    split: str,
    limit: int | None,
    resolution: int,
    generator: str,
    target: str | None,
    method: str | None,
    also: Sequence[tuple[str, str]],
    layer: str,
    segmenter: str,
    baseline: str,
    steps: int,
    batch_size: int,
    shown: int,
    trust_code: bool,
) -> dict[str, Any]:
    """Heat maps of the positives of a split, measured: against lesion masks where there are any, else against the lungs.

    Pointing game, IoU at equal area, relevance mass; deletion and insertion AUC and ROAD; how alike the map of the same network
    with its weights drawn anew is; time. Of maps with a sign the positive part is held against the mask; deletion, insertion and
    ROAD take them as they are. Noise and the mask itself stand beside them. Means over images, with patient-bootstrap intervals
    of 95 %.

    Writes per_image.jsonl, measures.json, table.md, bars.png and maps.png.
    """
    from gan_explain.attribution import METHODS, MethodOptions
    from gan_explain.bench import explainers as bench
    from gan_explain.bench import explainers_table as table
    from gan_explain.files.temporaries import write_bytes
    from gan_explain.nets.load import load_generator
    from gan_explain.nets.segmenter import load_segmenter
    from gan_explain.render.bars import write_bars
    from gan_explain.render.maps import write_maps
    from gan_explain.types import TargetError

    secret = Salt(run)
    spec = target or default_target(generator)
    chosen = {spec: _methods(method) or tuple(METHODS), **{other: _methods(listed) for other, listed in also}}
    lungs_of = load_segmenter(segmenter).to(run.device)
    layers = None
    if any(METHODS[name](MethodOptions()).uses_generator for listed in chosen.values() for name in listed):
        layers = load_generator(generator).to(run.device)
        run.record(generator=generator_facts(generator))
    label = "covid" if layers is None else layers.labels[0]
    options = MethodOptions(layer, layers, segmenter=lungs_of, seed=run.seed, label=label)
    targets = {each: probed(each, run.device, segmenter=lungs_of, trust_code=trust_code) for each in chosen}
    dataset = open_included(run, data, resolution, include)
    run.record(targets=[target_facts(each, cnn) for each, cnn in targets.items()])
    asked = {each: bench.positives(dataset.split(split), cnn, limit, run.seed) for each, cnn in targets.items()}
    found: dict[str, dict[str, Method]] = {}
    reasons: dict[str, dict[str, str]] = {}
    for each, cnn in targets.items():
        first = next(bench.questions(asked[each], cnn, lungs_of, 1))
        found[each], reasons[each] = bench.usable(chosen[each], options, cnn, first)
        if reasons[each] and (method or each != spec or not found[each]):  # asked for by name, or nothing left
            raise TargetError("; ".join(f"{name}: {reason}" for name, reason in reasons[each].items()))
    about = {"images": {each: len(images) for each, images in asked.items()}, "left_out": reasons, "baseline": baseline}
    if run.dry_run:
        return {**about, "methods": {each: list(methods) for each, methods in found.items()}}
    by: dict[Key, list[Row]] = {}
    pictures: list[MapRow] = []
    shown_as = secret.names(dataset.records)
    with run.staging() as folder:
        with open(folder / ROWS, "w", encoding="utf-8", buffering=1) as file:
            for each, cnn in targets.items():
                batches = bench.questions(asked[each], cnn, lungs_of, batch_size)
                batches = _kept(batches, found[each], cnn, shown, pictures, partial(_named, shown_as, each))
                stand_in = bench.baseline_of(baseline, cnn, dataset)
                for row in bench.explained(found[each], cnn, batches, stand_in, name=each, steps=steps, seed=run.seed):
                    by.setdefault((each, row.method), []).append(row)
                    file.write(json.dumps(shown_as.rows([row.as_dict()])[0], allow_nan=False) + "\n")
        ordered = {(each, name): by[each, name] for each in targets for name in (*found[each], *bench.REFERENCES)}
        totals, ahead = table.measures(ordered, seed=run.seed), table.leads(ordered, seed=run.seed)
        parts = _words(ordered, about), table.markdown(ordered, totals), table.leads_markdown(ahead)
        text = "\n\n".join(filter(None, parts))
        write_bytes(folder / TABLE, f"{text}\n".encode())
        measured = {each: {name: total for (where, name), total in totals.items() if where == each} for each in targets}
        document = {"schema_version": 1, **about, "measures": measured, "leads": [asdict(lead) for lead in ahead]}
        write_bytes(folder / MEASURES, (json.dumps(common.jsonable(document), indent=2, allow_nan=False) + "\n").encode())
        write_bars(_panels(totals), folder / BARS)
        secret.keep(folder)
        if pictures:
            write_maps(pictures, folder / MAPS)
    run.say(f"{text}\n\nwritten to {run.out}")
    return document


def _methods(listed: str | None) -> tuple[str, ...]:
    """The names in A,B, once each, () for none given; UsageError for one that is no method."""
    from gan_explain.attribution import METHODS

    chosen = tuple(dict.fromkeys(names(listed) or ()))
    if any(name not in METHODS for name in chosen) or (listed is not None and not chosen):
        raise click.UsageError(f"heat maps {listed}: expected some of {', '.join(METHODS)}")
    return chosen


def _named(names: Pseudonyms, spec: str, path: str) -> str:
    return f"{names.image(path)} ({spec})"


def _kept(
    batches: Iterator[Asked],
    methods: Mapping[str, Method],
    target: Target,
    count: int,
    pictures: list[MapRow],
    named: Callable[[str], str],
) -> Iterator[Asked]:
    """The batches as they are; the maps of the first `count` images are added to `pictures` as they pass, each `named` by its
    path."""
    from gan_explain.render.heat import HeatMap
    from gan_explain.render.maps import MapRow

    left = count
    for asked in batches:
        few = min(left, len(asked))
        if few:
            maps = {name: made.attribute(asked.images[:few], target, asked.lungs[:few]).cpu() for name, made in methods.items()}
            for i in range(few):
                columns = {name: HeatMap("", heat[i], signed=methods[name].signed) for name, heat in maps.items()}
                note = f"{named(asked.records[i].path)}   p {float(asked.p[i]):.2f}"
                pictures.append(MapRow(asked.images[i].cpu(), asked.masks[i].cpu(), columns, note))
            left -= few
        yield asked


def _words(by: Mapping[Key, Sequence[Row]], about: Mapping[str, Any]) -> str:
    """What was asked, in sentences: the images, how the target answered, what a deleted pixel becomes, who had no map."""
    lines = []
    for spec, count in about["images"].items():
        rows = next((rows for (name, _), rows in by.items() if name == spec), [])
        if not rows:
            continue
        called = sum(row.called == "positive" for row in rows)
        p, gone = (sum(values) / len(rows) for values in ([row.p for row in rows], [row.p_baseline for row in rows]))
        kinds = ", ".join(f"{sum(row.mask == kind for row in rows)} {kind}" for kind in dict.fromkeys(row.mask for row in rows))
        lines.append(
            f"{spec}: {count} positives, {called} of them called positive; masks: {kinds}. "
            f"Mean p {p:.3f}, and {gone:.3f} with every pixel deleted (baseline: {about['baseline']})."
        )
        lines += [f"Left out for {spec}: {name} ({reason})." for name, reason in about["left_out"][spec].items()]
    return "\n".join(lines)


def _panels(totals: Mapping[Key, Mapping[str, Measure]]) -> list[Panel]:
    """A panel a measure, a bar a method; the generator's own maps stand out."""
    from gan_explain.bench.explainers_table import COLUMNS, OWN
    from gan_explain.render.bars import Bar, Panel

    several = len({spec for spec, _ in totals}) > 1

    def bar(key: Key, name: str) -> Bar:
        found = totals[key][name]
        label = f"{key[1]} ({key[0].rpartition(':')[2]})" if several else key[1]
        return Bar(label, found.value, found.low, found.high, key[1] in OWN)

    return [Panel(column.title, [bar(key, name) for key in totals]) for name, column in COLUMNS.items()]
