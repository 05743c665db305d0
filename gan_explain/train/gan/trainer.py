"""Two sides in turn: a generator against a discriminator that is held still, then the discriminator on what was made."""

from __future__ import annotations

from abc import abstractmethod
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from gan_explain.train.trainer import Trainer, frozen

Drawn = TypeVar("Drawn")
Made = TypeVar("Made")


class AdversarialTrainer(Trainer, Generic[Drawn, Made]):
    """Base of trainers with a discriminator: what is drawn for an update, and the losses of either side on it."""

    clip: float | None = None  # of the generator's gradient

    @abstractmethod
    def generate(self, drawn: Drawn) -> tuple[dict[str, Tensor], Made]:
        """The generator's losses, and what it made, detached."""

    @abstractmethod
    def discriminate(self, drawn: Drawn, made: Made) -> dict[str, Tensor]:
        """The discriminator's losses; none where it does not learn yet."""

    def adam(self, name: str, network: nn.Module, rate: float, betas: tuple[float, float]) -> None:
        """Let Adam update what needs gradients in a network."""
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.optimize(name, torch.optim.Adam(trained, rate, betas=betas))

    def alternate(self, drawn: Drawn, generator: str, discriminator: str) -> dict[str, Tensor]:
        """One update of each of two networks; returns the named terms of both."""
        # generator
        with frozen(self.networks()[discriminator]):
            losses, made = self.generate(drawn)
            self.descend(generator, losses, self.clip)

        # discriminator
        terms = self.discriminate(drawn, made)
        if terms:
            self.descend(discriminator, terms)
        return losses | terms
