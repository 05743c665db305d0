"""What supervised trainers share: one network, AdamW with a cosine, EMA, a balanced sampler, augmentation, resumable state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from gan_explain.data import Batch
from gan_explain.data.augment import Ranges, draw
from gan_explain.render.sheet import write_sheet
from gan_explain.train.distributed import rank, wrap
from gan_explain.train.early import EarlyStopping
from gan_explain.train.loop import Ema
from gan_explain.train.masks import Batches
from gan_explain.train.sampling import BalancedSampler
from gan_explain.train.schedule import Freezing, rate_factor
from gan_explain.train.state import OneNetwork
from gan_explain.train.training import Training
from gan_explain.train.update import descend


@dataclass(frozen=True, kw_only=True)
class SupervisedTraining(Training):
    """`ranges` are those of the random transforms at full strength; the head is the layer that gives the logits."""

    batch_size: Annotated[int, Field(ge=2, description="Images of an update.")] = 32
    ema: Annotated[float, Field(ge=0, lt=1, description="Decay of the averaged weights, which are the result.")] = 0.99
    weight_decay: Annotated[float, Field(ge=0, description="Decay of the weights (AdamW).")] = 1e-2
    augment: Annotated[float, Field(ge=0, description="Strength of the random transforms, a share of the usual; 0: none.")] = 1.0
    freeze_steps: Annotated[int, Field(ge=0, description="First steps in which only the head learns.")] = 0
    ranges: Ranges = Ranges()

    @property
    def transforms(self) -> Ranges:
        """The ranges at this strength."""
        return Ranges(*(self.augment * half for half in astuple(self.ranges)))


class SupervisedTrainer(OneNetwork):
    """Trains `objective`, a module whose forward(images, masks, batch) returns named losses, around `objective.network`.

    `keys` (one a record) names the cells that are drawn equally often. `head` names the layer that learns alone for the first
    `config.freeze_steps` steps. With `early` the trainer is a `train.loop.Stopper`, and the best averaged weights are its result.
    """

    def __init__(
        self,
        objective: nn.Module,
        dataset: Batches,
        keys: list[str],
        config: SupervisedTraining,
        *,
        head: str = "",
        early: EarlyStopping | None = None,
    ) -> None:
        self.config, self.dataset, self.early = config, dataset, early
        self.device = torch.device(config.device)
        self.objective = objective.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network: nn.Module = self.objective.network
        trained = [p for p in self.network.parameters() if p.requires_grad]
        self.freezing = Freezing(self.network, head, config.freeze_steps)
        self.loss: Any = None if config.freeze_steps else wrap(self.objective, self.device)
        self.optimizer = torch.optim.AdamW(trained, config.learning_rate, weight_decay=config.weight_decay)
        self.sampler = BalancedSampler(keys, config.seed + 1000 * rank(), floor=100)
        self.ema = Ema(self.network, config.ema)

    def step(self, step: int) -> dict[str, Tensor]:
        self.network.train()
        if self.freezing.apply(step) or self.loss is None:
            self.loss = wrap(self.objective, self.device)  # DDP counts on the parameters that need gradients when it wraps
        batch = self.dataset.batch(self.sampler.draw(self.config.batch_size))
        augmentation = draw(len(batch.images), self.sampler.generator, self.config.transforms)
        images, masks = augmentation(batch.images, batch.lungs)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * rate_factor(step, self.config.steps, self.config.freeze_steps)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.amp):
            terms: dict[str, Tensor] = self.loss(images.to(self.device), masks.to(self.device), batch)
        descend("network", self.network, self.optimizer, terms)
        self.ema.update(self.network, step)
        return {name: value.detach() for name, value in terms.items()}

    def state(self) -> dict[str, Any]:
        return super().state() | ({"early": self.early.state()} if self.early else {})

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        if self.early and "early" in state:  # a run may begin to look at validation images when it is resumed
            self.early.restore(state["early"])

    def networks(self) -> Mapping[str, nn.Module]:
        return {"network": self.network}

    def sheet(self, path: Path) -> None:
        """The first training images, as augmented: what the network sees."""
        batch: Batch = self.dataset.batch(list(range(min(8, len(self.dataset)))))
        images, masks = draw(len(batch.images), torch.Generator().manual_seed(0), self.config.transforms)(
            batch.images, batch.lungs
        )
        write_sheet([list(images), list(masks)], path)

    @property
    def done(self) -> bool:
        """Whether validation says that more training does not help."""
        return self.early is not None and self.early.done

    def check(self, step: int) -> None:
        """Show the averaged weights after `step` steps to the validation images, where there is early stopping."""
        if self.early:
            self.early.check(step, self.ema.shadow)

    def averaged(self) -> nn.Module:
        """The network with its EMA weights (the best of those that early stopping saw), in eval mode."""
        self.network.load_state_dict((self.early and self.early.weights) or self.ema.shadow)
        return self.network.eval()
