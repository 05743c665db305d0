"""Does a heat map depend on what the target learned? Its weights are drawn anew: the map must become another.

Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018, arXiv 1810.03292: the model parameter randomisation test, all
layers at once. Compared are Spearman's rank correlation and SSIM of the two maps. Differs: maps keep their sign, and ranks are
taken where either map is not zero; else what no gradient of a lungs-only target enters would make any two of its maps alike.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gan_explain.metrics.proximity import ssim
from gan_explain.stats import spearman
from gan_explain.targets import ModuleTarget

ALIKE = 0.5  # rank correlation from which two maps are the same one


@dataclass(frozen=True)
class Sameness:
    """How alike two maps of an image are, each (N,) float64: `spearman` in [-1, 1], NaN where one of them is flat, and `ssim` of
    the maps, each divided by its largest value. `changed`: whether they differ, 0 or 1."""

    spearman: Tensor
    ssim: Tensor
    changed: Tensor


def reinitialised(target: ModuleTarget, generator: torch.Generator) -> ModuleTarget | None:
    """The same network untrained: weights of two dimensions and more from He's normal distribution, as `generator` draws them
    (on the CPU), scales of normalisations 1, other vectors 0, running statistics those of a new layer. The preparation, and the
    mask that it is given, stay. None for a network whose weights are out of reach (ONNX).
    """
    if not any(True for _ in target.network.parameters()):
        return None
    fresh = copy.deepcopy(target)
    with torch.no_grad():
        for module in fresh.network.modules():
            if isinstance(module, nn.modules.batchnorm._NormBase):
                module.reset_running_stats()
            for name, parameter in module.named_parameters(recurse=False):
                if parameter.ndim >= 2:
                    drawn = torch.empty(parameter.shape, dtype=torch.float32)
                    parameter.copy_(nn.init.kaiming_normal_(drawn, nonlinearity="relu", generator=generator))
                else:
                    parameter.fill_(float(name == "weight"))
    return fresh


def sameness(heat: Tensor, other: Tensor) -> Sameness:
    """Two maps of every image, (N, 1, H, W) each, at least 11 x 11.

    They differ when their rank correlation is below 0.5; a flat map differs from one that is not, and from no flat one.
    """
    correlations, changed = [], []
    for a, b in zip(heat.detach().cpu().double().flatten(1), other.detach().cpu().double().flatten(1), strict=True):
        either = (a != 0) | (b != 0)
        found = spearman(a[either], b[either])
        correlations.append(found)
        changed.append(float(found < ALIKE if found == found else _is_flat(a[either]) != _is_flat(b[either])))
    likeness = ssim(_scaled(heat), _scaled(other)).double().cpu()
    return Sameness(torch.tensor(correlations, dtype=torch.float64), likeness, torch.tensor(changed, dtype=torch.float64))


def _is_flat(values: Tensor) -> bool:
    return not len(values) or bool(values.amax() == values.amin())


def _scaled(heat: Tensor) -> Tensor:
    """A map in [-1, 1] brought to [0, 1], its zero at a half."""
    largest = heat.abs().flatten(1).amax(1).clamp(min=1e-30).view(-1, 1, 1, 1)
    return (heat / largest + 1) / 2
