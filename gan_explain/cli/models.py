"""The options that name a generator, a target and a segmenter, and radiographs read for them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gan_explain.cli.run import Run

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from gan_explain.image import FloatImage
    from gan_explain.nets.cyclegan import CycleGan
    from gan_explain.segmenter import LungSegmenter
    from gan_explain.types import Generator, Segmenter, Target

logger = logging.getLogger(__name__)

SMALLEST = 64  # pixels a side that an image must have
COLOURFUL = 0.05  # mean distance of the colour channels above which an image is taken for a photograph
LEAST_LUNG = 0.03  # share of the image below which no lungs were found
FORMS = "checkpoint:NAME[#PART], torchvision:ARCH#FILE, xrv:NAME[#FILE], onnx:FILE, ts:FILE, pt2:FILE or package.module:factory"
SPEC = f"CNN: {FORMS}. [default: the checkpoint's own]"
Decorated = TypeVar("Decorated", bound=Callable[..., Any])
TRUST_CODE = click.option("--trust-code", is_flag=True, help="Load ts: and pt2: files, which run code of their own.")


@dataclass(frozen=True)
class Models:
    """What a command works with, all on one device, frozen."""

    generator: Generator
    target: Target
    segmenter: LungSegmenter
    device: torch.device
    label: str = "covid"  # whose codes the prior draws


@dataclass(frozen=True)
class Radiograph:
    """One image as the models see it: image and lungs (1, 1, H, W), and the target's probability of the positive set."""

    name: str
    image: Tensor
    lungs: Tensor
    probability: float


def names(value: str | None) -> tuple[str, ...] | None:
    """ "covid+pneumonia" or "covid,pneumonia" -> ("covid", "pneumonia"); None stays None."""
    return tuple(part.strip() for part in value.replace("+", ",").split(",") if part.strip()) if value else None


def model_options(function: Decorated) -> Decorated:
    """Add the options that `load_models` takes."""
    options = [
        click.option("--checkpoint", default="cxr128", metavar="NAME", help="Generator: a shipped name or a checkpoint folder."),
        click.option("--confine", type=click.Choice(["lungs", "free"]), default="lungs", help="Where the layer may act."),
        click.option("--target", metavar="SPEC", help=SPEC),
        click.option("--positive", metavar="A+B", help="Classes that count as positive. [default: the target's own]"),
        click.option("--classes", metavar="A,B", help="Names of the target's outputs, where it has none."),
        click.option("--segmenter", default="lungs128", metavar="NAME", help="Checkpoint that finds the lungs."),
        TRUST_CODE,
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def load_models(
    run: Run,
    *,
    checkpoint: str,
    confine: str,
    target: str | None,
    positive: str | None,
    classes: str | None,
    segmenter: str,
    trust_code: bool = False,
) -> Models:
    """Load and check everything that the options name, and note it in run.json.

    Raises CheckpointError and TargetError; the target has passed its contract probe.
    """
    from gan_explain.checkpoints import find_checkpoint, load_generator, read_config
    from gan_explain.segmenter import load_segmenter

    generator: Any = load_generator(checkpoint, confine).to(run.device)
    lungs = load_segmenter(segmenter).to(run.device)
    spec = target or f"checkpoint:{checkpoint}"
    resolved = probed(spec, run.device, positive=names(positive), classes=names(classes), segmenter=lungs, trust_code=trust_code)
    run.record(
        checkpoint={"name": checkpoint, "confine": confine, "sha256": read_config(find_checkpoint(checkpoint))["sha256"]},
        target=target_facts(spec, resolved),
    )
    return Models(generator, resolved, lungs, run.device, generator.config.labels[0])


def load_translator(
    run: Run,
    *,
    checkpoint: str,
    confine: str,
    target: str | None,
    positive: str | None,
    classes: str | None,
    segmenter: str,
    trust_code: bool = False,
) -> tuple[Models, CycleGan]:
    """As `load_models`, for a CycleGAN, which stands in the models' place of the generator (it has no layer, and acts anywhere:
    `confine` is not asked). Without a target it is the checkpoint's own, or `checkpoint:cxr128` where that has none."""
    from gan_explain.checkpoints import find_checkpoint, load_cyclegan, read_config
    from gan_explain.segmenter import load_segmenter

    network = load_cyclegan(checkpoint).to(run.device)
    lungs = load_segmenter(segmenter).to(run.device)
    config = read_config(find_checkpoint(checkpoint))
    spec = target or f"checkpoint:{checkpoint if 'target' in config['parts'] else 'cxr128'}"
    resolved = probed(spec, run.device, positive=names(positive), classes=names(classes), segmenter=lungs, trust_code=trust_code)
    run.record(
        checkpoint={"name": checkpoint, "part": "cyclegan", "sha256": config["sha256"]}, target=target_facts(spec, resolved)
    )
    stands_in: Any = network
    return Models(stands_in, resolved, lungs, run.device), network


def target_facts(spec: str, target: Target) -> dict[str, Any]:
    """What run.json says of a target."""
    from gan_explain.targets import weights_digest

    return {
        "spec": spec,
        "sha256": weights_digest(target),
        "classes": target.classes,
        "positive": target.positive,
        "operating_point": target.operating_point,
    }


def probed(
    spec: str,
    device: torch.device,
    *,
    positive: tuple[str, ...] | None = None,
    classes: tuple[str, ...] | None = None,
    segmenter: Segmenter | None = None,
    trust_code: bool = False,
) -> Target:
    """The target that a spec names, on a device, with its contract probed. Raises TargetError and CheckpointError."""
    from gan_explain.targets import probe, resolve_target

    found: Any = resolve_target(spec, positive=positive, classes=classes, segmenter=segmenter, trust_code=trust_code)
    if hasattr(found, "to"):
        found = found.to(device)
    probe(found)
    target: Target = found
    return target


def named_judges(specs: Sequence[str]) -> list[tuple[str, str]]:
    """Short names for the specs of judges, with the specs: what stands after #, or the whole where that is not unique.

    A checkpoint without a part `target` stands for every target that it holds."""
    from gan_explain.checkpoints import find_checkpoint, read_config

    listed: list[str] = []
    for spec in specs:
        scheme, _, name = spec.partition(":")
        parts = read_config(find_checkpoint(name))["parts"] if scheme == "checkpoint" and name and "#" not in name else {}
        targets = [part for part, entry in sorted(parts.items()) if entry["kind"] == "target"]
        listed += [f"{spec}#{part}" for part in targets] if targets and "target" not in targets else [spec]
    ends = [spec.rpartition("#")[2] for spec in listed]
    return [(end if ends.count(end) == 1 else spec, spec) for end, spec in zip(ends, listed, strict=True)]


def judge(spec: str, models: Models, trust_code: bool = False) -> Target:
    """An independent CNN, asked for the target's positive set as far as it knows those classes."""
    from gan_explain.targets import resolve_target

    given = resolve_target(spec, segmenter=models.segmenter, trust_code=trust_code)
    shared = tuple(name for name in models.target.positive if name in given.classes)
    other = shared if shared and set(shared) != set(given.positive) else None
    return probed(spec, models.device, positive=other, segmenter=models.segmenter, trust_code=trust_code)


def read_radiograph(path: Path, models: Models, *, name: str, force: bool = False) -> Radiograph:
    """Read, check, prepare one image file at the generator's resolution, find its lungs, ask the target; results call it `name`.

    Raises DataError for what is no radiograph: unreadable, below 64 pixels a side, coloured, or (where the layer is confined to
    the lungs) without lungs; `force` lets the last two pass.
    """
    from gan_explain.image import prepare
    from gan_explain.types import DataError

    image = prepare(read_gray(path, force=force), models.generator.resolution)[None].to(models.device)
    lungs = models.segmenter(image)
    share = float(lungs.mean())
    if share < LEAST_LUNG and models.generator.confine == "lungs" and not force:
        raise DataError(f"{path}: expected a frontal chest radiograph, found lungs on {share:.1%} of it (--force goes on)")
    return Radiograph(name, image, lungs, probability(models, image, lungs))


def read_gray(path: Path, *, force: bool = False) -> FloatImage:
    """One image file (H, W), not yet prepared. DataError: unreadable, below 64 pixels a side, or (without `force`) coloured."""
    from gan_explain.image import colourfulness, read_image
    from gan_explain.types import DataError

    array = read_image(path)
    height, width = array.shape
    if min(height, width) < SMALLEST:
        raise DataError(f"{path}: expected an image of at least {SMALLEST}x{SMALLEST} pixels, got {width}x{height}")
    colour = colourfulness(path)
    if colour > COLOURFUL and not force:
        raise DataError(f"{path}: expected a gray radiograph, got a colour photograph (--force uses its brightness)")
    return array


def probability(models: Models, image: Tensor, lungs: Tensor) -> float:
    """The target's probability of the positive set for one image (1, 1, H, W)."""
    import torch

    with torch.no_grad():
        return float(models.target.probability(image, lungs if models.target.uses_lungs else None))


def digest(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
