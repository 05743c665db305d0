"""`gan-explain bench augment`: do synthetic positives help where real ones are few?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gan_explain.cli import common
from gan_explain.cli.datasets import DATA_HELP, included, open_included
from gan_explain.cli.models import GENERATOR_OPTION, generator_facts
from gan_explain.cli.names import Salt

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from gan_explain.data import Dataset

    Chosen = TypeVar("Chosen", bound=DataclassInstance)

ADULTS = ("nih:normal", "ieee8023:normal", "ieee8023:covid")
DEFAULT = ("20:5", "10:2", "40:2", "80:2")
RESULTS, IMAGES = "results.jsonl", "images.csv"


def regimes(context: click.Context, parameter: click.Parameter, value: Sequence[str]) -> list[tuple[int, int]]:
    """IMAGES:SEEDS pairs."""
    found = []
    for each in value:
        images, _, seeds = each.partition(":")
        if not images.isdigit() or not seeds.isdigit() or int(images) < 2 or int(seeds) < 1:
            raise click.BadParameter(f"expected IMAGES:SEEDS with at least two images and one seed, got {each!r}")
        found.append((int(images), int(seeds)))
    return found


def part(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, int]:
    """I/N with 1 <= I <= N."""
    i, _, n = value.partition("/")
    if not i.isdigit() or not n.isdigit() or not 1 <= int(i) <= int(n):
        raise click.BadParameter(f"expected I/N, say 1/2, got {value!r}")
    return int(i), int(n)


@common.command("augment", out="runs/bench_augment", resume=True)
@click.option("--data", default="phantom", help=DATA_HELP)
@click.option("--include", multiple=True, default=ADULTS, metavar="[SOURCE:]LABEL", help="Normal and covid images to train on.")
@click.option(
    "--regime", "chosen", multiple=True, default=DEFAULT, callback=regimes, metavar="IMAGES:SEEDS", help="May be repeated."
)
@click.option(
    "--arm", "arms", multiple=True, type=click.Choice(["none", "classical", "cyclegan", "gan", "both"]), help="[default: all]"
)
@click.option(
    "--share", default="1/1", callback=part, metavar="I/N", help="Every Nth case, from the Ith: processes side by side."
)
@click.option("--resolution", default=64, type=click.IntRange(32, 512))
@GENERATOR_OPTION
@click.option("--segmenter", default="lungs128", metavar="NAME", help="Lungs for the generators: one that saw no covid image.")
@click.option("--probe-segmenter", default="lungs128", metavar="NAME", help="Lungs for the opacity probe (measuring only).")
@click.option("--set", "overrides", multiple=True, metavar="NAME=VALUE", help="A field of bench.augment.Settings, say steps=200.")
def augment(
    run: common.Run,
    data: str,
    include: Sequence[str],
    chosen: Sequence[tuple[int, int]],
    arms: Sequence[str],
    share: tuple[int, int],
    resolution: int,
    generator: str,
    segmenter: str,
    probe_segmenter: str,
    overrides: Sequence[str],
) -> dict[str, object]:
    """Classifiers from few covid images: without augmentation, with classical, with synthetic images of either generator.

    Classifiers and CycleGANs are trained from scratch on the regime's images; the generator of layers is given. Results are
    appended to results.jsonl as they come; --resume goes on (arms that are there are not repeated), and two processes may
    share the folder with --share 1/2 and 2/2. Prints the table.
    """
    from gan_explain.bench import augment as bench
    from gan_explain.bench.augment_table import entries, markdown
    from gan_explain.bench.few import few_positives
    from gan_explain.data import write_manifest
    from gan_explain.nets.load import load_generator
    from gan_explain.nets.segmenter import load_segmenter
    from gan_explain.types import DataError

    secret = Salt(run, fills=True)
    wanted = replace(settings_of(bench.Settings(), overrides), generator=generator)
    everything = open_included(run, data, resolution, ())
    train, asked = _sides(everything, include)
    cases = [bench.Case(images, seed) for images, seeds in chosen for seed in range(seeds)][share[0] - 1 :: share[1]]
    for case in cases:
        few_positives(train, case.images, case.seed)
    given = bench.Given(load_segmenter(segmenter))
    if any("gan" in bench.GENERATORS.get(arm, ()) for arm in arms or bench.ARMS):
        given = replace(given, generator=load_generator(generator))
        run.record(generator=generator_facts(generator))
    held = bench.hold(asked, load_segmenter(probe_segmenter))
    if run.dry_run:
        return {"cases": len(cases), "train": len(train), "asked": len(asked)}
    path = run.folder / RESULTS
    if run.overwrite and not run.resume:
        path.unlink(missing_ok=True)
    there = bench.read_rows(path)
    if any(row["settings"] != wanted.as_dict() for row in there):
        raise DataError(f"{path}: expected results of these settings ({wanted}), got others; name another --out")
    names = secret.names(asked.records)
    write_manifest([names.record(record) for record in asked.records], run.folder / IMAGES)
    for case in cases:
        done = {row["arm"] for row in bench.read_rows(path) if (row["images"], row["seed"]) == (case.images, case.seed)}
        for row in bench.rows(case, train, held, given, wanted, [arm for arm in arms or bench.ARMS if arm not in done]):
            bench.append(path, names.answers(row))
    found = entries(bench.read_rows(path), [replace(record, path=names.image(record.path)) for record in asked.records])
    run.say(markdown(found))
    return {"entries": [vars(each) for each in found]}


def _sides(dataset: Dataset, include: Sequence[str]) -> tuple[Dataset, Dataset]:
    """What is trained on, and what is asked: held-out images of the same kind, and every other of the positives' source.

    DataError where the first are not normal and covid images.
    """
    from gan_explain.bench.few import CLASSES
    from gan_explain.types import DataError

    chosen = included(dataset, include)
    found = sorted({record.label for record in chosen.records})
    if found != sorted(CLASSES):
        raise DataError(f"{dataset.root}: expected normal and covid images, got {', '.join(found) or 'none'} (see --include)")
    paths = {record.path for record in chosen.records}
    home = {record.source for record in chosen.records if record.label == CLASSES[1]}
    asked = dataset.where(lambda r: r.split != "train" and (r.path in paths or r.source in home))
    return chosen.split("train"), asked


def settings_of(defaults: Chosen, overrides: Sequence[str]) -> Chosen:
    """NAME=VALUE pairs over a dataclass of defaults (a range as LOW,HIGH); UsageError names what is allowed."""
    from dataclasses import asdict, replace

    kinds: dict[str, type[Any]] = {name: type(value) for name, value in asdict(defaults).items()}
    found: dict[str, Any] = {}
    for each in overrides:
        name, _, value = each.partition("=")
        try:
            found[name] = span(value) if kinds[name] is tuple else kinds[name](value)
        except (KeyError, ValueError):
            raise click.UsageError(f"--set {each}: expected NAME=VALUE with a name of {', '.join(kinds)}") from None
    return replace(defaults, **found)


def span(value: str) -> tuple[float, float]:
    """LOW,HIGH; ValueError for anything else."""
    low, high = (float(each) for each in value.split(","))
    return low, high
