"""Every heat-map method on the same images, measured (`bench.explainers_rows` says how) and side by side.

Of maps with a sign the positive part is held against the mask; deletion, insertion and ROAD take them as they are. Noise and the
mask itself stand beside them. Means over images, with patient-bootstrap intervals of 95 %.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from gan_explain.attribution import METHODS, Method, MethodOptions
from gan_explain.bench.explainers_rows import REFERENCES, Asked, Row, baseline_of, explained, positives, questions, usable
from gan_explain.bench.explainers_table import COLUMNS, OWN, Key, leads, leads_markdown, markdown, measures
from gan_explain.bench.given import Given, Outcome
from gan_explain.metrics.measure import Measure
from gan_explain.render.bars import Bar, Panel, write_bars
from gan_explain.render.heat import HeatMap
from gan_explain.render.maps import MapRow, write_maps
from gan_explain.types import Target, TargetError


@dataclass(frozen=True)
class Options:
    """`method`: by default all that a target allows; `also`: SPEC@METHOD+METHOD, other targets and the maps to ask of them;
    `own`: maps that are held against all others; `baseline`: what a deleted pixel becomes (blurred, the mean of what the target
    sees, or the mean training negative); `steps` of deletion and insertion; `rows`: images whose maps are drawn."""

    method: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    own: tuple[str, ...] = OWN
    layer: str = ""
    baseline: Literal["blurred", "mean", "negatives"] = "blurred"
    steps: Annotated[int, Field(ge=1)] = 50
    resolution: Annotated[int, Field(ge=32, le=1024)] = 128
    batch_size: Annotated[int, Field(ge=1)] = 8
    rows: Annotated[int, Field(ge=0)] = 4

    def __post_init__(self) -> None:
        asked = {*self.method, *(name for names in self.others.values() for name in names)}
        if asked - set(METHODS) or not all(self.others.values()):
            raise ValueError(f"heat maps: expected some of {', '.join(METHODS)}, got {', '.join(sorted(asked)) or 'none'}")

    @property
    def others(self) -> dict[str, tuple[str, ...]]:
        """The maps that are asked of other targets, by spec."""
        pairs = [each.rpartition("@")[::2] for each in self.also]
        return {spec: tuple(filter(None, names.split("+"))) for spec, names in pairs}


def bench(given: Given, options: Options) -> Outcome:
    """The positives of a split, asked of every method that a target allows; TargetError for one that was asked for and is not."""
    chosen = {given.target: tuple(dict.fromkeys(options.method)) or tuple(METHODS), **options.others}
    lungs = given.load_segmenter()
    needed = any(METHODS[name].uses_generator for names in chosen.values() for name in names)
    layers = given.load_generator() if needed else None
    label = "covid" if layers is None else layers.labels[0]
    settings = MethodOptions(options.layer, layers, segmenter=lungs, seed=given.seed, label=label)
    targets = given.load_targets(chosen)
    dataset = given.dataset(options.resolution)
    split = dataset.split(given.split or "test")
    asked = {spec: positives(split, target, given.limit, given.seed) for spec, target in targets.items()}
    found, reasons = dict[str, dict[str, Method]](), dict[str, dict[str, str]]()
    for spec, target in targets.items():
        first = next(questions(asked[spec], target, lungs, 1))
        found[spec], reasons[spec] = usable(chosen[spec], settings, target, first)
        if reasons[spec] and (options.method or spec != given.target or not found[spec]):  # asked for by name, or nothing left
            raise TargetError("; ".join(f"{name}: {reason}" for name, reason in reasons[spec].items()))
    counts = {spec: len(images) for spec, images in asked.items()}
    about = {"images": counts, "left_out": reasons, "baseline": options.baseline}
    if given.dry_run:
        return Outcome({**about, "methods": {spec: list(methods) for spec, methods in found.items()}})
    names = given.names(dataset.records)
    pictures: list[MapRow] = []

    def shown(spec: str, path: str) -> str:
        return f"{names.image(path)} ({spec})"

    def answered() -> Iterator[Row]:
        for spec, target in targets.items():
            batches = questions(asked[spec], target, lungs, options.batch_size)
            batches = _drawing(batches, options.rows, found[spec], target, partial(shown, spec), pictures)
            stand_in = baseline_of(options.baseline, target, dataset)
            yield from explained(found[spec], target, batches, stand_in, name=spec, steps=options.steps, seed=given.seed)

    total = sum(count * (len(found[spec]) + len(REFERENCES)) for spec, count in counts.items())
    by: dict[Key, list[Row]] = {(spec, name): [] for spec in targets for name in (*found[spec], *REFERENCES)}
    for row in given.progress(answered(), total, "map"):
        by[row.target, row.method].append(row)
    totals, ahead = measures(by, seed=given.seed), leads(by, options.own, seed=given.seed)
    text = "\n\n".join(filter(None, (_words(by, about), markdown(by, totals), leads_markdown(ahead))))
    measured = {spec: {name: total for (where, name), total in totals.items() if where == spec} for spec in targets}
    document = {**about, "measures": measured, "leads": [asdict(lead) for lead in ahead]}

    def bars(path: Path) -> None:
        write_bars(_panels(totals, options.own), path)

    def maps(path: Path) -> None:
        write_maps(pictures, path)

    drawn = {"bars.png": bars} | ({"maps.png": maps} if pictures else {})
    return Outcome(document, text, [row.as_dict() for rows in by.values() for row in rows], drawn)


def _drawing(
    batches: Iterator[Asked],
    left: int,
    methods: Mapping[str, Method],
    target: Target,
    named: Callable[[str], str],
    pictures: list[MapRow],
) -> Iterator[Asked]:
    """The batches as they are; the maps of the first images are added to `pictures` as they pass, `named` by their paths."""
    for asked in batches:
        for i in range(min(left, len(asked))):
            image, lungs = asked.images[i : i + 1], asked.lungs[i : i + 1]
            heats = {name: method.attribute(image, target, lungs)[0].cpu() for name, method in methods.items()}
            columns = {name: HeatMap("", heat, signed=methods[name].signed) for name, heat in heats.items()}
            note = f"{named(asked.records[i].path)}   p {float(asked.p[i]):.2f}"
            pictures.append(MapRow(image[0].cpu(), asked.masks[i].cpu(), columns, note))
        left -= min(left, len(asked))
        yield asked


def _words(by: Mapping[Key, Sequence[Row]], about: Mapping[str, Any]) -> str:
    """What was asked, in sentences: the images, how the target answered, what a deleted pixel becomes, who had no map."""
    lines = []
    for spec, count in about["images"].items():
        rows = next((rows for (name, _), rows in by.items() if name == spec), [])
        called = sum(row.called == "positive" for row in rows)
        p, gone = (sum(values) / len(rows) for values in ([row.p for row in rows], [row.p_baseline for row in rows]))
        kinds = ", ".join(f"{sum(row.mask == kind for row in rows)} {kind}" for kind in dict.fromkeys(row.mask for row in rows))
        lines.append(
            f"{spec}: {count} positives, {called} of them called positive; masks: {kinds}. "
            f"Mean p {p:.3f}, and {gone:.3f} with every pixel deleted (baseline: {about['baseline']})."
        )
        lines += [f"Left out for {spec}: {name} ({reason})." for name, reason in about["left_out"][spec].items()]
    return "\n".join(lines)


def _panels(totals: Mapping[Key, Mapping[str, Measure]], own: Sequence[str]) -> list[Panel]:
    """A panel a measure, a bar a method; the maps that are held against the others stand out."""
    several = len({spec for spec, _ in totals}) > 1

    def bar(key: Key, name: str) -> Bar:
        found = totals[key][name]
        label = f"{key[1]} ({key[0].rpartition(':')[2]})" if several else key[1]
        return Bar(label, found.value, found.low, found.high, key[1] in own)

    return [Panel(column.title, [bar(key, name) for key in totals]) for name, column in COLUMNS.items()]
