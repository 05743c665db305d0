"""Training the layer autoencoder on the layers that the reader finds in real positives, in lung coordinates.

VAE-GAN (Larsen et al., ICML 2016, arXiv 1512.09300) with codes on a sphere. Terms:
- again: a layer encoded, its code disturbed, and decoded, is the layer (L1 on a logarithmic scale)
- edges: so are its differences between neighbouring cells
- moments: codes have mean 0 and covariance I, as far as a batch can tell: what is drawn from a Gaussian lies where codes lie
- adversarial: a discriminator, asked about each label apart, takes layers decoded from drawn codes for layers that were read
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gan_explain.labels import canonical, coarse
from gan_explain.lungs import COLUMNS, ROWS, LungFrame
from gan_explain.nets.generator import Disentangler
from gan_explain.nets.layers import LayerDiscriminator, unit_strength
from gan_explain.optics import opacity
from gan_explain.train.gan.losses import discriminator_loss, generator_loss, pick, r1_penalty
from gan_explain.train.gan.trainer import AdversarialTrainer
from gan_explain.train.loop import run
from gan_explain.train.masks import Batches
from gan_explain.train.sampling import BalancedSampler
from gan_explain.train.trainer import Objective, save_network
from gan_explain.train.training import DiscriminatorRate, Penalty, Training
from gan_explain.types import DataError

FEWEST = 8  # layers that a label needs for a prior of its own


@dataclass(frozen=True, kw_only=True)
class LayersTraining(Training):
    """Codes of strength 1 are disturbed by noise of a standard deviation up to `disturbed`."""

    batch_size: Annotated[int, Field(ge=2, description="Layers of an update.")] = 48
    discriminator_rate: DiscriminatorRate = 1e-3
    disturbed: Annotated[float, Field(ge=0, description="Noise on the codes, at most.")] = 0.3
    again: Annotated[float, Field(ge=0, description="Weight of a layer that comes back.")] = 10.0
    edges: Annotated[float, Field(ge=0, description="Weight of its edges.")] = 10.0
    moments: Annotated[float, Field(ge=0, description="Weight of codes that are distributed as a Gaussian.")] = 0.1
    adversarial: Annotated[float, Field(ge=0, description="Weight of drawn layers that look real.")] = 0.3
    r1: Penalty = 1.0


class LayersObjective(Objective):
    """forward(maps, drawn, cells, disturbance) -> named losses, layers decoded from the drawn codes, codes of the maps.

    maps (N, 2, ROWS, COLUMNS) that were read; drawn (M, d) codes; cells (M,) their labels; disturbance (N, d)."""

    network: nn.ModuleDict
    config: LayersTraining

    def __init__(self, autoencoder: nn.ModuleDict, discriminator: LayerDiscriminator, config: LayersTraining) -> None:
        super().__init__(autoencoder, config, discriminator=discriminator)

    def forward(
        self, maps: Tensor, drawn: Tensor, cells: Tensor, disturbance: Tensor
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        config = self.config
        codes = self.network["encoder"](maps)
        made = self.network["decoder"](torch.cat([unit_strength(codes + disturbance), drawn]))
        again, fake = made[: len(maps)], made[len(maps) :]
        a, b = torch.log1p(4 * again), torch.log1p(4 * maps)
        centred = codes - codes.mean(0)
        covariance = centred.T @ centred / len(codes)
        shape = codes.mean(0).square().mean() + (covariance - torch.eye(codes.shape[1]).to(codes)).square().mean()
        losses = {
            "again": config.again * F.l1_loss(a, b),
            "edges": config.edges * sum(F.l1_loss(a.diff(dim=d), b.diff(dim=d)) for d in (2, 3)),
            "moments": config.moments * shape,
            "adversarial": config.adversarial * generator_loss(pick(self.asked.discriminator(fake), cells)),
        }
        return losses, fake.detach(), codes.detach()


@dataclass(frozen=True)
class Drawn:
    """Layers (N, 2, ROWS, COLUMNS), their places among all, and their labels as numbers (N,)."""

    maps: Tensor
    places: Tensor
    cells: Tensor


class LayersTrainer(AdversarialTrainer[Drawn, Tensor]):
    """Trains encoder and decoder of a `Disentangler` whose reader is trained."""

    config: LayersTraining
    channels_last = False

    def __init__(self, maps: Tensor, labels: list[str], whole: Disentangler, config: LayersTraining) -> None:
        known = whole.config.labels
        if min((labels.count(name) for name in known), default=0) < FEWEST:
            few = next((name for name in known if labels.count(name) < FEWEST), "a label")
            raise DataError(f"expected at least {FEWEST} radiographs of {few} to learn layers from, got {labels.count(few)}")
        self.whole = whole
        self.network = nn.ModuleDict({"encoder": whole.encoder, "decoder": whole.decoder})
        self.discriminator = LayerDiscriminator(len(known), whole.config.layer_width)
        super().__init__(config, {"layers": self.network, "discriminator": self.discriminator}, self.network)
        self.maps, self.cells = maps.to(self.device), torch.tensor([known.index(name) for name in labels])
        self.objective = self.wrap(LayersObjective(self.network, self.discriminator, config))
        self.discriminating = self.wrap(self.discriminator)
        self.adam("layers", self.network, config.learning_rate, (0.0, 0.99))
        self.adam("discriminator", self.discriminator, config.discriminator_rate, (0.0, 0.99))
        self.sampler = BalancedSampler(labels, self.stream("sampler"))
        self.codes = torch.zeros(len(maps), whole.code_dim, device=self.device)  # as they were seen last

    def begin(self, step: int) -> None:
        if step == 0:
            with torch.no_grad():
                self.codes.copy_(self.network["encoder"](self.maps))

    def update(self, step: int) -> dict[str, Tensor]:
        places = torch.tensor(self.sampler.draw(self.config.batch_size))
        return self.alternate(Drawn(self.maps[places], places, self.cells[places]), "layers", "discriminator")

    def generate(self, drawn: Drawn) -> tuple[dict[str, Tensor], Tensor]:
        random, count = self.sampler.generator, len(drawn.maps)
        codes = self._prior(drawn.cells, random)
        noise = torch.randn(count, self.codes.shape[1], generator=random)
        disturbance = self.config.disturbed * torch.rand(count, 1, generator=random) * noise
        at, away = drawn.cells.to(self.device), disturbance.to(self.device)
        losses, fake, seen = self.objective(drawn.maps, codes, at, away)
        self.codes[drawn.places.to(self.device)] = seen
        return losses, fake

    def discriminate(self, drawn: Drawn, made: Tensor) -> dict[str, Tensor]:
        real, at = drawn.maps.clone().requires_grad_(True), drawn.cells.to(self.device)
        true, false = pick(self.discriminating(real), at), pick(self.discriminating(made), at)
        return {"discriminator": discriminator_loss(true, false), "r1": self.config.r1 * r1_penalty(true, real)}

    def _prior(self, cells: Tensor, random: torch.Generator) -> Tensor:
        """Codes drawn as those of each label are distributed now: (N,) -> (N, d)."""
        self._fit(self.whole, self.codes)
        noise = torch.randn(len(cells), self.codes.shape[1], generator=random).to(self.device)
        labels = self.whole.config.labels
        return torch.stack([self.whole.from_noise(z[None], labels[c])[0] for z, c in zip(noise, cells.tolist(), strict=True)])

    def _fit(self, whole: Disentangler, codes: Tensor) -> None:
        for i, label in enumerate(whole.config.labels):
            whole.fit_prior(label, codes[(self.cells == i).to(self.device)])

    def kept(self) -> dict[str, Any]:
        return {"codes": self.codes}

    def keep(self, state: Mapping[str, Any]) -> None:
        self.codes.copy_(state["codes"])

    @torch.no_grad()
    def averaged(self) -> Disentangler:
        """A copy of the generator with averaged weights and the priors of their codes, in eval mode."""
        whole, network = copy.deepcopy(self.whole), self.copy_of(self.network)
        whole.encoder.load_state_dict(network["encoder"].state_dict())
        whole.decoder.load_state_dict(network["decoder"].state_dict())
        self._fit(whole, torch.cat([whole.encoder(part) for part in self.maps.split(256)]))
        return whole.eval()

    def samples(self) -> dict[str, Tensor]:
        """Layers that were read, the same from their codes, and drawn ones: both lungs side by side, for each label."""
        whole, random = self.averaged(), torch.Generator().manual_seed(0)
        rows: dict[str, Tensor] = {}
        for i, label in enumerate(whole.config.labels):
            some = self.maps[(self.cells == i).to(self.device)]
            some = some[:: max(1, len(some) // 8)][:8]
            drawn = whole.decoder(whole.prior(len(some), random, label).to(self.device))
            shown = {"read": some, "from their codes": whole.decoder(whole.encoder(some)), "drawn": drawn}
            rows |= {f"{label}: {name}": opacity(side_by_side(maps)) for name, maps in shown.items()}
        return rows


def side_by_side(maps: Tensor) -> Tensor:
    """Canonical maps (N, 2, ROWS, COLUMNS) -> pictures (N, 1, ROWS, 2 COLUMNS), as lungs lie in an image."""
    return torch.cat([maps[:, :1].flip(-1), maps[:, 1:]], -1)


@torch.no_grad()
def read_layers(dataset: Batches, network: Disentangler, device: torch.device, batch_size: int = 32) -> tuple[Tensor, list[str]]:
    """The layers that the reader finds on the radiographs of the network's labels, (N, 2, ROWS, COLUMNS), and their labels."""
    known = network.config.labels
    names = [_label(record.label, known) for record in dataset.records]
    places = [i for i, name in enumerate(names) if name is not None]
    network.to(device).eval()
    maps = []
    for start in range(0, len(places), batch_size):
        batch = dataset.batch(places[start : start + batch_size])
        images, lungs = batch.images.to(device), batch.lungs.to(device)
        maps.append(LungFrame(lungs, network.config.grid).to_canonical(network.read(images, lungs)))
    found = torch.cat(maps) if maps else torch.zeros(0, 2, ROWS, COLUMNS)
    return found, [names[i] or "" for i in places]


def _label(label: str, known: tuple[str, ...]) -> str | None:
    """A label's own name or its three-class view, whichever the generator knows."""
    return next((name for name in (canonical(label), coarse(label)) if name in known), None)


def train_layers(
    dataset: Batches,
    out: Path,
    network: Disentangler,
    config: LayersTraining,
    *,
    resume: bool = False,
    origin: Mapping[str, Any] | None = None,
) -> Disentangler:
    """Train the layer autoencoder of `network`, whose reader is trained, and write the part "generator" of checkpoint `out`;
    states and sheets are in `out`/layers. Raises DataError where a label has too few radiographs."""
    maps, labels = read_layers(dataset, network, torch.device(config.device))
    trainer = LayersTrainer(maps, labels, network, config)
    run(trainer, config, out / "layers", resume=resume)
    return save_network(trainer.averaged().cpu(), out, "generator", "disentangler", origin)
