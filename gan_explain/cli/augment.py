"""`gan-explain augment`: synthetic positives for the training split, as images with a manifest that says where each came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import click
from pydantic import Field

from gan_explain.cli import common
from gan_explain.cli.datasets import open_included
from gan_explain.cli.models import generator_facts, probed, translates
from gan_explain.cli.words import (
    GENERATOR,
    Data,
    Generator,
    HighStrength,
    Include,
    LowStrength,
    Segmenter,
    Target,
    TrustCode,
)

if TYPE_CHECKING:
    from gan_explain.augment import Maker


@dataclass(frozen=True, kw_only=True)
class AugmentOptions:
    """What is made of what; the target drops what it does not call positive."""

    TITLE: ClassVar = "Synthetic images"
    data: Data = "phantom"
    include: Include = ()
    count: Annotated[
        int | None, Field(ge=1, title="N", description="Images to make. [default: as many as make the classes equal]")
    ] = None
    label: Annotated[str, Field(description="The class to make more of.")] = "covid"
    onto: Annotated[
        Literal["negatives", "positives"], Field(description="Lay on negatives, or on healed positives (layers only).")
    ] = "negatives"
    min_strength: LowStrength = None
    max_strength: HighStrength = None
    complete: Annotated[bool, Field(description="Write the real images beside them: a data set to train on as it is.")] = False
    generator: Generator = GENERATOR
    target: Target = None
    segmenter: Segmenter = "lungs128"
    trust_code: TrustCode = False

    def span(self, usual: tuple[float, float]) -> tuple[float, float]:
        """Least and largest strength. UsageError where they are not in order."""
        low = usual[0] if self.min_strength is None else self.min_strength
        high = usual[1] if self.max_strength is None else self.max_strength
        if low > high:
            raise click.UsageError(f"expected --min-strength up to --max-strength, got {low:g} and {high:g}")
        return low, high


@common.command("augment", out="out/augmented")
def augment(run: common.Run, options: AugmentOptions) -> dict[str, object]:
    """Make synthetic images of the rare class out of the training split.

    Layers are those read on the split's own positives, moved lung to lung, and some of the generator's prior. Writes
    synthetic/*.png and manifest.csv: every row is of the training split and names generator, source image, strength and seed
    (synthetic=1). A manifest with a synthetic image in val or test is refused by every command. An image is dropped when the
    target does not call it positive, the lungs moved (Dice < 0.9), nothing changed, its contrast is no radiograph's, or it is
    close to a real positive or to another synthetic image; counts of each are printed.
    """
    from gan_explain.augment import CycleMaker, LayerMaker, shortfall, synthesise, write_synthetic
    from gan_explain.augment.donors import check_binary, donors_of
    from gan_explain.nets.load import load_cyclegan, load_generator
    from gan_explain.nets.segmenter import load_segmenter

    name, label, target = options.generator, options.label, options.target
    translating = translates(name)
    span = options.span(CycleMaker.span if translating else LayerMaker.span)
    if translating and options.onto == "positives":
        raise click.UsageError("--onto positives: a CycleGAN translates negatives; use a generator of layers")
    lungs = load_segmenter(options.segmenter).to(run.device)
    generator: Any = (load_cyclegan(name) if translating else load_generator(name)).to(run.device)
    size = int(generator.resolution)
    dataset = open_included(run, options.data, size, options.include)
    train = dataset.split("train")
    lacking = shortfall(train, (label,))  # also with a number: it refuses a split without either class
    count = options.count or lacking
    if not translating and label not in generator.labels:
        raise click.UsageError(f"--label {label}: the generator of {name} knows {', '.join(generator.labels)}")
    if not count:
        run.say(f"{label} is not the rarer class: nothing to make")
        return {"kept": 0, "asked": 0}
    if translating:
        check_binary(train, label)
    judge = probed(target, run.device, segmenter=lungs, trust_code=options.trust_code) if target else None
    run.record(generator=generator_facts(name, "cyclegan" if translating else "generator"), target=target, asked=count)
    if run.dry_run:
        return {"asked": count, "records": len(train)}
    if translating:
        maker: Maker = CycleMaker(generator, span)
    else:
        donors = donors_of(train, label, lungs, run.device)
        maker = LayerMaker(generator, options.onto, label=label, strengths=span, donors=donors)
    made = synthesise(train, maker, count, positive=(label,), judge=judge, segmenter=lungs, seed=run.seed)
    facts = {"kept": len(made.images), "asked": count, "made": made.made, "dropped": made.dropped, "near_copy": made.threshold}
    run.record(**facts)
    with run.staging() as folder:
        beside = []
        if options.complete:
            from gan_explain.data.export import export
            from gan_explain.data.manifest import read_manifest

            export(dataset, folder)
            beside = read_manifest(folder / "manifest.csv")
        write_synthetic(made.images, folder, label, beside)
    run.say(f"{len(made.images)} of {count} images in {run.out}; {made.made} made, dropped: {made.dropped or 'none'}")
    return facts
