"""`gan-explain train structure`: healthy lungs as codes, and synthetic patients from a prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from gan_explain.cli.common import Run, command
from gan_explain.cli.datasets import open_included
from gan_explain.cli.options import laid_on
from gan_explain.cli.train.shared import check_network, configured, settings
from gan_explain.cli.words import LeaveOut, TrainOptions


@dataclass(frozen=True, kw_only=True)
class StructureOptions:
    """Whose settings, and what is learned from."""

    TITLE: ClassVar = "Structure"
    preset: Annotated[Literal["cpu", "gpu"], Field(description="Settings for phantoms, or for the machine at hand.")] = "cpu"
    leave_out: LeaveOut = ("kermany",)  # children's lungs


@command("structure", out="runs/structure", resume=True, without=("salt",))
def structure(run: Run, chosen: StructureOptions, options: TrainOptions) -> dict[str, Any]:
    """Train encoder, decoder and prior of healthy lungs on the normals of the training split.

    The cpu preset takes three hours on two cores, gpu minutes. --set has all else: minutes=0 (steps alone), kl=0.001,
    batch_size=16, network.z_dim=128; with others=0.25 a quarter of what is reconstructed is not normal.
    """
    from gan_explain.data import coarse
    from gan_explain.nets.efficientnet_lite import folded, imagenet_features
    from gan_explain.nets.structure import StructureGenerator
    from gan_explain.train.distributed import process_group
    from gan_explain.train.gan.structure import PRESETS, stored, train_structure
    from gan_explain.types import DataError

    network, training = PRESETS[chosen.preset]
    network = laid_on(network, {"resolution": options.resolution})
    training = laid_on(configured(run, training, options), {"amp": training.amp and run.device.type == "cuda", "others": 0.0})
    network, training = settings(options, ("network", network), ("", training))
    check_network(lambda: StructureGenerator(network))
    dataset = open_included(run, options.data, network.resolution, options.include).split("train")
    dataset = dataset.where(lambda record: record.source not in chosen.leave_out)
    normal = dataset.where(lambda record: coarse(record.label) == "normal")
    ill = dataset.where(lambda record: training.others and coarse(record.label) != "normal")
    counts: dict[str, Any] = {"negatives": len(normal), "others": len(ill)}
    if not len(normal):
        raise DataError(f"{options.data}: expected normals in the training split, found none")
    if run.dry_run:
        return counts
    features = folded(imagenet_features()).to(run.device)
    with process_group(run.device):
        others = stored(ill) if len(ill) else None
        train_structure(stored(normal), features, run.folder, network, training, others=others, resume=run.resume)
    run.say(f"wrote part 'structure' to {run.folder}")
    return {"checkpoint": run.folder, **counts}
