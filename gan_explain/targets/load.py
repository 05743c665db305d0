"""Targets ready to be explained, their contract probed: from a spec, or round a network of one's own."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from gan_explain.targets.config import TargetConfig
from gan_explain.targets.module import ModuleTarget
from gan_explain.targets.probe import probe
from gan_explain.targets.specs import resolve_target
from gan_explain.types import Segmenter, Target


def load_target(
    spec: str,
    *,
    positive: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    segmenter: Segmenter | None = None,
    trust_code: bool = False,
) -> Target:
    """The target a spec names (see `resolve_target`), its contract probed: one that comes back can be explained."""
    target = resolve_target(spec, positive=positive, classes=classes, segmenter=segmenter, trust_code=trust_code)
    probe(target)
    return target


def as_target(
    network: nn.Module,
    classes: Sequence[str] = ("normal", "covid"),
    positive: str | Sequence[str] = "covid",
    size: int = 224,
    channels: int = 3,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    operating_point: float = 0.5,
    fit: str = "squeeze",
) -> ModuleTarget:
    """Any network (N, channels, size, size) -> logits as a target, frozen; nothing is read from its attributes.

    It is shown (x - mean) / std of the whole image, resized to `size` whatever its aspect ratio (`fit="squeeze"`, the only one).
    `positive` names the class, or classes, that count as positive. ValueError for another fit, TargetError where the parts do not
    fit together.
    """
    if fit != "squeeze":
        raise ValueError(f"expected fit 'squeeze' (the whole image, resized), got {fit!r}")
    positive = (positive,) if isinstance(positive, str) else tuple(positive)
    config = TargetConfig(
        classes=tuple(classes), positive=positive, size=size, channels=channels, mean=tuple(mean), std=tuple(std),
        operating_point=operating_point,
    )  # fmt: skip
    target = ModuleTarget(network, config)
    probe(target)
    return target
