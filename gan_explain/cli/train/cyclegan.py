"""`gan-explain train cyclegan`: negatives into positives and back, without a target and without pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from gan_explain.cli.common import Run, command
from gan_explain.cli.datasets import open_included
from gan_explain.cli.options import laid_on
from gan_explain.cli.train.shared import check_network, configured, settings
from gan_explain.cli.words import Segmenter, TrainOptions


@dataclass(frozen=True, kw_only=True)
class CycleGanOptions:
    """Whose settings, and whose lungs."""

    TITLE: ClassVar = "CycleGAN"
    preset: Annotated[Literal["cpu", "gpu"], Field(description="Settings for phantoms, or for the machine at hand.")] = "cpu"
    segmenter: Segmenter = "lungs128"


@command("cyclegan", out="runs/cyclegan", resume=True, without=("salt",))
def cyclegan(run: Run, chosen: CycleGanOptions, options: TrainOptions) -> dict[str, Any]:
    """Train a CycleGAN between the two classes of the data; writes the part `cyclegan` of checkpoint --out.

    One class must be normal, the other is the positive side: choose with --include. --set has all else: cycle=6, identity=1.5,
    anatomy=4 (keeps the segmenter's lungs in place), network.width=64. Runs in several processes under torchrun unchanged.
    """
    from gan_explain.nets.cyclegan import CycleGan, multiply_adds
    from gan_explain.nets.segmenter import load_segmenter
    from gan_explain.train.distributed import process_group
    from gan_explain.train.gan.cyclegan import PRESETS, train_cyclegan, two_sides

    network, training = PRESETS[chosen.preset]
    network = laid_on(network, {"resolution": options.resolution})
    network, training = settings(options, ("network", network), ("", configured(run, training, options)))
    check_network(lambda: CycleGan(network))
    negatives, positives, label = two_sides(open_included(run, options.data, network.resolution, options.include).split("train"))
    soft = load_segmenter(chosen.segmenter).to(run.device).soft if training.anatomy else None
    facts = {"negatives": len(negatives), "positives": len(positives), "label": label, "steps": training.steps}
    run.record(multiply_adds=multiply_adds(network), sides=facts)
    if run.dry_run:
        return facts
    with process_group(run.device):
        train_cyclegan(negatives, positives, run.folder, network, training, resume=run.resume, segmenter=soft)
    run.say(f"wrote part 'cyclegan' to {run.folder}; next: gan-explain interpolate IMAGE --generator {run.folder}")
    return {"checkpoint": run.folder, "part": "cyclegan", **facts}
