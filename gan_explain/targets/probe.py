"""The contract probe: what a target must do, checked on four made images before any work is done."""

from __future__ import annotations

import logging

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_explain.targets.config import check_positive
from gan_explain.targets.heads import sum_to_one, told_output
from gan_explain.targets.module import ModuleTarget, device_of, noise
from gan_explain.types import DataError, Target, TargetError

logger = logging.getLogger(__name__)


@torch.inference_mode(False)
def probe(target: Target, size: int = 64, tolerance: float = 1e-5) -> None:
    """Check a target's contract on four made images before any work is done.

    (4, K) finite logits and (4,) probabilities in [0, 1], both in single or double precision, eval mode (two calls give the
    same), no influence of the batch (within `tolerance`, relative to the largest logit above 1), a finite gradient where the
    target says it has one. Raises TargetError.
    """
    check_positive(target.classes, target.positive)
    if not 0 < target.operating_point < 1:
        raise TargetError(f"expected an operating point between 0 and 1, got {target.operating_point}")
    images, lungs = _probe_images(target, size)
    n, k = len(images), len(target.classes)
    try:
        with torch.no_grad(), torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False):
            logits = target.logits(images, lungs)
            again = target.logits(images, lungs)
            alone = torch.cat([target.logits(images[i : i + 1], lungs[i : i + 1]) for i in range(n)])
            probability = target.probability(images, lungs)
    except (TargetError, DataError):
        raise
    except Exception as error:  # the user's own network may raise anything
        raise TargetError(f"the target failed on images {tuple(images.shape)}: {type(error).__name__}: {error}") from error
    for name, given in (("logits", logits), ("probabilities", probability)):
        if not isinstance(given, Tensor) or given.dtype not in (torch.float32, torch.float64):
            came = str(given.dtype).removeprefix("torch.") if isinstance(given, Tensor) else type(given).__name__
            raise TargetError(f"expected {name} as a tensor of float32 or float64, got {came}")
    if logits.shape != (n, k):
        raise TargetError(f"expected logits {(n, k)}, got {tuple(logits.shape)}")
    if not bool(torch.isfinite(logits).all()):
        raise TargetError("expected finite logits, got NaN or infinity")
    if isinstance(target, ModuleTarget):
        _probe_output(target)
    elif sum_to_one(logits):
        raise TargetError("expected logits, got values in [0, 1] that sum to one: return their log")
    if not torch.equal(logits, again):
        raise TargetError("expected the same logits in a second call, got others: is the network in eval mode?")
    worst = float((logits - alone).abs().max() / logits.abs().max().clamp(min=1))
    if worst > tolerance:
        raise TargetError(f"expected logits independent of the batch (within {tolerance:g}), got a difference of {worst:.2g}")
    if probability.shape != (n,):
        raise TargetError(f"expected probabilities ({n},) in [0, 1], got {tuple(probability.shape)}")
    low, high = float(probability.min()), float(probability.max())
    if not 0 <= low <= high <= 1:
        raise TargetError(f"expected probabilities ({n},) in [0, 1], got values from {low:.3g} to {high:.3g}")
    if target.differentiable:
        _probe_gradient(target, images, lungs)
    if isinstance(target, ModuleTarget) and target.told:
        logger.info(target.told)


def _probe_output(target: ModuleTarget) -> None:
    """TargetError for probabilities, or what may be some, that were not declared: a second softmax would be laid over them."""
    if not target.config.output:
        told = told_output(target.network, noise(target.network, target.config))
        if told == "probabilities":
            raise TargetError('the network ends in a softmax or sigmoid: declare output "probabilities"')


def _probe_gradient(target: Target, images: Tensor, lungs: Tensor) -> None:
    try:
        with torch.enable_grad():
            leaf = images.clone().requires_grad_()
            logits = target.logits(leaf, lungs)
            if not logits.requires_grad:
                raise TargetError("expected logits with a gradient to the images, got none (set differentiable = False)")
            (gradient,) = torch.autograd.grad(F.log_softmax(logits, dim=1).sum(), leaf)
    except (TargetError, DataError):
        raise
    except Exception as error:  # an operation without a derivative
        raise TargetError(f"no gradient of the target's logits: {type(error).__name__}: {error}") from error
    if not bool(torch.isfinite(gradient).all()):
        raise TargetError("expected a finite gradient to the images, got NaN or infinity")


def _probe_images(target: Target, size: int) -> tuple[Tensor, Tensor]:
    """Four smooth images with noise (4, 1, size, size) and two ellipses as their lungs, on the target's device."""
    device, line = device_of(target), torch.linspace(-1, 1, size, dtype=torch.float32)
    y, x = torch.meshgrid(line, line, indexing="ij")
    waves = torch.stack([0.5 + 0.35 * torch.sin((1 + i) * x + 2 * y * i) for i in range(4)])[:, None]
    grain = torch.rand((4, 1, size, size), generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    lungs = (((x.abs() - 0.45) / 0.35).square() + (y / 0.7).square() < 1).float().expand(4, 1, size, size)
    return (0.8 * waves + 0.2 * grain).clamp(0, 1).to(device), lungs.to(device)
