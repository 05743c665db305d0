"""`gan-explain train generator`: the disentangling generator, which serves every target; train_gan.py calls it too."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from gan_explain.cli.common import Run, command
from gan_explain.cli.datasets import open_included
from gan_explain.cli.options import laid_on
from gan_explain.cli.train.shared import check_network, configured, settings
from gan_explain.cli.words import Preset, Segmenter, TrainOptions


@dataclass(frozen=True, kw_only=True)
class GeneratorOptions:
    """Whose settings, and whose lungs."""

    TITLE: ClassVar = "Generator"
    preset: Preset = "cpu"
    segmenter: Segmenter = "lungs128"


@command("generator", out="runs/generator", resume=True, without=("salt",))
def generator(run: Run, chosen: GeneratorOptions, options: TrainOptions) -> dict[str, Any]:
    """Train the disentangling generator, which no CNN takes part in: it serves every target. Writes the part `generator` of
    checkpoint --out.

    First the reader (radiograph to layer of pathology; OUT/reader), then the layer generator (layers of other patients;
    OUT/layers). --steps are the reader's; --set has all else: layers.steps=800, reader.batch_size=8, reader.order=0.2,
    reader.amp=true, network.width=32. With --resume a finished stage is not repeated. Runs in several processes under torchrun
    unchanged. --preset small, for phantoms, starts from scratch; the others from ImageNet weights.
    """
    from gan_explain.nets.generator import Disentangler
    from gan_explain.nets.segmenter import load_segmenter
    from gan_explain.train.distributed import process_group
    from gan_explain.train.generator import PRESETS, at_resolution, diseases, mean_loads, train_generator
    from gan_explain.train.masks import MaskedDataset

    plan = PRESETS[chosen.preset]
    network = at_resolution(plan.network, options.resolution) if options.resolution else plan.network
    shared = {"seed": run.seed, "device": str(run.device)}
    plan = replace(plan, network=network, reader=configured(run, plan.reader, options), layers=laid_on(plan.layers, shared))
    said = [f"{stage}.{name}" for stage in ("reader", "layers") for name in ("seed", "device")]
    [plan] = settings(options, ("", plan), but=[*said, "reader.steps", "network.resolution"])
    check_network(lambda: Disentangler(plan.network))
    lungs = load_segmenter(chosen.segmenter)
    dataset = open_included(run, options.data, plan.network.resolution, options.include)
    train, test = (MaskedDataset(dataset.split(name), lungs) for name in ("train", "test"))
    diseases(train.records)
    if run.dry_run:
        return {"records": len(train), "steps": {"reader": plan.reader.steps, "layers": plan.layers.steps}}
    with process_group(run.device):
        trained = train_generator(train, run.folder, plan, resume=run.resume)
    run.say(f"wrote part 'generator' to {run.folder}")
    found = mean_loads(trained, test) if run.is_main and len(test) else {}
    for label, row in found.items():
        run.say(f"{label}: mean load read on the test split {row['load']:.3f} (N = {row['n']})")
    return {"checkpoint": run.folder, "part": "generator", "loads": found}
