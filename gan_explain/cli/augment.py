"""`gan-explain augment`: synthetic positives for the training split, as images with a manifest that says where each came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from gan_explain.cli import common
from gan_explain.cli.datasets import DATA_HELP, INCLUDE, open_included
from gan_explain.cli.models import FORMS, TRUST_CODE, probed

if TYPE_CHECKING:
    import torch

    from gan_explain.augment import Maker
    from gan_explain.data import Dataset
    from gan_explain.types import Segmenter

CHECKPOINTS = {"cyclegan": "cxr128-cyclegan", "gan": "cxr128"}


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
@click.option("--with", "kind", type=click.Choice(sorted(CHECKPOINTS)), default="cyclegan", help="What makes them.")
@click.option("--checkpoint", metavar="NAME", help="Its checkpoint. [default: cxr128-cyclegan; cxr128 for gan]")
@click.option(
    "--from",
    "sources",
    type=click.Choice(["negatives", "positives"]),
    default="negatives",
    help="Lay on negatives, or on healed positives (gan only).",
)
@click.option(
    "--strength", "strengths", nargs=2, type=click.FloatRange(0), metavar="LOW HIGH",
    help="Range of lambda. [default: 0.8 1; 0.75 1.25 for gan]",
)  # fmt: skip
@click.option("--label", default="covid", help="The class to make more of.")
@click.option("--target", metavar="SPEC", help=f"Drop what this CNN does not call positive: {FORMS}. [default: none; gan's own]")
@click.option("--segmenter", "segmenter_name", default="lungs128", metavar="NAME", help="Checkpoint that finds the lungs.")
@click.option("--complete", is_flag=True, help="Write the real images beside them: a data set to train on as it is.")
@TRUST_CODE
def augment(
    run: common.Run,
    data: str,
    include: Sequence[str],
    count: int | None,
    kind: str,
    checkpoint: str | None,
    sources: str,
    strengths: tuple[float, float] | None,
    label: str,
    target: str | None,
    segmenter_name: str,
    complete: bool,
    trust_code: bool,
) -> dict[str, object]:
    """Make synthetic images of the rare class out of the training split.

    Writes synthetic/*.png and manifest.csv: every row is of the training split and names generator, source image, strength and
    seed (synthetic=1). A manifest with a synthetic image in val or test is refused by every command. An image is dropped when the
    target does not call it positive, the lungs moved (Dice < 0.9), nothing changed, its contrast is no radiograph's, or it is
    close to a real positive or to another synthetic image; counts of each are printed.
    """
    from gan_explain.augment import shortfall, synthesise, write_synthetic
    from gan_explain.segmenter import load_segmenter

    if kind == "cyclegan" and sources == "positives":
        raise click.UsageError("--from positives: a CycleGAN translates negatives; use --with gan")
    if strengths and strengths[0] > strengths[1]:
        raise click.UsageError(f"--strength: expected LOW to HIGH, got {strengths[0]:g} {strengths[1]:g}")
    name = checkpoint or CHECKPOINTS[kind]
    lungs = load_segmenter(segmenter_name).to(run.device)
    size, generator = _load(kind, name, run.device)
    dataset = open_included(run, data, size, include)
    train = dataset.split("train")
    lacking = shortfall(train, (label,))  # also with a number: it refuses a split without either class
    count = lacking if count is None else count
    if kind == "gan" and label not in generator.config.labels:
        raise click.UsageError(f"--label {label}: the generator of {name} knows {', '.join(generator.config.labels)}")
    if not count:
        run.say(f"{label} is not the rarer class: nothing to make")
        return {"kept": 0, "asked": 0}
    if kind == "cyclegan":
        _check_binary(train, label)
    spec = target or (f"checkpoint:{name}" if kind == "gan" else None)
    judge = probed(spec, run.device, segmenter=lungs, trust_code=trust_code) if spec else None
    run.record(checkpoint=name, target=spec, asked=count)
    if run.dry_run:
        return {"asked": count, "records": len(train)}
    maker = _maker(kind, generator, sources, strengths, label, train, lungs, run.device)
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


def _load(kind: str, name: str, device: torch.device) -> tuple[int, Any]:
    """The resolution and the network of a checkpoint."""
    from gan_explain import checkpoints

    network: Any = (checkpoints.load_cyclegan(name) if kind == "cyclegan" else checkpoints.load_generator(name)).to(device)
    return int(network.resolution), network


def _maker(
    kind: str,
    generator: Any,
    sources: str,
    strengths: tuple[float, float] | None,
    label: str,
    train: Dataset,
    segmenter: Segmenter,
    device: torch.device,
) -> Maker:
    from gan_explain.augment import CycleMaker, LayerMaker

    if kind == "cyclegan":
        return CycleMaker(generator, strengths or CycleMaker.span)
    positives = train.where(lambda record: record.label == label)
    donors = positives.batch(range(min(len(positives), 256))).images.to(device)
    return LayerMaker(
        generator, sources, label=label, strengths=strengths or LayerMaker.span, donors=(donors, segmenter(donors).to(donors))
    )


def _check_binary(train: Dataset, label: str) -> None:
    """DataError unless the training split has two classes: a CycleGAN knows no third."""
    from gan_explain.data import coarse
    from gan_explain.types import DataError

    classes = sorted({coarse(record.label) for record in train.records})
    if len(classes) != 2:
        came = ", ".join(classes)
        raise DataError(f"{train.root}: a CycleGAN translates one class to {label}: expected two classes (--include), got {came}")
