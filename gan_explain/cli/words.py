"""The words of the command line: options that several commands take, each with one meaning, one type and one line of help."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

GENERATOR, OTHERWISE = "disease", "checkpoint:cxr128"  # the generator, and the target where the generator's checkpoint has none
FORMS = "checkpoint:NAME[#PART], torchvision:ARCH#FILE, xrv:NAME[#FILE], onnx:FILE, ts:FILE, pt2:FILE or package.module:factory"

Data = Annotated[str, Field(title="DATA", description="Folder, manifest CSV, or phantom[:n=400,...].")]
Include = Annotated[tuple[str, ...], Field(title="[SOURCE:]LABEL", description="Use these records only; may be repeated.")]
Split = Annotated[Literal["train", "val", "test"], Field(description="Split to take.")]
LeaveOut = Annotated[tuple[str, ...], Field(title="A,B", description="Sources that take no part in the training.")]
Limit = Annotated[int | None, Field(ge=1, title="N", description="Take N images, drawn by --seed, for a quick look.")]
Shard = Annotated[str | None, Field(title="I/N", description="Do the I-th of N parts of the work; others do the rest.")]
Generator = Annotated[str, Field(title="NAME", description="Generator: a shipped name or a checkpoint folder.")]
NamedTarget = Annotated[str, Field(title="SPEC", description=f"CNN under explanation: {FORMS}.")]
Target = Annotated[str | None, Field(title="SPEC", description=f"CNN under explanation: {FORMS}.")]
Positive = Annotated[
    tuple[str, ...] | None,
    Field(title="A+B", description="Classes that count as positive. [default: the target's; in training covid]"),
]
Classes = Annotated[tuple[str, ...] | None, Field(title="A,B", description="Names of the target's outputs, where it has none.")]
Judges = Annotated[
    tuple[str, ...], Field(title="SPEC", description="Independent CNN for transfer, none for none; may be repeated.")
]
Segmenter = Annotated[str, Field(title="NAME", description="Checkpoint that finds the lungs.")]
TrustCode = Annotated[bool, Field(description="Load ts: and pt2: files, which run code of their own.")]
Lpips = Annotated[Path | None, Field(title="FILE", description="Local AlexNet weights, for the LPIPS distance.")]
Methods = Annotated[
    tuple[str, ...],
    Field(
        alias="method",
        title="A,B",
        description="Heat maps: grad_cam, integrated_gradients, gradient_x_input, occlusion, latent_path, difference, reader, "
        "fem, spectral_fem, lung_cam, cxrnet; all: every one that the target allows.",
    ),
]
Layer = Annotated[str, Field(title="NAME", description="Layer that heat maps look at. [default: a method's own choice]")]
Resolution = Annotated[
    int | None, Field(ge=32, le=8192, title="N", description="Longer side at which images are read, in pixels.")
]
PictureSize = Annotated[int, Field(ge=256, le=1024, title="N", description="Side of an image in figures and films, in pixels.")]
Trim = Annotated[bool, Field(description="Cut uniform borders off the image.")]
Force = Annotated[bool, Field(description="Go on with an image that does not look like a chest radiograph.")]
Strengths = Annotated[int, Field(ge=2, le=1001, title="N", description="Strengths along a traversal.")]
LowStrength = Annotated[float | None, Field(ge=0, le=10, title="λ", description="Least strength; 0 is the healthy image.")]
HighStrength = Annotated[float | None, Field(ge=0, le=10, title="λ", description="Largest strength; 1 is the pathology itself.")]
Preset = Annotated[Literal["small", "cpu", "gpu"], Field(description="Settings for phantoms, or for the machine at hand.")]
Set = Annotated[
    tuple[str, ...],
    Field(alias="set", title="NAME=VALUE", description="Another setting; a wrong NAME lists those there are. May be repeated."),
]


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """The images that a command measures on."""

    TITLE: ClassVar = "Data"
    data: Data
    include: Include = ()
    split: Split = "test"
    limit: Limit = None


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What every training takes; what is None is the preset's, or the usual of that training."""

    TITLE: ClassVar = "Training"
    data: Data = "phantom"
    include: Include = ()
    resolution: Resolution = None
    steps: Annotated[int | None, Field(ge=1, title="N", description="Steps of the training. [default: the usual]")] = None
    set: Set = ()


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """What a command works with; the target is by default that of the generator's checkpoint, else `OTHERWISE`."""

    TITLE: ClassVar = "Models"
    generator: Generator = GENERATOR
    target: Target = None
    positive: Positive = None
    classes: Classes = None
    segmenter: Segmenter = "lungs128"
    trust_code: TrustCode = False


@dataclass(frozen=True, kw_only=True)
class TargetedOptions(ModelOptions):
    """The same where the target must be named."""

    target: NamedTarget = field()


def shard_of(text: str | None) -> tuple[int, int] | None:
    """ "2/8" -> (2, 8). ValueError for anything else but None."""
    if text is None:
        return None
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise ValueError(f"--shard {text}: expected I/N with I from 1 to N, such as 2/8")
    return int(number), int(count)
