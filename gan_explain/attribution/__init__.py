"""Heat maps: which pixels a target's answer rests on. Every method has one contract, and stands in one dictionary of names."""

from __future__ import annotations

from collections.abc import Callable

from gan_explain.attribution.base import Method
from gan_explain.attribution.grad_cam import GradCam

# A name, as --method takes it, to a function of the layer that --layer names ("": the method's own choice).
METHODS: dict[str, Callable[[str], Method]] = {
    "grad_cam": GradCam,
}

__all__ = ["METHODS", "GradCam", "Method"]
