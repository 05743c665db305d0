"""Targets ready to be explained, their contract probed: from a spec, or round a network of one's own."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError
from torch import nn

from gan_explain.targets.config import Fit, TargetConfig, brief
from gan_explain.targets.module import ModuleTarget
from gan_explain.targets.probe import probe
from gan_explain.targets.request import Request, tried
from gan_explain.targets.specs import resolve_target
from gan_explain.types import Segmenter, Target, TargetError


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
    classes: Sequence[str] | None = None,
    positive: str | Sequence[str] | None = None,
    size: int | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    fit: Fit | None = None,
    config: TargetConfig = TargetConfig(),  # noqa: B008 (immutable)
) -> ModuleTarget:
    """Any network (N, channels, size, size) -> logits (N, K) as a target, frozen; nothing is read from its attributes.

    It is shown (x - mean) / std of the whole image, resized to `size` (224) whatever its aspect ratio: `fit` "squeeze"; "pad"
    puts it between black margins, "crop" keeps its centre. `positive` names the class, or classes, that count as positive.
    `config` says the rest (channels, 3 by default, operating_point, output, temperature, ...) and whatever is not given here.
    Raises TypeError for what is no network, TargetError where the parts do not fit together, the network breaks the contract (see
    `probe`), or it cannot be told whether it ends in a softmax or sigmoid.
    """
    if not isinstance(network, nn.Module):
        raise TypeError(f"expected a network (torch.nn.Module), got {type(network).__name__}")
    classes = classes or config.classes or ("normal", "covid")
    positive = (positive,) if isinstance(positive, str) else positive
    given: dict[str, object] = {"classes": classes, "positive": positive, "size": size, "fit": fit}
    given |= {"mean": (mean,) if isinstance(mean, int | float) else mean, "std": (std,) if isinstance(std, int | float) else std}
    declared = {key: value for key, value in given.items() if value is not None}
    try:
        config = TargetConfig.model_validate(config.model_dump() | declared)
    except ValidationError as error:
        raise TargetError(brief(error)) from error
    target = tried(network, config, Request(type(network).__name__, ""))
    probe(target)
    return target
