"""Heat maps: which pixels a target's answer rests on. Every method has one contract, and stands in one dictionary of names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gan_explain.attribution.base import Method
from gan_explain.attribution.grad_cam import GradCam
from gan_explain.types import Generator


@dataclass(frozen=True)
class MethodOptions:
    """What a method may be told, each taking what it needs. `layer`: the one to look at ("": the method's own choice);
    `generator`: the disentangling generator of methods that walk its path; `seed` of what is drawn."""

    layer: str = ""
    generator: Generator | None = None
    seed: int = 0


# A name, as --method takes it, to a function of the options.
METHODS: dict[str, Callable[[MethodOptions], Method]] = {
    "grad_cam": lambda options: GradCam(options.layer),
}

__all__ = ["METHODS", "GradCam", "Method", "MethodOptions"]
