"""`gan-explain augment`: synthetic positives for the training split, as images with a manifest that says where each came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from gan_explain.cli import common
from gan_explain.cli.datasets import DATA_HELP, INCLUDE, open_included
from gan_explain.cli.models import TRUST_CODE, generator_facts, probed, translates
from gan_explain.cli.words import FORMS, GENERATOR

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from gan_explain.augment import Maker
    from gan_explain.data import Dataset
    from gan_explain.types import Segmenter
MOST_DONORS = 256  # positives that layers are taken from


def amount(context: click.Context, parameter: click.Parameter, value: str) -> int | None:
    """ "balance" -> None, a number -> that many images."""
    if value == "balance":
        return None
    if not value.isdigit() or int(value) < 1:
        raise click.BadParameter(f"expected balance or a number of images, got {value!r}")
    return int(value)


@common.command("augment", out="out/augmented")
@click.option("--data", default="phantom", help=DATA_HELP)
@INCLUDE
@click.option(
    "--to", "count", default="balance", callback=amount, metavar="balance|N", help="As many as negatives, or N images more."
)
@click.option(
    "--generator", "name", default=GENERATOR, metavar="NAME",
    help="Checkpoint that makes them: by layers, or, where it holds a CycleGAN, by translation.",
)  # fmt: skip
@click.option(
    "--from",
    "sources",
    type=click.Choice(["negatives", "positives"]),
    default="negatives",
    help="Lay on negatives, or on healed positives (layers only).",
)
@click.option(
    "--strength", "strengths", nargs=2, type=click.FloatRange(0), metavar="LOW HIGH",
    help="Range of lambda. [default: 0.75 1.25; 0.8 1 for a CycleGAN]",
)  # fmt: skip
@click.option("--label", default="covid", help="The class to make more of.")
@click.option("--target", metavar="SPEC", help=f"Drop what this CNN does not call positive: {FORMS}. [default: none]")
@click.option("--segmenter", "segmenter_name", default="lungs128", metavar="NAME", help="Checkpoint that finds the lungs.")
@click.option("--complete", is_flag=True, help="Write the real images beside them: a data set to train on as it is.")
@TRUST_CODE
def augment(
    run: common.Run,
    data: str,
    include: Sequence[str],
    count: int | None,
    name: str,
    sources: str,
    strengths: tuple[float, float] | None,
    label: str,
    target: str | None,
    segmenter_name: str,
    complete: bool,
    trust_code: bool,
) -> dict[str, object]:
    """Make synthetic images of the rare class out of the training split.

    Layers are those read on the split's own positives, moved lung to lung, and some of the generator's prior. Writes
    synthetic/*.png and manifest.csv: every row is of the training split and names generator, source image, strength and seed
    (synthetic=1). A manifest with a synthetic image in val or test is refused by every command. An image is dropped when the
    target does not call it positive, the lungs moved (Dice < 0.9), nothing changed, its contrast is no radiograph's, or it is
    close to a real positive or to another synthetic image; counts of each are printed.
    """
    from gan_explain.augment import CycleMaker, LayerMaker, shortfall, synthesise, write_synthetic
    from gan_explain.nets.load import load_cyclegan, load_generator
    from gan_explain.nets.segmenter import load_segmenter

    if strengths and strengths[0] > strengths[1]:
        raise click.UsageError(f"--strength: expected LOW to HIGH, got {strengths[0]:g} {strengths[1]:g}")
    translating = translates(name)
    if translating and sources == "positives":
        raise click.UsageError("--from positives: a CycleGAN translates negatives; use a generator of layers")
    lungs = load_segmenter(segmenter_name).to(run.device)
    generator: Any = (load_cyclegan(name) if translating else load_generator(name)).to(run.device)
    size = int(generator.resolution)
    dataset = open_included(run, data, size, include)
    train = dataset.split("train")
    lacking = shortfall(train, (label,))  # also with a number: it refuses a split without either class
    count = lacking if count is None else count
    if not translating and label not in generator.labels:
        raise click.UsageError(f"--label {label}: the generator of {name} knows {', '.join(generator.labels)}")
    if not count:
        run.say(f"{label} is not the rarer class: nothing to make")
        return {"kept": 0, "asked": 0}
    if translating:
        _check_binary(train, label)
    judge = probed(target, run.device, segmenter=lungs, trust_code=trust_code) if target else None
    run.record(generator=generator_facts(name, "cyclegan" if translating else "generator"), target=target, asked=count)
    if run.dry_run:
        return {"asked": count, "records": len(train)}
    if translating:
        maker: Maker = CycleMaker(generator, strengths or CycleMaker.span)
    else:
        donors = _donors(train, label, lungs, run.device)
        maker = LayerMaker(generator, sources, label=label, strengths=strengths or LayerMaker.span, donors=donors)
    made = synthesise(train, maker, count, positive=(label,), judge=judge, segmenter=lungs, seed=run.seed, device=run.device)
    facts = {"kept": len(made.images), "asked": count, "made": made.made, "dropped": made.dropped, "near_copy": made.threshold}
    run.record(**facts)
    with run.staging() as folder:
        beside = []
        if complete:
            from gan_explain.cli.data import export
            from gan_explain.data.manifest import read_manifest

            export(dataset, folder)
            beside = read_manifest(folder / "manifest.csv")
        write_synthetic(made.images, folder, label, beside)
    run.say(f"{len(made.images)} of {count} images in {run.out}; {made.made} made, dropped: {made.dropped or 'none'}")
    return facts


def _donors(train: Dataset, label: str, segmenter: Segmenter, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images and lungs of the positives that layers are taken from, at most MOST_DONORS, as `synthesise` counts them."""
    from gan_explain.data import belongs
    from gan_explain.data.manifest import is_synthetic

    positives = train.where(lambda record: belongs(record.label, (label,)) and not is_synthetic(record))
    images = positives.batch(range(min(len(positives), MOST_DONORS))).images.to(device)
    return images, segmenter(images).to(images)


def _check_binary(train: Dataset, label: str) -> None:
    """DataError unless the training split has two classes: a CycleGAN knows no third."""
    from gan_explain.data import coarse
    from gan_explain.types import DataError

    classes = sorted({coarse(record.label) for record in train.records})
    if len(classes) != 2:
        came = ", ".join(classes)
        raise DataError(f"{train.root}: a CycleGAN translates one class to {label}: expected two classes (--include), got {came}")
