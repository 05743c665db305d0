"""`gan-explain repair`: a CNN that was audited, trained again with counterfactuals, and the audit before and after."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from gan_explain.cli import common
from gan_explain.cli.datasets import open_included
from gan_explain.cli.models import generator_facts, load_models, target_facts
from gan_explain.cli.names import Salt, shown_data
from gan_explain.cli.options import laid_on, overridden
from gan_explain.cli.words import (
    GENERATOR,
    Classes,
    Data,
    Generator,
    Include,
    LeaveOut,
    Limit,
    NamedTarget,
    Positive,
    Segmenter,
    Set,
    TargetedOptions,
)

DRAWN = ("head.seed", "training.seed", "training.device", "training.save_every", "training.log_every")  # by options, or nothing
FROZEN = ("onnx", "ts", "pt2")  # schemes of files that cannot be trained


@dataclass(frozen=True, kw_only=True)
class RepairOptions:
    """What it is trained on, and how."""

    TITLE: ClassVar = "Repair"
    data: Data
    include: Include = ()
    limit: Limit = None
    arm: Annotated[
        tuple[Literal["both", "layers", "transplants", "classical", "plain"], ...],
        Field(
            description="both: layers, transplants and healed positives; classical: strong augmentation; plain: real images "
            "alone, for as long. The first is written, the others are measured beside it. May be repeated. [default: both]"
        ),
    ] = ()
    depth: Annotated[Literal["head", "all"], Field(description="Train the last layer on frozen features, or every weight.")] = (
        "head"
    )
    seeds: Annotated[int, Field(ge=1, description="Trainings of every arm; that of the first seed is written.")] = 1
    leave_out: LeaveOut = ()
    set: Set = ()
    generator: Generator = GENERATOR
    target: NamedTarget = field()
    positive: Positive = None
    classes: Classes = None
    segmenter: Segmenter = "lungs128"

    def __post_init__(self) -> None:
        if len(set(self.arm)) != len(self.arm):
            raise ValueError(f"expected every --arm once, got {', '.join(self.arm)}")

    @property
    def models(self) -> TargetedOptions:
        """What is loaded: no file that would have to be trusted, for none of these can be trained."""
        return TargetedOptions(
            generator=self.generator, target=self.target, positive=self.positive, classes=self.classes, segmenter=self.segmenter
        )


@common.command("repair", out="out/repair")
def repair(run: common.Run, options: RepairOptions) -> dict[str, Any]:
    """Train a CNN that reads the source into one that follows the disease, and show by audits what that did and cost.

    Of the training split are made: normals under layers of real patients, and of the generator's prior (positive); images with
    the outside of the lungs of another class or source; positives with their disease taken off, where nothing is left and a judge
    of their own source agrees (normal). Temperature and operating point are set on val. Measured is the test split, of which
    nothing was made. Writes a checkpoint (--target checkpoint:OUT), before/ and after/ (report.html), repair.json and repair.md.

    A source that is left out takes no part; the CNN and plain training are compared on its test images.

    \b
    --set has all else, such as
      making.strongest=2 making.prior=0 making.donors=100 making.healed=0 (none) head.views=4
      share=0.6 training.steps=800 training.learning_rate=1e-4 training.batch_size=16 (--depth all)
    """
    from gan_explain.repair import RepairOptions as HowToRepair
    from gan_explain.repair import mend, prepare
    from gan_explain.train.head import REFUSED
    from gan_explain.types import TargetError

    if options.target.partition(":")[0] in FROZEN:
        raise TargetError(f"{options.target}: expected a PyTorch network to train, got a file of a frozen one: {REFUSED}")
    secret = Salt(run)
    given = {
        "arms": options.arm or None, "depth": options.depth, "seeds": options.seeds, "leave_out": options.leave_out,
        "limit": options.limit, "seed": run.seed,
    }  # fmt: skip
    how = laid_on(overridden(HowToRepair(), options.set, but=(*given, *DRAWN)), given)
    loaded = load_models(run, options.models)
    every = open_included(run, options.data, loaded.generator.resolution, options.include)
    prepared = prepare(loaded.target, every, how, loaded.segmenter)
    run.record(**prepared.counts)
    if run.dry_run:
        for name, count in prepared.counts["at_most"].items():
            run.say(f"{name}: at most {count} images")
        return prepared.counts
    facts = target_facts(options.target, loaded.target)
    about = {
        "data": {"name": shown_data(run, options.data, every.fingerprint()), "split": "test", "include": list(options.include)},
        "generator": {"checkpoint": Path(options.generator).name, "sha256": generator_facts(options.generator)["sha256"]},
        "target": {name: facts[name] for name in ("spec", "sha256")},
    }
    result = mend(loaded.generator, prepared, how, loaded.segmenter, about).named(secret.names(every.records))
    with run.staging() as folder:
        result.save(folder)
        secret.keep(folder)
    run.say(result.table())
    run.say(f"written to {run.out}; use it with --target checkpoint:{run.out}")
    return result.as_json()
