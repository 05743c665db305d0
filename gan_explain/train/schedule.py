"""A backbone that is frozen at first: only the head learns, until its gradients are worth passing on; then everything does.

Transfer learning as in Zebin, Rezvy & Pang, "COVID-19 detection and disease progression visualization: Deep learning on chest
X-rays for classification and coarse localization" (arXiv 2008.01973). Unlike there, what is frozen keeps the BatchNorm
statistics of its pretraining too, and the learning rate rises once more from zero when the backbone joins in.
"""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from gan_explain.train.loop import cosine

WARMUP = 50  # steps over which the learning rate rises, at the start and after unfreezing


def rate_factor(step: int, steps: int, freeze_steps: int = 0) -> float:
    """Learning-rate factor in (0, 1]: half a cosine over all steps, with a linear warm-up at step 0 and at `freeze_steps`."""
    since = step - freeze_steps if step >= freeze_steps else step
    return min(1.0, (since + 1) / WARMUP) * cosine(step, steps, warmup=0)


class Freezing:
    """Holds everything but the layer `head` of a network still for the first `steps` steps.

    Parameters that needed no gradient to begin with never get one. Which phase it is follows from the step alone, so that a
    resumed run needs no state of it.
    """

    def __init__(self, network: nn.Module, head: str, steps: int) -> None:
        self.steps = steps
        prefix = f"{head}."
        self.parameters = [p for name, p in network.named_parameters() if p.requires_grad and not name.startswith(prefix)]
        self.norms = [m for name, m in network.named_modules() if isinstance(m, _BatchNorm) and not f"{name}.".startswith(prefix)]
        self.frozen = False

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
