"""`gan-explain train free`: the free map of a target, an audit's adversary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from gan_explain.cli.common import Run, command
from gan_explain.cli.datasets import open_included
from gan_explain.cli.models import probed
from gan_explain.cli.options import laid_on
from gan_explain.cli.train.shared import check_network, configured, settings
from gan_explain.cli.words import Classes, NamedTarget, Positive, Segmenter, TrainOptions, TrustCode


@dataclass(frozen=True, kw_only=True)
class FreeOptions:
    """The CNN that the map is trained against; it needs gradients."""

    TITLE: ClassVar = "Models"
    target: NamedTarget
    positive: Positive = None
    classes: Classes = None
    segmenter: Segmenter = "lungs128"
    trust_code: TrustCode = False


@command("free", out="runs/free", resume=True, without=("salt",))
def free(run: Run, models: FreeOptions, options: TrainOptions) -> dict[str, Any]:
    """Train a signed map, anywhere on the image, that turns one target's answer; writes the part `free` of checkpoint --out.

    It is an adversary for audits: what it finds, disease or not, is what this CNN answers to. --set has all else: size=2,
    network.width=24. Runs in several processes under torchrun unchanged.
    """
    from gan_explain.nets.free import FreeConfig, FreeMap
    from gan_explain.nets.segmenter import load_segmenter
    from gan_explain.targets import weights_digest
    from gan_explain.train.distributed import process_group
    from gan_explain.train.gan.free import FreeTraining, check_gradients, train_free
    from gan_explain.train.masks import MaskedDataset

    network = laid_on(FreeConfig(resolution=128), {"resolution": options.resolution})
    network, training = settings(options, ("network", network), ("", configured(run, FreeTraining(), options)))
    check_network(lambda: FreeMap(network))
    lungs = load_segmenter(models.segmenter)
    target = probed(models.target, run.device, positive=models.positive, classes=models.classes, trust_code=models.trust_code)
    check_gradients(target)
    dataset = open_included(run, options.data, network.resolution, options.include).split("train")
    origin = {"target": models.target, "target_sha256": weights_digest(target), "positive": list(target.positive)}
    run.record(origin=origin)
    if run.dry_run:
        return {"records": len(dataset), "steps": training.steps}
    with process_group(run.device):
        train_free(MaskedDataset(dataset, lungs), target, run.folder, network, training, resume=run.resume, origin=origin)
    run.say(f"wrote part 'free' to {run.folder}")
    return {"checkpoint": run.folder, "part": "free"}
