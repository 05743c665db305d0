"""What a network's outputs mean: logits, probabilities, or one sigmoid for each finding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.types import TargetError

Output = Literal["logits", "probabilities"]
TINY, CLOSE = 1e-30, 1e-6  # least probability of a softmax, and distance of a sigmoid from 0 and 1, that are told apart from none
SLACK = 1e-3  # what half precision may miss of a sum of one


def log_probabilities(out: Tensor) -> Tensor:
    """Probabilities as logits: softmax rows (N, K) -> their log; one sigmoid (N,) or (N, 1) -> log p - log(1 - p).

    Where a probability saturates so do the logits: an export that stops before the softmax shows more. Raises TargetError for
    values that are no probabilities.
    """
    low, high = float(out.detach().min()), float(out.detach().max())
    if low < -SLACK or high > 1 + SLACK:
        raise TargetError(f"expected probabilities in [0, 1] from the target's network, got values from {low:.3g} to {high:.3g}")
    if out.ndim == 1 or out.shape[1] == 1:
        return torch.logit(out, eps=CLOSE)
    return out.clamp(min=TINY).log()


def are_probabilities(out: Tensor) -> bool:
    """Whether outputs (N,) or (N, K) all lie in [0, 1], those of several classes with rows that sum to one."""
    if not bool(torch.isfinite(out).all()) or float(out.min()) < -SLACK or float(out.max()) > 1 + SLACK:
        return False
    return out.ndim == 1 or out.shape[1] == 1 or float((out.sum(1) - 1).abs().max()) < SLACK


def told_output(network: nn.Module, x: Tensor, *, multi_label: bool = False) -> Output:
    """Whether a network gives logits or probabilities, told from what it answers to inputs x (N, C, H, W) and to 1000 x.

    Logits grow with the input and leave [0, 1]; a sigmoid or softmax cannot. Raises TargetError for several sigmoids (rows that
    do not sum to one) unless they are declared as `multi_label`.
    """
    with torch.no_grad():
        calm, wild = network(x).float(), network(1000 * x).float()
    if multi_label:
        both = torch.cat([calm, wild]).flatten()
        return "probabilities" if are_probabilities(both) else "logits"
    if are_probabilities(calm) and are_probabilities(wild):
        return "probabilities"
    if calm.ndim == 2 and are_probabilities(torch.cat([calm, wild]).flatten()):
        raise TargetError(
            f"expected logits or probabilities that sum to one, got {calm.shape[1]} sigmoids: say "
            '"multi_label": true beside the weights, and name one with --positive'
        )
    return "logits"


class MultiLabel(nn.Module):
    """A network with one sigmoid for each finding, as a choice between none and the findings asked for.

    (N, K) -> (N, 1 + k): logits (0, z_1, ..., z_k) of the chosen outputs. The softmax of one finding is its sigmoid; the odds of
    several add up. With `thresholds` (k,) each probability s is first moved so that its threshold t becomes one half, as
    torchxrayvision's `op_norm` does: s / 2t below it, 1 - (1 - s) / 2(1 - t) above.
    """

    def __init__(
        self, network: nn.Module, chosen: Sequence[int], *, output: Output = "logits", thresholds: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        self.network, self.chosen, self.output = network, list(chosen), output
        self.register_buffer("thresholds", None if thresholds is None else torch.tensor(thresholds, dtype=torch.float32))
        self.thresholds: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.network(x)
        if out.ndim != 2 or out.shape[1] <= max(self.chosen):
            raise TargetError(f"expected at least {max(self.chosen) + 1} findings (N, K), got {tuple(out.shape)}")
        z = out[:, self.chosen].float()  # (N, K) -> (N, k)
        if self.output == "probabilities":
            z = torch.logit(z, eps=CLOSE)
        if self.thresholds is not None:
            z = threshold_at_half(z, self.thresholds)
        return torch.cat([torch.zeros_like(z[:, :1]), z], dim=1)  # (N, 1 + k)


def threshold_at_half(z: Tensor, thresholds: Tensor) -> Tensor:
    """Logits (N, k) of sigmoids -> logits of the same after `op_norm` at thresholds (k,) in (0, 1); finite with its gradient."""
    below = (z.sigmoid() / (2 * thresholds)).clamp(max=0.5)
    above = ((-z).sigmoid() / (2 * (1 - thresholds))).clamp(max=0.5)
    low = F.logsigmoid(z) - (2 * thresholds).log() - torch.log1p(-below)
    high = torch.log1p(-above) - F.logsigmoid(-z) + (2 * (1 - thresholds)).log()
    return torch.where(z.sigmoid() < thresholds, low, high)
