"""What encoding and composing again costs: the gap of the target's response, L1 and SSIM of x to its reconstruction."""

from __future__ import annotations

from torch import Tensor

from gan_explain.metrics.proximity import l1, ssim


def reconstruction(image: Tensor, rebuilt: Tensor, p: Tensor, p_rebuilt: Tensor) -> dict[str, Tensor]:
    """Images (N, 1, H, W) in [0, 1] and their probabilities (N,) -> "gap" abs(p(x) - p(x_hat)), "l1" and "ssim", each (N,)."""
    return {"gap": (p - p_rebuilt).abs(), "l1": l1(image, rebuilt), "ssim": ssim(image, rebuilt)}
