"""One update of a network, and what keeps NaN and infinity out of its weights: losses and gradients are looked at before the
optimiser steps, weights after it, each as one number (a norm is finite only where everything in it is)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from gan_explain.types import TrainingDiverged


def descend(
    name: str, network: nn.Module, optimizer: torch.optim.Optimizer, losses: Mapping[str, Tensor], clip: float | None = None
) -> None:
    """One step of `optimizer` down the sum of the named losses; the gradient's norm is cut to `clip`.

    Raises TrainingDiverged, naming the loss or the gradient (`name` stands before its parameter's), before any weight is changed.
    """
    total = torch.stack(list(losses.values())).sum()
    optimizer.zero_grad(set_to_none=True)
    total.backward()
    gradients = {key: p.grad for key, p in network.named_parameters() if p.grad is not None}
    norm = get_total_norm(gradients.values())
    if not bool(torch.isfinite(norm + total.detach())):
        check_finite(losses)
        _check("gradient", {f"{name}.{key}": value for key, value in gradients.items()})
        raise TrainingDiverged(f"the norm of the gradient of {name} is {float(norm)}")
    if clip is not None:
        clip_grads_with_norm_(network.parameters(), clip, norm)
    optimizer.step()


def check_finite(losses: Mapping[str, Tensor]) -> None:
    """Raise TrainingDiverged, naming the term, when one is NaN or infinite."""
    if not _finite(list(losses.values())):
        _check("loss term", losses)


def check_weights(networks: Mapping[str, nn.Module]) -> None:
    """Raise TrainingDiverged, naming the tensor, when a weight or a buffer is NaN or infinite."""
    states = {name: network.state_dict() for name, network in networks.items()}
    if not _finite([value for state in states.values() for value in state.values()]):
        _check("weight", {f"{name}.{key}": value for name, state in states.items() for key, value in state.items()})


def check_state(state: Any, name: str = "") -> None:
    """Raise TrainingDiverged, naming the place, when a tensor in a nested state (networks, optimisers, averages) is NaN or
    infinite."""
    if isinstance(state, Tensor):
        _check("state", {name: state})
    elif isinstance(state, Mapping | list | tuple):
        for key, value in state.items() if isinstance(state, Mapping) else enumerate(state):
            check_state(value, f"{name}.{key}".lstrip("."))


def _finite(tensors: Sequence[Tensor]) -> bool:
    """Whether the norm of all floating-point tensors is finite: a quick look, wrong only for finite values beyond 1e19."""
    floating = [value.detach() for value in tensors if value.is_floating_point()]
    return not floating or bool(torch.isfinite(get_total_norm(floating)))


def _check(kind: str, tensors: Mapping[str, Tensor]) -> None:
    for name, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            found = value.detach().flatten()
            worst = float(found[~torch.isfinite(found)][0])
            raise TrainingDiverged(f"{kind} {name!r} is {worst}")
