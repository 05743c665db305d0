"""What the training of a target is asked for, and what each architecture is usually trained with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from gan_explain.data.augment import Ranges
from gan_explain.nets.classifier import ARCHITECTURES, JOINT, MULTI_UNETS, PRETRAINED, THREE_CHANNELS, backbone_of
from gan_explain.nets.efficientnet_lite import SIDES
from gan_explain.settings import Settings
from gan_explain.targets.config import Domain
from gan_explain.train.cxrnet import EvidenceTerms
from gan_explain.train.early import Monitor
from gan_explain.train.spectral import SpectralOptions
from gan_explain.train.supervised import SupervisedTraining

Classes = tuple[str, ...]
IMAGENET = "imagenet"


@dataclass(frozen=True, kw_only=True)
class TargetOptions(Settings):
    """`balance`: "sampler" draws every (source, class) equally often; "weights" draws images as they come and weights the classes
    in the loss by inverse frequency, N / (K n_k); "none" does neither. A check of `patience` is made where a state is saved.
    `domain` is what the network is shown (`targets.Preparation`)."""

    TITLE: ClassVar = "Target"

    arch: Annotated[str, Field(description=f"Architecture: {', '.join(ARCHITECTURES)}.")] = "small"
    weights: Annotated[
        str | None,
        Field(
            title="imagenet|FILE",
            description="Start from ImageNet's weights (EfficientNet-Lite), or torchvision's in a local file.",
        ),
    ] = None
    sha256: Annotated[str | None, Field(title="HEX", description="SHA-256 that the --weights file must have.")] = None
    views: Annotated[
        int | None,
        Field(ge=0, description="Train the last layer alone, on features of each image and of so many augmented views."),
    ] = None
    size: Annotated[int, Field(ge=1, description="Side of the network's input, in pixels.")] = 128
    crop: Annotated[float, Field(ge=0, le=4, description="Square round the lungs, so many times as wide; 0: whole image.")] = 0.0
    lungs_only: Annotated[bool, Field(description="Blank the outside of the lungs and standardise inside.")] = False
    segmenter_name: Annotated[str, Field(alias="segmenter", description="Checkpoint that reads the lungs.")] = "lungs128"
    positive: Annotated[Classes, Field(min_length=1, title="A+B", description="Classes that count as positive.")] = ("covid",)
    keep_labels: Annotated[bool, Field(description="Keep bacterial, viral and other pneumonia apart.")] = False
    smoothing: Annotated[float, Field(ge=0, lt=1, description="Label smoothing.")] = 0.05
    balance: Annotated[
        Literal["sampler", "weights", "none"],
        Field(description="Rare classes: drawn more often (by source), weighted in the loss by inverse frequency, or neither."),
    ] = "sampler"
    patience: Annotated[
        int, Field(ge=0, description="Stop after so many checks on val without a better one, keep the best weights; 0: never.")
    ] = 0
    monitor: Annotated[Monitor, Field(description="What makes a check better.")] = "balanced_accuracy"
    calibrate: Annotated[bool, Field(description="Fit a temperature on the validation split.")] = False
    part: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", description="Name of the part in the checkpoint.")] = "target"
    domain: Domain = "image"
    evidence: EvidenceTerms = field(default_factory=EvidenceTerms)
    spectral: SpectralOptions = field(default_factory=SpectralOptions)

    def __post_init__(self) -> None:
        super().__post_init__()
        for arch in (self.arch, self.spectral.spectrum_arch or self.arch):
            if arch not in ARCHITECTURES:
                raise ValueError(f"arch: expected one of {', '.join(ARCHITECTURES)}, got {arch!r}")
        if self.weights == IMAGENET and self.arch not in PRETRAINED:
            raise ValueError(f"weights: ImageNet's are there for {', '.join(PRETRAINED)}; expected a file for {self.arch}")
        if self.arch in MULTI_UNETS and self.reads_lungs:
            raise ValueError(f"arch: {self.arch} finds the lungs itself: expected whole images, got lungs_only or a crop")
        if self.spectral.filter == "importance" and (self.spectral.spectrum_arch or self.arch) in JOINT:
            raise ValueError(
                f"spectrum_arch: expected an architecture that only classifies, got one of {', '.join(sorted(JOINT))}"
            )
        if self.views is not None and not self.classifies_from_weights:
            raise ValueError("views: expected weights, an architecture that only classifies, and neither patience nor a filter")
        if self.sha256 is not None and self.weights is None:
            raise ValueError("sha256: expected weights with it")

    @property
    def reads_lungs(self) -> bool:
        """Whether the network is shown what depends on the lungs."""
        return self.lungs_only or self.crop > 0

    @property
    def classifies_from_weights(self) -> bool:
        """Whether nothing but a last layer has to be learned."""
        return self.weights is not None and self.arch not in JOINT and not self.patience and self.spectral.filter == "none"

    @property
    def weights_file(self) -> Path | None:
        """The file of weights to start from; None for those of an installed package, or for none at all."""
        return None if self.weights in (None, IMAGENET) else Path(str(self.weights))

    @property
    def channels(self) -> int:
        return 3 if self.arch in THREE_CHANNELS else 1


TRANSFORMS = Ranges(rotate=10.0, scale=0.12, contrast=0.2, blur=0.0, flip=0.5)
FINE_TUNING = SupervisedTraining(steps=1000, learning_rate=5e-4, weight_decay=0.05, freeze_steps=50, ranges=TRANSFORMS)
USUAL: Mapping[str, tuple[TargetOptions, SupervisedTraining]] = {
    "cxrnet": (
        TargetOptions(arch="cxrnet", smoothing=0.1, balance="none"),
        SupervisedTraining(steps=3000, learning_rate=3e-3, weight_decay=0.05, ema=0.995, ranges=TRANSFORMS),
    ),
    "multi_unet": (TargetOptions(arch="multi_unet", size=160), SupervisedTraining(steps=3000, batch_size=24)),
    **{name: (TargetOptions(arch=name, size=SIDES[backbone_of(name)]), FINE_TUNING) for name in PRETRAINED},
    "cxrnet_lite0": (
        TargetOptions(arch="cxrnet_lite0", size=256, smoothing=0.1, balance="none"), replace(FINE_TUNING, freeze_steps=0),
    ),
    "multi_unet_lite0": (TargetOptions(arch="multi_unet_lite0", size=256), replace(FINE_TUNING, batch_size=24)),
}  # fmt: skip


def usual(arch: str) -> tuple[TargetOptions, SupervisedTraining]:
    """What an architecture is trained with where nothing else is asked for."""
    return USUAL.get(arch) or (TargetOptions(arch=arch), SupervisedTraining())
