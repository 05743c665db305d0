"""Training the layer autoencoder on the layers that the reader finds in real positives, in lung coordinates.

VAE-GAN (Larsen et al., ICML 2016, arXiv 1512.09300) with codes on a sphere. Terms:
- again: a layer encoded, its code disturbed, and decoded, is the layer (L1 on a logarithmic scale)
- edges: so are its differences between neighbouring cells
- moments: codes have mean 0 and covariance I, as far as a batch can tell: what is drawn from a Gaussian lies where codes lie
- adversarial: a discriminator, asked about each label apart, takes layers decoded from drawn codes for layers that were read
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gan_explain.files.checkpoints import save_part
from gan_explain.labels import canonical, coarse
from gan_explain.lungs import COLUMNS, ROWS, LungFrame
from gan_explain.nets.generator import Disentangler
from gan_explain.nets.layers import LayerDiscriminator, unit_strength
from gan_explain.optics import opacity
from gan_explain.render.sheet import write_sheet
from gan_explain.train.distributed import is_main, rank, wrap
from gan_explain.train.gan.losses import discriminator_loss, generator_loss, pick, r1_penalty
from gan_explain.train.loop import Ema, cosine, run
from gan_explain.train.masks import Batches
from gan_explain.train.sampling import BalancedSampler
from gan_explain.train.training import Training
from gan_explain.train.update import descend
from gan_explain.types import DataError

FEWEST = 8  # layers that a label needs for a prior of its own


@dataclass(frozen=True, kw_only=True)
class LayersTraining(Training):
    """Codes of strength 1 are disturbed by noise of a standard deviation up to `disturbed`."""

    batch_size: Annotated[int, Field(ge=2, description="Layers of an update.")] = 48
    discriminator_rate: Annotated[float, Field(gt=0, description="Learning rate of the discriminator.")] = 1e-3
    disturbed: Annotated[float, Field(ge=0, description="Noise on the codes, at most.")] = 0.3
    again: Annotated[float, Field(ge=0, description="Weight of a layer that comes back.")] = 10.0
    edges: Annotated[float, Field(ge=0, description="Weight of its edges.")] = 10.0
    moments: Annotated[float, Field(ge=0, description="Weight of codes that are distributed as a Gaussian.")] = 0.1
    adversarial: Annotated[float, Field(ge=0, description="Weight of drawn layers that look real.")] = 0.3
    r1: Annotated[float, Field(ge=0, description="Weight of the discriminator's gradient penalty.")] = 1.0


class LayersObjective(nn.Module):
    """forward(maps, drawn, cells, disturbance) -> named losses, layers decoded from the drawn codes, codes of the maps.

    maps (N, 2, ROWS, COLUMNS) that were read; drawn (M, d) codes; cells (M,) their labels; disturbance (N, d)."""

    def __init__(self, autoencoder: nn.ModuleDict, judge: LayerDiscriminator, config: LayersTraining) -> None:
        super().__init__()
        self.autoencoder, self.config = autoencoder, config
        self._judge = (judge,)  # not a submodule: this objective does not train it

    def forward(
        self, maps: Tensor, drawn: Tensor, cells: Tensor, disturbance: Tensor
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        config = self.config
        codes = self.autoencoder["encoder"](maps)
        made = self.autoencoder["decoder"](torch.cat([unit_strength(codes + disturbance), drawn]))
        again, fake = made[: len(maps)], made[len(maps) :]
        a, b = torch.log1p(4 * again), torch.log1p(4 * maps)
        centred = codes - codes.mean(0)
        covariance = centred.T @ centred / len(codes)
        shape = codes.mean(0).square().mean() + (covariance - torch.eye(codes.shape[1]).to(codes)).square().mean()
        losses = {
            "again": config.again * F.l1_loss(a, b),
            "edges": config.edges * sum(F.l1_loss(a.diff(dim=d), b.diff(dim=d)) for d in (2, 3)),
            "moments": config.moments * shape,
            "adversarial": config.adversarial * generator_loss(pick(self._judge[0](fake), cells)),
        }
        return losses, fake.detach(), codes.detach()


class LayersTrainer:
    """Trains encoder and decoder of a `Disentangler` whose reader is trained. Fulfils train.loop.Trainer."""

    def __init__(self, maps: Tensor, labels: list[str], network: Disentangler, config: LayersTraining) -> None:
        known = network.config.labels
        if min((labels.count(name) for name in known), default=0) < FEWEST:
            few = next((name for name in known if labels.count(name) < FEWEST), "a label")
            raise DataError(f"expected at least {FEWEST} radiographs of {few} to learn layers from, got {labels.count(few)}")
        self.config, self.whole, self.device = config, network, torch.device(config.device)
        self.maps = maps.to(self.device)
        self.cells = torch.tensor([known.index(name) for name in labels])
        self.network = nn.ModuleDict({"encoder": network.encoder, "decoder": network.decoder}).to(self.device)
        self.judge = LayerDiscriminator(len(known), network.config.layer_width).to(self.device)
        self.objective = wrap(LayersObjective(self.network, self.judge, config), self.device)
        self.judging = wrap(self.judge, self.device)
        self.g_optimizer = torch.optim.Adam(self.network.parameters(), config.learning_rate, betas=(0.0, 0.99))
        self.d_optimizer = torch.optim.Adam(self.judge.parameters(), config.discriminator_rate, betas=(0.0, 0.99))
        self.sampler = BalancedSampler(labels, config.seed + 1000 * rank())
        self.ema = Ema(self.network, config.ema)
        self.codes = torch.zeros(len(maps), network.code_dim, device=self.device)  # as they were seen last

    def step(self, step: int) -> dict[str, Tensor]:
        config, random = self.config, self.sampler.generator
        if step == 0:
            with torch.no_grad():
                self.codes.copy_(self.network["encoder"](self.maps))
        places = torch.tensor(self.sampler.draw(config.batch_size))
        maps, cells = self.maps[places], self.cells[places]
        for optimizer, top in ((self.g_optimizer, config.learning_rate), (self.d_optimizer, config.discriminator_rate)):
            for group in optimizer.param_groups:
                group["lr"] = top * cosine(step, config.steps)
        # generator
        drawn = self._drawn(cells, random)
        noise = torch.randn(len(maps), self.codes.shape[1], generator=random)
        disturbance = config.disturbed * torch.rand(len(maps), 1, generator=random) * noise
        self.judge.requires_grad_(False)
        losses, fake, codes = self.objective(maps, drawn, cells.to(self.device), disturbance.to(self.device))
        descend("layers", self.network, self.g_optimizer, losses)
        self.judge.requires_grad_(True)
        self.codes[places.to(self.device)] = codes

        # discriminator
        real = maps.clone().requires_grad_(True)
        at = cells.to(self.device)
        true, false = pick(self.judging(real), at), pick(self.judging(fake), at)
        terms = {"judge": discriminator_loss(true, false), "r1": config.r1 * r1_penalty(true, real)}
        descend("judge", self.judge, self.d_optimizer, terms)
        self.ema.update(self.network, step)
        return {name: value.detach() for name, value in {**losses, **terms}.items()}

    def _drawn(self, cells: Tensor, random: torch.Generator) -> Tensor:
        """Codes drawn as those of each label are distributed now: (N,) -> (N, d)."""
        self._fit()
        noise = torch.randn(len(cells), self.codes.shape[1], generator=random).to(self.device)
        labels = self.whole.config.labels
        return torch.stack([self.whole.from_noise(z[None], labels[c])[0] for z, c in zip(noise, cells.tolist(), strict=True)])

    def _fit(self) -> None:
        for i, label in enumerate(self.whole.config.labels):
            self.whole.fit_prior(label, self.codes[(self.cells == i).to(self.device)])

    def state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "judge": self.judge.state_dict(),
            "g_optimizer": self.g_optimizer.state_dict(),
            "d_optimizer": self.d_optimizer.state_dict(),
            "ema": self.ema.shadow,
            "codes": self.codes,
            "sampler": self.sampler.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.judge.load_state_dict(state["judge"])
        self.g_optimizer.load_state_dict(state["g_optimizer"])
        self.d_optimizer.load_state_dict(state["d_optimizer"])
        self.ema.shadow = {k: v.to(self.device) for k, v in state["ema"].items()}
        self.codes.copy_(state["codes"])
        if is_main():  # the stream saved is the first process's; others keep their own
            self.sampler.restore(state["sampler"].cpu())

    def networks(self) -> Mapping[str, nn.Module]:
        return {"layers": self.network, "judge": self.judge}

    @torch.no_grad()
    def averaged(self) -> Disentangler:
        """The generator with averaged weights and the priors of their codes, in eval mode."""
        self.network.load_state_dict(self.ema.shadow)
        self.codes.copy_(torch.cat([self.network["encoder"](part) for part in self.maps.split(256)]))
        self._fit()
        return self.whole.eval()

    @torch.no_grad()
    def sheet(self, path: Path) -> None:
        """Layers that were read, the same from their codes, and drawn ones: both lungs side by side, for each label."""
        kept = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.network.load_state_dict(self.ema.shadow)
        random = torch.Generator().manual_seed(0)
        rows: list[list[Tensor]] = []
        for i, label in enumerate(self.whole.config.labels):
            some = self.maps[(self.cells == i).to(self.device)]
            some = some[:: max(1, len(some) // 8)][:8]
            drawn = self.network["decoder"](self.whole.prior(len(some), random, label).to(self.device))
            for maps in (some, self.network["decoder"](self.network["encoder"](some)), drawn):
                rows.append(list(opacity(side_by_side(maps)).cpu()))
        self.network.load_state_dict(kept)
        write_sheet(rows, path)


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
    trained = trainer.averaged().cpu()
    if is_main():
        described = network.config.model_dump(mode="json")
        save_part(out, "generator", "disentangler", described, trained.state_dict(), half=True, origin=origin)
    return trained
