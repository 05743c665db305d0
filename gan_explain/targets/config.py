"""What makes a network a target, as data: stored beside its weights, or given by the user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import ValidationError

from gan_explain.nets.blocks import Config
from gan_explain.types import TargetError

Domain = Literal["image", "spectrum"]  # what a network is shown: the image, or the log-magnitude of its Fourier transform

# How an image that is not square becomes one: whole and resized to it, whole between black margins, or its centre alone.
Fit = Literal["squeeze", "pad", "crop"]


class TargetConfig(Config):
    """What makes a network a target, as stored beside its weights (a checkpoint part, or FILE.json beside a file)."""

    arch: str = ""
    classes: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()
    size: int = 224  # side of the square input, in pixels
    fit: Fit = "squeeze"
    channels: int = 3
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    operating_point: float = 0.5  # p*: an input is positive at or above it
    lungs_only: bool = False
    crop: float = 0.0  # side of the square round the lungs that is cut out, times their longer side; 0: the image as it is
    temperature: float = 1.0  # logits are divided by it (calibration)
    segmenter: str = ""  # checkpoint that reads the lungs where no mask is given
    output: Literal["", "logits", "probabilities"] = ""  # "": not declared, told from what the network answers
    domain: Domain = "image"
    multi_label: bool = False  # outputs are findings, each with a sigmoid of its own, not classes of which one is right


def check_positive(classes: Sequence[str], positive: Sequence[str]) -> None:
    if len(classes) < 2 or len(set(classes)) != len(classes):
        raise TargetError(f"expected at least two different classes, got {', '.join(classes) or 'none'}")
    if not positive or not set(positive) < set(classes):
        raise TargetError(f"expected a positive set within the classes {', '.join(classes)}, got {'+'.join(positive) or 'none'}")


def brief(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
