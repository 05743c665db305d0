"""`gan-explain train target`: a CNN to explain, of any architecture, or an independent judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import click
from pydantic import Field

from gan_explain.cli.common import Run, command
from gan_explain.cli.datasets import open_included
from gan_explain.cli.options import laid_on
from gan_explain.cli.train.shared import check_network, configured, measured, reported, settings
from gan_explain.cli.words import Positive, Segmenter, TrainOptions


@dataclass(frozen=True, kw_only=True)
class KindOptions:
    """Which network learns what. What is None is the usual of the architecture."""

    TITLE: ClassVar = "Target"
    arch: Annotated[
        str,
        Field(
            title="NAME",
            description="small, small_vgg, small_inception, small_dense, resnet18, resnet50, vgg16, vgg16_bn, efficientnet_b0, "
            "efficientnet_lite0 to 2, each with _c4 up to stride 16; multi_unet, multi_unet_lite0: find the lungs too; "
            "cxrnet, cxrnet_lite0: draw a map of their evidence.",
        ),
    ] = "small"
    weights: Annotated[
        str | None,
        Field(title="imagenet|FILE", description="Start from ImageNet's (efficientnet_lite, _lite0), or torchvision's in FILE."),
    ] = None
    positive: Positive = None
    classify: Annotated[
        tuple[str, ...],
        Field(title="[SOURCE:]LABEL", description="Classify these records only; the others teach multi_unet the lungs."),
    ] = ()
    lungs_only: Annotated[bool, Field(description="Blank the outside of the lungs and standardise inside.")] = False
    segmenter: Segmenter = "lungs128"


@command("target", out="runs/target", resume=True, without=("salt",))
def target(run: Run, kind: KindOptions, options: TrainOptions) -> dict[str, Any]:
    """Train a CNN to explain, or an independent judge; prints its measures and opacity probe on the test split.

    A multi_unet is a lung segmenter too: --segmenter takes its checkpoint.

    \b
    --set has all else, such as
      batch_size=16 learning_rate=1e-3 save_every=50 augment=0.5 freeze_steps=400 weight_decay=0.05 ema=0.99 amp=true
      views=4 (the head alone, on kept features of each image and of 4 views of it)
      sha256=HEX (of FILE) crop=1.12 size=128 keep_labels=true smoothing=0.1 balance=weights part=NAME
      patience=6 (stop after 6 checks on val, one every save_every, without a better one) monitor=loss calibrate=true
      spectral.filter=importance (every other image filtered by the importance of its frequencies to a network that is
      trained first, OUT/spectrum, for --method spectral_fem) spectral.spectrum_steps=400
      evidence.area=0.5 (cxrnet)
    """
    from gan_explain.data.dataset import fitting
    from gan_explain.nets.classifier import MULTI_UNETS
    from gan_explain.nets.segmenter import load_segmenter
    from gan_explain.train.distributed import process_group
    from gan_explain.train.segmenter import dice_report
    from gan_explain.train.target import Material, train_target
    from gan_explain.types import DataError

    wanted, training = _settings(run, kind, options)
    if wanted.weights_file is not None and not wanted.weights_file.is_file():
        raise DataError(f"{wanted.weights_file}: no such weights file")
    dataset = open_included(run, options.data, options.resolution or wanted.size, options.include)
    chosen = dataset.including(kind.classify)
    if not len(chosen):
        raise DataError(f"{options.data}: no record fits --classify {' '.join(kind.classify)}")
    counts = {"records": len(dataset), "classified": len(chosen)}
    run.record(**counts)
    joint = wanted.arch in MULTI_UNETS
    lungs = None if joint else load_segmenter(kind.segmenter)
    classified = fitting(kind.classify) if kind.classify else None
    if run.dry_run:
        Material.of(dataset, lungs, wanted, classified)  # refuses what cannot be trained on
        return counts
    with process_group(run.device):
        trained = train_target(dataset, lungs, run.folder, wanted, training, classified=classified, resume=run.resume)
    if not run.is_main:
        return {}
    dice = {"dice": dice_report(load_segmenter(run.folder), dataset.split("test"))} if joint else {}
    if dice:
        measured(run, dice)
    found = reported(run, trained, chosen.split("test"), lungs or load_segmenter(run.folder), wanted.part)
    return counts | found | {"measures": dice | found["measures"]}


def _settings(run: Run, kind: KindOptions, options: TrainOptions) -> tuple[Any, Any]:
    """What is trained, and how, on the base of what is usual for the architecture."""
    from gan_explain.nets.classifier import ARCHITECTURES, MULTI_UNETS
    from gan_explain.nets.multi_unet import WIDTHS
    from gan_explain.nets.unet import UNet, UNetConfig
    from gan_explain.train.options import usual

    if kind.arch not in ARCHITECTURES:
        raise click.UsageError(f"--arch {kind.arch}: expected one of {', '.join(ARCHITECTURES)}")
    base, training = usual(kind.arch)
    given = {
        "size": options.resolution, "positive": kind.positive, "lungs_only": kind.lungs_only or None,
        "segmenter_name": kind.segmenter, "weights": kind.weights,
    }  # fmt: skip
    said = ("arch", "segmenter_name", "positive", "lungs_only", "domain", "weights")
    parts = ("", laid_on(base, given)), ("", configured(run, training, options))
    wanted, training = settings(options, *parts, but=said)
    if kind.arch in MULTI_UNETS:
        check_network(lambda: UNet(UNetConfig(resolution=wanted.size, widths=WIDTHS)))
    return wanted, training
