"""What a network's outputs mean: logits, probabilities, or one sigmoid for each finding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.types import TargetError

Output = Literal["logits", "probabilities"]
TINY, CLOSE = 1e-30, 1e-6  # least probability of a softmax, and distance of a sigmoid from 0 and 1, that are told apart from none
AFFINE = ("Addmm", "Mm", "Convolution")  # operations, as autograd calls them, that end in no probabilities
RESHAPING = ("View", "Unsafe", "Reshape", "Squeeze", "Unsqueeze", "Select", "Slice", "ToCopy", "Clone", "Alias", "Permute")
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


def outputs(network: Callable[..., Any], x: Tensor) -> Tensor:
    """What a network answers to x (N, C, H, W): its tensor, the `logits` of a dictionary or object (Hugging Face), the first
    entry of another tuple. TargetError for anything else, whole numbers too."""
    out = network(x)
    if isinstance(out, Mapping):
        out = out.get("logits", out)
    elif isinstance(out, tuple | list) and out:
        out = getattr(out, "logits", out[0])
    elif not isinstance(out, Tensor):
        out = getattr(out, "logits", out)
    if not isinstance(out, Tensor) or not out.is_floating_point():
        came = f"one of {str(out.dtype).removeprefix('torch.')}" if isinstance(out, Tensor) else type(out).__name__
        raise TargetError(f"expected a tensor of logits from the target's network, got {came}")
    return out


def told_output(network: Callable[[Tensor], Any], x: Tensor, *, multi_label: bool = False) -> Output:
    """Whether a network gives logits or probabilities, told from what it answers to inputs x (N, C, H, W) and to 1000 x.

    Logits grow with the input and leave [0, 1]. Rows in [0, 1] that sum to one are a softmax; single values (or several that are
    declared as `multi_label`) that 1000 x drives to 0 or 1 are sigmoids' . Raises TargetError, which names what must be declared,
    for what stays in [0, 1] and is neither: sigmoids, or the logits of a network that does not see how large its input is and
    does not end in a linear layer; and for percentages and logs of sigmoids, of which neither can be made.
    """
    with torch.no_grad():
        calm, wild = outputs(network, x).float(), outputs(network, 1000 * x).float()
    _check_known(network, x, torch.cat([calm, wild]))
    if not bool(torch.isfinite(calm).all()) or not (_within(calm) and _within(wild)):
        return "logits"
    several = calm.ndim == 2 and calm.shape[1] > 1 and not multi_label
    if several and sum_to_one(calm) and sum_to_one(wild):
        return "probabilities"
    if _last_operation(network, x[:1]).startswith(AFFINE):
        return "logits"
    driven = float((wild - wild.round()).abs().max()) < SLACK and float((wild - calm).abs().max()) > CLOSE
    if driven and not several:
        return "probabilities"
    or_findings = ' (or "multi_label": true, for sigmoids of findings)' if several else ""
    raise TargetError(
        f"outputs {tuple(calm.shape)} stay in [0, 1] whatever the network is shown: declare "
        f'output="probabilities" or output="logits"{or_findings}'
    )


def _check_known(network: Callable[[Tensor], Any], x: Tensor, rows: Tensor) -> None:
    """TargetError for outputs (N, K) or (N,) that are neither logits nor probabilities, however they are declared."""
    several = rows.ndim == 2 and rows.shape[1] > 1
    if several and float(rows.min()) >= 0 and float((rows.sum(1) / 100 - 1).abs().max()) < SLACK:
        raise TargetError("expected logits or probabilities, got percentages: rows that sum to 100")
    logs = _last_operation(network, x[:1]).startswith("Log") and not (several and sum_to_one(rows.exp()))
    if logs and float(rows.max()) <= 0:
        raise TargetError("expected logits or probabilities, got logs of sigmoids: let the network end before them")


def _last_operation(network: Callable[[Tensor], Any], x: Tensor) -> str:
    """What autograd calls the last operation of a network, reshaping left out; "" where no gradient passes."""
    with torch.enable_grad():
        node = outputs(network, x.detach().clone().requires_grad_()).grad_fn
    while node is not None and node.name().startswith(RESHAPING) and node.next_functions:
        node = node.next_functions[0][0]
    return "" if node is None else node.name()


def _within(out: Tensor) -> bool:
    low, high = (float(each) for each in out.nan_to_num(0.5).aminmax())
    return low >= -SLACK and high <= 1 + SLACK


def sum_to_one(rows: Tensor) -> bool:
    """Whether rows (N, K) look like the output of a softmax."""
    return _within(rows) and float((rows.sum(1) - 1).abs().max()) < SLACK


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
        out = outputs(self.network, x)
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
