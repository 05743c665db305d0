"""What a trainer of one network must keep to be resumed to the bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from gan_explain.train.distributed import is_main
from gan_explain.train.loop import Ema
from gan_explain.train.sampling import BalancedSampler


class OneNetwork:
    """State of a trainer with one network, its optimiser and average, and a sampler, of which every random number comes."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    ema: Ema
    sampler: BalancedSampler
    device: torch.device

    def state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.shadow,
            "sampler": self.sampler.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema.shadow = {k: v.to(self.device) for k, v in state["ema"].items()}
        if is_main():  # the stream saved is the first process's; others keep their own
            self.sampler.restore(state["sampler"].cpu())
