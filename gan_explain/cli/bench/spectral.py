"""`gan-explain bench spectral`: does spectral importance help as augmentation?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import click

from gan_explain.cli import common
from gan_explain.cli.bench.augment import IMAGES, RESULTS, part, settings_of
from gan_explain.cli.datasets import INCLUDE, open_included
from gan_explain.cli.names import Salt
from gan_explain.cli.train.shared import DATA


@common.command("spectral", out="runs/bench_spectral", resume=True)
@DATA
@INCLUDE
@click.option("--seeds", default=5, type=click.IntRange(1), help="Seeds, from --seed on.")
@click.option(
    "--arm", "arms", multiple=True, type=click.Choice(["none", "gaussian", "importance", "spectrum"]), help="[default: all]"
)
@click.option(
    "--share", default="1/1", callback=part, metavar="I/N", help="Every Nth seed, from the Ith: processes side by side."
)
@click.option("--resolution", default=64, type=click.IntRange(32, 512))
@click.option(
    "--set", "overrides", multiple=True, metavar="NAME=VALUE", help="A field of bench.spectral.Settings, say steps=200."
)
def spectral(
    run: common.Run,
    data: str,
    include: Sequence[str],
    seeds: int,
    arms: Sequence[str],
    share: tuple[int, int],
    resolution: int,
    overrides: Sequence[str],
) -> dict[str, object]:
    """One architecture from scratch without a filter, with a Gaussian low-pass and with the spectral importance filter.

    Results are appended to results.jsonl as they come; --resume goes on (arms that are there are not repeated), and two processes
    may share the folder with --share 1/2 and 2/2. Prints the table: paired differences over seeds and test patients.
    """
    from gan_explain.bench import spectral as bench
    from gan_explain.bench.augment import append, read_rows
    from gan_explain.data import coarse, write_manifest
    from gan_explain.types import DataError

    secret = Salt(run, fills=True)
    wanted = settings_of(bench.Settings(), overrides)
    dataset = open_included(run, data, resolution, include)
    labels = {coarse(record.label) for record in dataset.records}
    if "covid" not in labels or len(labels) < 2:
        raise DataError(f"{data}: expected covid images and others, got {', '.join(sorted(labels))} (see --include)")
    chosen = range(run.seed, run.seed + seeds)[share[0] - 1 :: share[1]]
    if run.dry_run:
        return {"seeds": list(chosen), "train": len(dataset.split("train")), "test": len(dataset.split("test"))}
    path = run.folder / RESULTS
    if run.overwrite and not run.resume:
        path.unlink(missing_ok=True)
    if any((row["settings"], row["size"]) != (wanted.as_dict(), resolution) for row in read_rows(path)):
        raise DataError(f"{path}: expected results of these settings ({wanted}, {resolution} px), got others; name another --out")
    names = secret.names(dataset.records)
    write_manifest([names.record(record) for record in dataset.records], run.folder / IMAGES)
    for seed in chosen:
        done = {row["arm"] for row in read_rows(path) if row["seed"] == seed}
        for row in bench.rows(dataset, seed, wanted, [arm for arm in arms or bench.ARMS if arm not in done]):
            append(path, names.answers(row))
    found = bench.entries(read_rows(path), [replace(record, path=names.image(record.path)) for record in dataset.records])
    run.say(bench.markdown(found))
    return {"entries": [vars(each) for each in found]}
