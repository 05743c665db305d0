"""Integrated gradients and gradient x input, both run by captum on the log-odds of the positive set."""

from __future__ import annotations

import torch
from captum.attr import InputXGradient
from captum.attr import IntegratedGradients as Integrated
from torch import Tensor

from gan_explain.attribution.base import Method, answer, explained_set, register
from gan_explain.targets import masks_for
from gan_explain.types import Target

STEPS = 128  # points of the line
CHUNK = 64  # images that a target sees at a time


@register("integrated_gradients")
class IntegratedGradients(Method):
    """Integrated gradients (Sundararajan et al., "Axiomatic Attribution for Deep Networks", ICML 2017, arXiv 1703.01365):
    x times the mean gradient along the straight line from black to x, by Gauss-Legendre.

    Black is air everywhere, a film that nothing shaded: what attenuates can have heat, dark lungs cannot. A blurred radiograph is
    no neutral baseline: it looks hazy, which is what these targets look for, and disease would then speak against itself.
    Complete but for the error of `STEPS` points: a map sums to the log-odds of x less those of black (`note` states them).
    """

    title = "integrated gradients"
    caveat = (
        "Evidence as compared with a black image, which is no radiograph: dark lungs get none. It is noisy from pixel to "
        "pixel: look at areas."
    )
    unit = "log-odds a pixel"
    signed = True
    needs_gradients = True

    def heat(self, images: Tensor, target: Target, lungs: Tensor | None, chosen: Tensor) -> Tensor:
        """images (N, C, H, W), chosen (N, K) bool -> (N, C, H, W), in log-odds. Raises TargetError without gradients."""
        with torch.enable_grad():
            x = images.detach().clone().requires_grad_()
            given, chunk = (masks_for(target, lungs), chosen), max(CHUNK, len(x))
            line = Integrated(answer(target))
            found: Tensor = line.attribute(x, n_steps=STEPS, additional_forward_args=given, internal_batch_size=chunk)
        return found

    def note(self, images: Tensor, target: Target, lungs: Tensor | None = None, chosen: Tensor | None = None) -> str:
        """What the sum of the first image's map stands for."""
        first, mask = images[:1], None if lungs is None else lungs[:1]
        log_odds, masks, inside = answer(target), masks_for(target, mask), explained_set(target, chosen, images[:1])
        with torch.no_grad():
            gained = float(log_odds(first, masks, inside) - log_odds(torch.zeros_like(first), masks, inside))
        return f"from black, log-odds {gained:+.2f}, in {STEPS} steps"


@register("gradient_x_input")
class GradientXInput(Method):
    """Gradient x input (Shrikumar et al., "Not Just a Black Box", arXiv 1605.01713): x times the slope of the log-odds at x."""

    title = "gradient × input"
    caveat = (
        "The slope at this one image, times brightness: black pixels get nothing, and a large slope is no large share of the "
        "answer. It is noisy from pixel to pixel."
    )
    unit = "log-odds a pixel"
    signed = True
    needs_gradients = True

    def heat(self, images: Tensor, target: Target, lungs: Tensor | None, chosen: Tensor) -> Tensor:
        """images (N, C, H, W), chosen (N, K) bool -> (N, C, H, W), in log-odds. Raises TargetError without gradients."""
        with torch.enable_grad():
            x = images.detach().clone().requires_grad_()
            given = (masks_for(target, lungs), chosen)
            found: Tensor = InputXGradient(answer(target)).attribute(x, additional_forward_args=given)
        return found
