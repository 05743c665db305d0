"""What trainers share: networks, optimisers, an average and random streams, all of it kept and restored to the bit.

A concrete trainer adds an objective (named losses of networks that are passed in), what is drawn for an update, and what a sheet
shows.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gan_explain.files.checkpoints import save_part
from gan_explain.render.sheet import write_sheet
from gan_explain.train.distributed import is_main, rank, wrap
from gan_explain.train.schedule import Freezing, cosine
from gan_explain.train.training import Training
from gan_explain.train.update import descend

Network = TypeVar("Network", bound=nn.Module)


class Objective(nn.Module):
    """One pass of `network` that returns named losses, weighted by `config`; what DDP wraps. `asked` holds models that are asked
    and not trained: they are no submodules."""

    config: Any

    def __init__(self, network: nn.Module, config: Training | None = None, **asked: Any) -> None:
        super().__init__()
        self.network, self.config, self.asked = network, config, SimpleNamespace(**asked)


class Ema:
    """Exponential moving average of a network's weights and floating-point buffers; counters are copied."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow = {k: v.detach().clone() for k, v in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))  # short memory while the network is young
        for key, value in network.state_dict().items():
            shadow = self.shadow[key]
            if value.dtype.is_floating_point:
                shadow.lerp_(value.detach(), 1 - decay)
            else:
                shadow.copy_(value)


class Trainer(ABC):
    """Base of trainers. `networks` are trained, by name; of `averaged_one` an average is kept, which is the result.

    Every random number of an update comes from `streams`, or from torch's own stream; each process has streams of its own.
    """

    channels_last = True  # layout of the networks in memory: faster, but for small maps

    def __init__(self, config: Training, networks: Mapping[str, nn.Module], averaged_one: nn.Module) -> None:
        self.config, self.device = config, torch.device(config.device)
        self._networks, self._averaged_one = dict(networks), averaged_one
        for module in self._networks.values():
            layout = {"memory_format": torch.channels_last} if self.channels_last else {}
            module.to(self.device, **layout)  # type: ignore[call-overload]
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self._highest: dict[str, list[float]] = {}  # learning rates of the groups of each optimiser
        self.streams: dict[str, torch.Generator] = {}
        self.seed = config.seed + 1000 * rank()

    # -- what a concrete trainer says -----------------------------------------------------------------------------------------

    @abstractmethod
    def update(self, step: int) -> dict[str, Tensor]:
        """One update of every network; returns the named loss terms."""

    def averaged(self) -> nn.Module:
        """The result: by default a copy of the averaged network, frozen, in eval mode."""
        return self.copy_of(self._averaged_one)

    @abstractmethod
    def samples(self) -> Mapping[str, Tensor]:
        """The rows of a sheet, by what they show: images (N, 1, H, W) in [0, 1]."""

    def begin(self, step: int) -> None:
        """Set modes and what is frozen, before a step."""
        return

    def rate(self, step: int) -> float:
        """Factor of all learning rates, in [0, 1]."""
        return cosine(step, self.config.steps)

    def kept(self) -> dict[str, Any]:
        """What else is part of the state."""
        return {}

    def keep(self, state: Mapping[str, Any]) -> None:
        """Restore what `kept` returned."""
        return

    @property
    def done(self) -> bool:
        """Whether there has been enough training before the last step."""
        return False

    def check(self, step: int) -> None:
        """Look at the weights after `step` steps; a second look at the same step says nothing new."""
        return

    # -- what all trainers do -------------------------------------------------------------------------------------------------

    @cached_property
    def ema(self) -> Ema:
        """Made before the first update: in every process of the same weights."""
        return Ema(self._averaged_one, self.config.ema)

    def networks(self) -> Mapping[str, nn.Module]:
        return self._networks

    def optimize(self, name: str, optimizer: torch.optim.Optimizer) -> None:
        """Let an optimiser, at its highest rates now, update a network."""
        self.optimizers[name] = optimizer
        self._highest[name] = [group["lr"] for group in optimizer.param_groups]

    def stream(self, name: str, offset: int = 0) -> torch.Generator:
        """A random stream of this process that is part of the state."""
        self.streams[name] = torch.Generator().manual_seed(self.seed + offset)
        return self.streams[name]

    def wrap(self, objective: nn.Module) -> Any:
        """The objective on the device, for all processes."""
        return wrap(objective, self.device)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.amp)

    def step(self, step: int) -> dict[str, Tensor]:
        """One update of every network; returns the named loss terms, detached."""
        self.begin(step)
        factor, average = self.rate(step), self.ema
        for name, optimizer in self.optimizers.items():
            for group, highest in zip(optimizer.param_groups, self._highest[name], strict=True):
                group["lr"] = highest * factor
        terms = self.update(step)
        average.update(self._averaged_one, step)
        return {name: value.detach() for name, value in terms.items()}

    def descend(self, name: str, losses: Mapping[str, Tensor], clip: float | None = None) -> None:
        """One step of a network down the sum of its losses. TrainingDiverged, before a weight is changed (`update.descend`)."""
        descend(name, self._networks[name], self.optimizers[name], losses, clip)

    def copy_of(self, network: Network, weights: Mapping[str, Tensor] | None = None) -> Network:
        """A copy of the averaged network with its average, or other weights: frozen, in eval mode."""
        made = copy.deepcopy(network)
        made.load_state_dict(weights or self.ema.shadow)
        return made.requires_grad_(False).eval()

    @torch.no_grad()
    def sheet(self, path: Path) -> None:
        """Write a sheet of samples (PNG)."""
        rows = self.samples()
        write_sheet([list(row.float().cpu()) for row in rows.values()], path, rows=tuple(rows))

    def state(self) -> dict[str, Any]:
        return {
            "networks": {name: module.state_dict() for name, module in self._networks.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "ema": self.ema.shadow,
            "streams": {name: stream.get_state() for name, stream in self.streams.items()},
            "kept": self.kept(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        for name, module in self._networks.items():
            module.load_state_dict(state["networks"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.ema.shadow = {k: v.to(self.device) for k, v in state["ema"].items()}
        self.keep(state["kept"])
        if is_main():  # the streams saved are the first process's; others keep their own
            for name, stream in self.streams.items():
                stream.set_state(state["streams"][name].cpu())


def save_network(network: Network, out: Path, part: str, kind: str, origin: Mapping[str, Any] | None = None) -> Network:
    """Write a network with its configuration as a part of checkpoint `out`, in 16 bits, by the first process; returns it."""
    if is_main():
        config: Any = network.config
        save_part(out, part, kind, config.model_dump(mode="json"), network.state_dict(), half=True, origin=origin)
    return network


class OneNetworkTrainer(Trainer):
    """A trainer of one network, part of which may be frozen for a while."""

    clip: float | None = None

    def __init__(self, config: Training, name: str, objective: nn.Module, freezing: Freezing) -> None:
        self.objective, self.name, self.freezing = objective, name, freezing
        self.network: nn.Module = objective.network  # type: ignore[assignment]
        super().__init__(config, {name: self.network}, self.network)
        objective.to(self.device)
        self._loss: Any = None

    @abstractmethod
    def draw(self) -> tuple[Any, ...]:
        """What the objective is called with."""

    def begin(self, step: int) -> None:
        self.network.train()
        if self.freezing.apply(step) or self._loss is None:
            self._loss = self.wrap(self.objective)  # DDP counts on the parameters that need gradients when it wraps

    def update(self, step: int) -> dict[str, Tensor]:
        inputs = self.draw()
        with self.autocast():
            terms: dict[str, Tensor] = self._loss(*inputs)
        self.descend(self.name, terms, self.clip)
        return terms


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """No parameter of a module needs a gradient inside."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
