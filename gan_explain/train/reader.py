"""Training the reader: rendered disease, additivity on every radiograph, and the order within a source. No CNN is asked.

Terms, each a mean over the lungs of the distance of two layers on a logarithmic scale (`_distance`), but the last:
- rendered: over a healthy radiograph a known layer is laid; that layer is read
- additive: over a diseased one, too; what is read grows by it
- healed: part of what was read is taken off; what is read then is the rest (all taken off: nothing)
- clear: nothing is read on healthy radiographs
- order: within one source, where disease and scanner are not the same thing, the load of a diseased radiograph, in the outer
  parts of the lungs, lies above that of a healthy one (a logistic loss over pairs; Burges et al., "Learning to Rank using
  Gradient Descent", ICML 2005)
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gan_explain.data.opacities import Opacities, draw_opacities, draw_tones, move, textured
from gan_explain.labels import NORMAL, canonical
from gan_explain.lungs import enlarge, lung_coordinates, shrink
from gan_explain.nets.generator import Disentangler, removable
from gan_explain.nets.reader import PretrainedEncoder, Reader
from gan_explain.optics import compose, opacity, take_off
from gan_explain.train.loop import run
from gan_explain.train.masks import Batches
from gan_explain.train.sampling import BalancedSampler
from gan_explain.train.schedule import Freezing
from gan_explain.train.trainer import Objective, OneNetworkTrainer, save_network
from gan_explain.train.training import Decay, Training
from gan_explain.types import DataError

MARGIN, SCALE = 0.1, 0.05  # of the order of loads, in thickness
INNER = (0.6, 1.1)  # where the outer parts of the lungs begin, and begin to count in full
BEND = 8.0  # weight of squares in the distance of layers
SCARCE = 60  # images below which a cell (source, healthy or not) is drawn less often


@dataclass(frozen=True, kw_only=True)
class ReaderTraining(Training):
    """`tuned` levels of a pretrained contracting half, the deepest, learn too, after the share `frozen` of the steps."""

    batch_size: Annotated[int, Field(ge=2, description="Radiographs of an update.")] = 12
    encoder_rate: Annotated[float, Field(ge=0, description="Learning rate of a pretrained encoder; 0: it stays frozen.")] = 1e-4
    tuned: Annotated[int, Field(ge=0, description="Levels of a pretrained encoder that learn, the deepest first.")] = 2
    frozen: Annotated[float, Field(ge=0, le=1, description="Share of the steps before they learn.")] = 0.6
    weight_decay: Decay = 1e-4
    rendered: Annotated[float, Field(ge=0, description="Weight of reading what was laid on a healthy radiograph.")] = 1.0
    additive: Annotated[float, Field(ge=0, description="Weight of reading more by what was laid on a diseased one.")] = 1.0
    healed: Annotated[float, Field(ge=0, description="Weight of reading less by what was taken off.")] = 1.0
    clear: Annotated[float, Field(ge=0, description="Weight of reading nothing on healthy radiographs.")] = 0.1
    order: Annotated[float, Field(ge=0, description="Weight of reading more on diseased than on healthy ones of a source.")] = 0.2
    opacities: Opacities = field(default_factory=Opacities)


class ReaderObjective(Objective):
    """forward(images, lungs, tau, fine, healthy, source, share) -> named losses.

    images, lungs (N, 1, R, R); tau (N, 1, g, g) the layer laid on each, fine (N, 1, R, R) the same with its texture; healthy (N,)
    bool; source (N,) numbers; share (N, 1, 1, 1) of what is read that is taken off."""

    network: Reader
    config: ReaderTraining

    def forward(
        self, images: Tensor, lungs: Tensor, tau: Tensor, fine: Tensor, healthy: Tensor, source: Tensor, share: Tensor
    ) -> dict[str, Tensor]:
        config, grid, size = self.config, self.network.grid, (images.shape[-2], images.shape[-1])
        inside = shrink(lungs, grid)
        first = self.network(images, lungs).float()  # (N, 1, g, g)
        there = removable(enlarge(first, size), images, lungs)  # (N, 1, R, R): what can lie on the image
        known, ill = shrink(there.detach(), grid), ~healthy
        off = share[ill] * there[ill].detach()
        shown = torch.cat([compose(images, fine), take_off(images[ill], off)])
        second, third = self.network(shown, torch.cat([lungs, lungs[ill]])).float().split([len(images), len(off)])
        left = (known[ill] - shrink(off, grid)).clamp(min=0)
        return {
            "rendered": config.rendered * _distance(second, tau, inside, healthy),
            "additive": config.additive * _distance(second, known + tau, inside, ill),
            "healed": config.healed * _distance(third, left, inside[ill], ill[ill]),
            "clear": config.clear * _distance(first, torch.zeros_like(first), inside, healthy),
            "order": config.order * order_loss(load(shrink(there, grid), inside * outer(lungs, grid)), healthy, source),
        }


def load(tau: Tensor, inside: Tensor) -> Tensor:
    """Mean thickness over the lungs: (N, 1, g, g) each -> (N,)."""
    return (tau * inside).sum((1, 2, 3)) / inside.sum((1, 2, 3)).clamp(min=1)


def outer(lungs: Tensor, size: int) -> Tensor:
    """1 in the outer parts of the lungs, 0 in the inner ones, which the heart lies over: (N, 1, H, W) -> (N, 1, size, size)."""
    across = lung_coordinates(lungs, size)[:, 1:].abs()  # in standard deviations from the middle of both lungs
    return ((across - INNER[0]) / (INNER[1] - INNER[0])).clamp(0, 1)


def order_loss(loads: Tensor, healthy: Tensor, source: Tensor) -> Tensor:
    """Logistic loss over pairs of a diseased and a healthy radiograph of one source, sources counting the same where they have
    pairs: loads (N,) -> scalar; 0 without pairs."""
    pairs = (~healthy)[:, None] & healthy[None] & (source[:, None] == source[None])
    loss = F.softplus((MARGIN - (loads[:, None] - loads[None])) / SCALE) * pairs
    each = torch.stack([loss[source == s].sum() / pairs[source == s].sum().clamp(min=1) for s in source.unique()])
    count = sum(int(pairs[source == s].any()) for s in source.unique())
    return each.sum() / max(count, 1)


def _distance(a: Tensor, b: Tensor, inside: Tensor, chosen: Tensor) -> Tensor:
    """Mean over the lungs, and over the chosen (N,), of BEND g^2 + g / 4, g = |log(1 + 4a) - log(1 + 4b)| / 4: mostly squares, so
    that what is unsure is read as thick as it is on average, not as what is most common, nothing."""
    gap = (torch.log1p(4 * a) - torch.log1p(4 * b)).abs() / 4
    each = ((BEND * gap.square() + gap / 4) * inside).sum((1, 2, 3)) / inside.sum((1, 2, 3)).clamp(min=1)
    return (each * chosen).sum() / chosen.sum().clamp(min=1)


class ReaderTrainer(OneNetworkTrainer):
    """Trains the reader of a `Disentangler` on radiographs and the segmenter's masks."""

    config: ReaderTraining
    network: Reader
    clip = 1.0

    def __init__(self, dataset: Batches, whole: Disentangler, config: ReaderTraining) -> None:
        healthy = [canonical(record.label) == NORMAL for record in dataset.records]
        if not any(healthy):
            raise DataError("expected radiographs labelled normal to lay rendered disease on, got none")
        self.dataset, self.whole = dataset, whole
        learning, tuned = self._groups(whole.reader, config)
        freezing = Freezing(tuned, [], math.ceil(config.frozen * config.steps))
        super().__init__(config, "reader", ReaderObjective(whole.reader, config), freezing)
        groups = [{"params": learning, "lr": config.learning_rate}]
        groups += [{"params": tuned, "lr": config.encoder_rate}] if tuned else []
        self.optimize("reader", torch.optim.AdamW(groups, config.learning_rate, weight_decay=config.weight_decay))
        self.sources = sorted({record.source for record in dataset.records})
        keys = [f"{record.source} {yes}" for record, yes in zip(dataset.records, healthy, strict=True)]
        self.sampler = BalancedSampler(keys, self.stream("sampler"), floor=SCARCE)

    @staticmethod
    def _groups(reader: Reader, config: ReaderTraining) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Parameters that learn from the start, and the deepest pretrained levels, which join in later."""
        if not isinstance(reader.encoder, PretrainedEncoder):
            return list(reader.parameters()), []
        reader.encoder.requires_grad_(False)
        learning = [p for p in reader.parameters() if p.requires_grad]
        if not config.encoder_rate or not config.tuned:
            return learning, []
        return learning, list(reader.encoder.levels[-config.tuned :].requires_grad_(True).parameters())

    def draw(self) -> tuple[Tensor, ...]:
        """As `ReaderObjective` takes it."""
        config, grid = self.config, self.network.grid
        batch = self.dataset.batch(self.sampler.draw(config.batch_size))
        seed = int(torch.randint(2**31, (), generator=self.sampler.generator))
        random = torch.Generator(self.device).manual_seed(seed)
        images, lungs = move(batch.images.to(self.device), batch.lungs.to(self.device), random)
        images = draw_tones(images, random)
        tau = draw_opacities(lungs, grid, random, config.opacities)
        fine = textured(tau, (images.shape[-2], images.shape[-1]), random, config.opacities)
        share = torch.rand((len(images), 1, 1, 1), generator=random, device=self.device)
        share = torch.where(share < 0.5, torch.ones_like(share), 2 * (share - 0.5))
        healthy = torch.tensor([canonical(label) == NORMAL for label in batch.labels], device=self.device)
        source = torch.tensor([self.sources.index(name) for name in batch.sources], device=self.device)
        return images, lungs, tau, fine, healthy, source, share

    def averaged(self) -> Disentangler:
        """A copy of the generator with the reader's averaged weights, in eval mode."""
        whole = copy.deepcopy(self.whole)
        whole.reader = self.copy_of(self.network)
        return whole.eval()

    def samples(self) -> dict[str, Tensor]:
        """Radiographs of every source and kind, what is read on them, and the structure under it."""
        batch = self.dataset.batch([int(cell[len(cell) // 2]) for cell in self.sampler.cells])
        images, lungs = batch.images.to(self.device), batch.lungs.to(self.device)
        tau = self.averaged().to(self.device).read(images, lungs)
        return {"radiographs": images, "what is read": opacity(tau), "structure under it": take_off(images, tau)}


def train_reader(
    dataset: Batches,
    out: Path,
    network: Disentangler,
    config: ReaderTraining,
    *,
    resume: bool = False,
    origin: Mapping[str, Any] | None = None,
) -> Disentangler:
    """Train the reader of `network` and write the part "generator" of checkpoint `out`; states and sheets are in `out`/reader.

    `dataset` has the training images at the network's resolution, with the segmenter's masks. Raises DataError without healthy
    radiographs.
    """
    trainer = ReaderTrainer(dataset, network, config)
    run(trainer, config, out / "reader", resume=resume)
    return save_network(trainer.averaged().cpu(), out, "generator", "disentangler", origin)
