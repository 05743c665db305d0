"""How fast what learns when: factors of the learning rate, and a backbone that is frozen at first.

Transfer learning as in Zebin, Rezvy & Pang, "COVID-19 detection and disease progression visualization: Deep learning on chest
X-rays for classification and coarse localization" (arXiv 2008.01973): only the head learns, until its gradients are worth passing
on. Unlike there, what is frozen keeps the BatchNorm statistics of its pretraining too, and the learning rate rises once more from
zero when the backbone joins in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

WARMUP = 50  # steps over which the learning rate rises, at the start and after unfreezing
LEAST = 0.02  # what a cosine comes down to


def warm(step: int, steps: int) -> float:
    """Linear rise to 1 over the first `steps`."""
    return min(1.0, (step + 1) / max(steps, 1))


def fallen(progress: float) -> float:
    """Half a cosine from 1 at progress 0 to LEAST at 1."""
    return LEAST + (1 - LEAST) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def cosine(step: int, steps: int, warmup: int = WARMUP, freeze_steps: int = 0) -> float:
    """Factor in (0, 1]: half a cosine over all steps, with a linear warm-up at step 0 and at `freeze_steps`."""
    since = step - freeze_steps if step >= freeze_steps else step
    return warm(since, warmup) * fallen(step / max(steps, 1))


def level(progress: float, step: int, flat: float) -> float:
    """Linear warm-up over 100 steps, level until progress `flat`, then half a cosine."""
    return warm(step, 100) * fallen(max(0.0, progress - flat) / max(1 - flat, 1e-9))


def linear_decay(step: int, steps: int) -> float:
    """1 over the first half, then linearly towards 0."""
    half = steps / 2
    return 1.0 if step < half else max(0.0, (steps - step) / (steps - half))


class Freezing:
    """Holds parameters, and the statistics of norms, still for the first `steps` steps.

    Parameters that needed no gradient to begin with never get one. Which phase it is follows from the step alone, so that a
    resumed run needs no state of it.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], norms: Sequence[nn.Module], steps: int) -> None:
        self.steps, self.norms, self.frozen = steps, norms, False
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]

    @staticmethod
    def but_head(network: nn.Module, head: str, steps: int) -> Freezing:
        """Everything but the layer `head` of a network."""
        prefix = f"{head}."
        parameters = [p for name, p in network.named_parameters() if not name.startswith(prefix)]
        norms = [m for name, m in network.named_modules() if isinstance(m, _BatchNorm) and not f"{name}.".startswith(prefix)]
        return Freezing(parameters, norms, steps)

    def apply(self, step: int) -> bool:
        """Set gradients and modes for a step, after the network went into training mode; True when a phase begins."""
        frozen = step < self.steps
        changed, self.frozen = frozen != self.frozen, frozen
        if changed:
            for parameter in self.parameters:
                parameter.requires_grad_(not frozen)
                parameter.grad = None
        if frozen:
            for norm in self.norms:
                norm.eval()
        return changed
