"""Supervised trainers: one network, AdamW with a cosine, a balanced sampler, augmentation, early stopping where asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from gan_explain.data import Batch
from gan_explain.data.augment import Ranges, draw
from gan_explain.train.early import EarlyStopping
from gan_explain.train.masks import Batches
from gan_explain.train.sampling import BalancedSampler
from gan_explain.train.schedule import Freezing, cosine
from gan_explain.train.trainer import OneNetworkTrainer
from gan_explain.train.training import Average, Decay, Training

SCARCE = 100  # images below which a cell is drawn less often


@dataclass(frozen=True, kw_only=True)
class SupervisedTraining(Training):
    """`ranges` are those of the random transforms at full strength; the head is the layer that gives the logits."""

    batch_size: Annotated[int, Field(ge=2, description="Images of an update.")] = 32
    ema: Average = 0.99
    weight_decay: Decay = 1e-2
    augment: Annotated[float, Field(ge=0, description="Strength of the random transforms, a share of the usual; 0: none.")] = 1.0
    freeze_steps: Annotated[int, Field(ge=0, description="First steps for the head alone (of a cxrnet: the decoder).")] = 0
    ranges: Ranges = Ranges()

    @property
    def transforms(self) -> Ranges:
        """The ranges at this strength."""
        return Ranges(*(self.augment * half for half in astuple(self.ranges)))


class SupervisedTrainer(OneNetworkTrainer):
    """Trains `objective`, a module whose forward(images, masks, batch) returns named losses, around `objective.network`.

    `keys` (one a record) names the cells that are drawn equally often, or in the proportion of `shares`. `head` names the layer
    that learns alone for the first `config.freeze_steps` steps. With `early` validation ends the training, and the best averaged
    weights are its result.
    """

    config: SupervisedTraining

    def __init__(
        self,
        objective: nn.Module,
        dataset: Batches,
        keys: Sequence[str],
        config: SupervisedTraining,
        *,
        head: str = "",
        early: EarlyStopping | None = None,
        shares: Mapping[str, float] | None = None,
    ) -> None:
        network: nn.Module = objective.network  # type: ignore[assignment]
        super().__init__(config, "network", objective, Freezing.but_head(network, head, config.freeze_steps))
        self.dataset, self.early = dataset, early
        trained = [p for p in network.parameters() if p.requires_grad]
        self.optimize("network", torch.optim.AdamW(trained, config.learning_rate, weight_decay=config.weight_decay))
        self.sampler = BalancedSampler(keys, self.stream("sampler"), floor=SCARCE, shares=shares)

    def rate(self, step: int) -> float:
        return cosine(step, self.config.steps, freeze_steps=self.config.freeze_steps)

    def draw(self) -> tuple[Tensor, Tensor, Batch]:
        batch = self.dataset.batch(self.sampler.draw(self.config.batch_size))
        images, masks = draw(len(batch.images), self.sampler.generator, self.config.transforms)(batch.images, batch.lungs)
        return images.to(self.device), masks.to(self.device), batch

    def samples(self) -> dict[str, Tensor]:
        """The first training images, as augmented: what the network sees."""
        batch = self.dataset.batch(list(range(min(8, len(self.dataset)))))
        random = torch.Generator().manual_seed(0)
        images, masks = draw(len(batch.images), random, self.config.transforms)(batch.images, batch.lungs)
        return {"training images": images, "their masks": masks}

    def kept(self) -> dict[str, Any]:
        return {"early": self.early.state()} if self.early else {}

    def keep(self, state: Mapping[str, Any]) -> None:
        if self.early and "early" in state:  # a run may begin to look at validation images when it is resumed
            self.early.restore(state["early"])

    @property
    def done(self) -> bool:
        """Whether validation says that more training does not help."""
        return self.early is not None and self.early.done

    def check(self, step: int) -> None:
        """Show the averaged weights after `step` steps to the validation images, where there is early stopping."""
        if self.early:
            self.early.check(step, self.ema.shadow)

    def averaged(self) -> nn.Module:
        """The network with its averaged weights (the best of those that early stopping saw), in eval mode."""
        return self.copy_of(self.network, self.early.weights if self.early else None)
