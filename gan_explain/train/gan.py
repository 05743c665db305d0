"""Training the disentangling generator against a frozen target.

Two objectives, each a module whose forward returns named losses: the generator's (`GeneratorObjective`) and the discriminator's
(`DiscriminatorObjective`). A batch holds as many negatives as positives. Negatives are their own structure; positives are healed
by the removal network and composed again from the code that the encoder reads. See nets/generator.py for the equations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.checkpoints import save_part
from gan_explain.data.augment import Augmentation, Ranges, draw
from gan_explain.data.labels import belongs, coarse
from gan_explain.image import feather
from gan_explain.nets.discriminator import Discriminator, DiscriminatorConfig
from gan_explain.nets.generator import Disentangler, GeneratorConfig, unit_strength
from gan_explain.optics import compose, opacity
from gan_explain.render.sheet import write_sheet
from gan_explain.train.adversarial import discriminator_loss, generator_loss, pick, r1_penalty
from gan_explain.train.distributed import any_rank, is_main, rank, wrap
from gan_explain.train.loop import Ema, LoopConfig, cosine, run
from gan_explain.train.masks import MaskedDataset
from gan_explain.train.sampling import BalancedSampler
from gan_explain.train.update import descend
from gan_explain.types import CheckpointError, DataError, Record, Target, TargetError

MIN_REALS = 40  # a cell with fewer real images judges nothing: the discriminator would know them by heart


@dataclass(frozen=True)
class GanTraining:
    """Schedule and loss weights; `ramp` steps bring in the terms under which doing nothing is an attractor."""

    steps: int = 6500
    batch_size: int = 16
    learning_rate: float = 1e-3
    ramp: int = 300
    target: float = 1.0  # cross-entropy of the frozen target: layered, healed, composed again
    margin: float = 2.0  # logit distance past p* that the target term asks for
    adversarial: float = 0.2
    reconstruction: float = 10.0
    thickness: float = 8.0
    cycle: float = 5.0
    recover: float = 16.0  # thickness of an added layer, found again; more of it points removal at the lesion
    fixed_point: float = 8.0
    code: float = 0.5
    spread: float = 2.0  # keeps the directions of the positives' codes from being one: their mean is held to that of random ones
    kl: float = 0.005
    sparsity: float = 0.3
    blackness: float = 20.0  # keeps healed lungs from going darker than the clearest part of the same lungs
    variation: float = 2.0
    residual: float = 2.0
    diversity: float = 2.0
    r1: float = 1.0
    r1_every: int = 8
    width: int = 32  # of the discriminator
    ema: float = 0.995
    seed: int = 0
    device: str = "cpu"
    amp: bool = False


@dataclass(frozen=True)
class Draws:
    """The random numbers of one generator step, drawn outside so that the objective is a deterministic function."""

    directions: Tensor  # (N, d) prior codes of unit strength
    others: Tensor  # (N, d) a second set, for diversity
    from_positives: Tensor  # (N,) bool: use the code of a positive of the batch instead
    strengths: Tensor  # (N, 1, 1, 1)
    foreign: Tensor  # (N,) bool: removal is shown random patches instead of the network's own layer
    patches: Tensor  # (N, 1, 7, 7) standard normal: what the patches are made of
    noise: Tensor  # (P, d) for the encoder's reparametrisation
    augmentation: Augmentation  # for the target's input: layered, healed and composed together


def draw_step(negatives: int, positives: int, code_dim: int, generator: torch.Generator) -> Draws:
    def normal(n: int) -> Tensor:
        return torch.randn(n, code_dim, generator=generator)

    weak = torch.rand(negatives, 1, 1, 1, generator=generator) < 0.3
    strengths = torch.where(weak, 0.2 + 1.3 * torch.rand(weak.shape, generator=generator), torch.ones(weak.shape))
    return Draws(
        unit_strength(normal(negatives)),
        unit_strength(normal(negatives)),
        torch.rand(negatives, generator=generator) < 0.5,
        strengths,
        torch.rand(negatives, generator=generator) < 0.35,
        torch.randn(negatives, 1, 7, 7, generator=generator),
        normal(positives),
        draw(negatives + 2 * positives, generator, Ranges(rotate=5, scale=0.06, shift=0.04, gamma=0.25, blur=1.0, noise=0.02)),
    )


class GeneratorObjective(nn.Module):
    """Every loss of the disentangler for one batch of negatives and positives."""

    def __init__(self, network: Disentangler, target: Target, judge: nn.Module, config: GanTraining) -> None:
        super().__init__()
        self.network, self.config = network, config
        self._frozen: tuple[Target, nn.Module] = (target, judge)  # not submodules: this objective does not train them
        p = target.operating_point
        self.threshold = torch.logit(torch.tensor(p)).item()

    def forward(
        self,
        negatives: Tensor,
        positives: Tensor,
        lungs_n: Tensor,
        lungs_p: Tensor,
        cells: Tensor,
        judged: Tensor,
        draws: Draws,
        ramp: float,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Images and masks (N|P, 1, H, W); cells (N+P,): where layered negatives and healed positives are judged; judged (N+P,).

        Returns the losses and the fakes (N+P, 1, H, W), detached.
        """
        network, config = self.network, self.config
        n, p = len(negatives), len(positives)
        both, masks = torch.cat([negatives, positives]), torch.cat([lungs_n, lungs_p])
        inside = feather(masks) if network.confine == "lungs" else torch.ones_like(masks)
        inside_n, inside_p = inside[:n], inside[n:]

        # take off and read
        removal, mean, log_variance, residual = network.remove_and_read(both, masks)
        healed = removal.structure[n:]
        code = mean[n:] + draws.noise.to(mean) * (0.5 * log_variance[n:]).exp()

        # add: positives again from their own code, negatives with prior codes or those of the batch's positives
        borrowed = unit_strength(mean[n:].detach())[torch.arange(n, device=mean.device) % p]
        u = torch.where(draws.from_positives.to(mean.device)[:, None], borrowed, draws.directions.to(mean))
        structures = torch.cat([healed, negatives, negatives])
        thickness = network.layer(structures, torch.cat([code, u, draws.others.to(mean)]), torch.cat([lungs_p, lungs_n, lungs_n]))
        tau_p, tau_n, tau_other = thickness.split([p, n, n])
        strengths = draws.strengths.to(mean)
        composed, layered = compose(healed, tau_p), compose(negatives, tau_n, strengths)

        # taking the added layer off again; for some negatives a layer of random smooth patches, so that removal knows others too
        foreign = draws.foreign.to(mean.device)
        patches = smooth_patches(draws.patches.to(negatives), negatives.shape[-1]) * inside_n
        laid = torch.where(foreign[:, None, None, None], patches, strengths * tau_n)
        again, mean_again, _, residual_again = network.remove_and_read(compose(negatives, laid), lungs_n)
        own, far = (~foreign).float(), (mean_again - strengths[:, :, 0, 0] * u).square().mean(1)

        # the target, on images augmented as in its own training
        target, judge = self._frozen
        fakes = torch.cat([layered, healed])
        shown, shown_masks = draws.augmentation(torch.cat([fakes, composed]), torch.cat([masks, lungs_p]))
        evidence = self.evidence(target, shown, shown_masks if target.uses_lungs else None)  # (N+2P,)
        full = (strengths[:, 0, 0, 0] >= 1).float()

        def share(values: Tensor, weight: Tensor) -> Tensor:
            return (values * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3)).clamp(min=1)

        floor = torch.minimum(positives, darkest(positives, lungs_p))
        layers = torch.cat([tau_n, removal.tau[n:]])
        losses = {
            "to_positive": config.target * (F.softplus(config.margin - evidence[:n]) * full).sum() / full.sum().clamp(min=1),
            "to_negative": config.target * F.softplus(config.margin + evidence[n : n + p]).mean(),
            "stay_positive": config.target * 0.5 * F.softplus(0.5 * config.margin - evidence[n + p :]).mean(),
            "adversarial": config.adversarial * generator_loss(pick(judge(fakes, masks), cells), judged),
            "reconstruction": ramp * config.reconstruction * share((composed - positives).abs(), inside_p).mean(),
            "thickness": ramp * config.thickness * share((tau_p - removal.tau[n:].detach()).abs(), inside_p).mean(),
            "cycle": ramp * config.cycle * share((again.structure - negatives).abs(), inside_n).mean(),
            "recover": ramp * config.recover * share((again.tau - laid.detach()).abs(), inside_n).mean(),
            "fixed_point": ramp * config.fixed_point * share(removal.tau[:n].abs() + residual[:n].abs(), inside_n).mean(),
            "code": config.code * (far * own).sum() / own.sum().clamp(min=1),
            "spread": config.spread * F.relu(unit_strength(mean[n:]).mean(0).square().mean() - 1 / p),
            "kl": config.kl * 0.5 * (mean[n:].square() + log_variance[n:].exp() - log_variance[n:] - 1).mean(0).sum(),
            "sparsity": config.sparsity * share(cost(layers), inside).mean(),
            "blackness": config.blackness * share(F.relu(floor - healed), inside_p).mean(),
            "variation": config.variation * variation(layers).mean(),
            "residual": ramp
            * config.residual
            * (share(residual[n:].abs(), inside_p) + share(residual_again.abs(), inside_n)).mean(),
            "diversity": config.diversity * likeness(tau_n, tau_other, inside_n, u, draws.others.to(mean)).mean(),
        }
        return losses, fakes.detach()

    def evidence(self, target: Target, images: Tensor, lungs: Tensor | None) -> Tensor:
        """Logit of p(positive set) relative to the operating point: (N, 1, H, W) -> (N,)."""
        logits = target.logits(images, lungs).float()
        chosen = torch.tensor([name in target.positive for name in target.classes], device=logits.device)
        return torch.logsumexp(logits[:, chosen], 1) - torch.logsumexp(logits[:, ~chosen], 1) - self.threshold


def smooth_patches(noise: Tensor, size: int) -> Tensor:
    """Standard normal (N, 1, k, k) -> layers (N, 1, size, size), tau >= 0: what of the enlarged noise is above 0.8."""
    field = F.interpolate(noise, (size, size), mode="bicubic", align_corners=False)
    return 0.5 * F.relu(field - 0.8)


@torch.no_grad()
def darkest(images: Tensor, lungs: Tensor, quantile: float = 0.1) -> Tensor:
    """How dark the clearest tenth of each image's own lungs is: (N, 1, H, W) x 2 -> (N, 1, 1, 1); 0 where there are no lungs."""
    inside = torch.where(lungs > 0.5, images, torch.nan).flatten(1)
    return torch.nanquantile(inside.float(), quantile, dim=1).nan_to_num(0.0)[:, None, None, None]


def cost(tau: Tensor) -> Tensor:
    """What a layer costs a pixel, |tau| + 3 tau^2: dense spots cost more than wide haze."""
    return tau.abs() + 3 * tau.square()


def variation(tau: Tensor) -> Tensor:
    """Total variation of a layer a pixel, scaled to be independent of resolution: (N, 1, H, W) -> (N,)."""
    vertical, horizontal = tau.diff(dim=2).abs(), tau.diff(dim=3).abs()
    return (vertical.mean((1, 2, 3)) + horizontal.mean((1, 2, 3))) * tau.shape[-1] / 128


def likeness(a: Tensor, b: Tensor, inside: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """How much more alike two layers of one structure are than their codes: squared excess of the correlation of their opacities
    inside the lungs over the cosine of the codes. (N, 1, H, W) x 3, (N, d) x 2 -> (N,)."""

    def standard(tau: Tensor) -> Tensor:
        alpha = opacity(tau)
        mean = (alpha * inside).sum((1, 2, 3), keepdim=True) / inside.sum((1, 2, 3), keepdim=True).clamp(min=1)
        centred = (alpha - mean) * inside
        return centred / centred.square().sum((1, 2, 3), keepdim=True).add(1e-6).sqrt()

    correlation = (standard(a) * standard(b)).sum((1, 2, 3))
    return F.relu(correlation - F.cosine_similarity(u, v).clamp(min=0)).square()


class DiscriminatorObjective(nn.Module):
    """Real against fake, each in its own cell; R1 on the reals every `r1_every` steps."""

    def __init__(self, network: Discriminator, config: GanTraining) -> None:
        super().__init__()
        self.network, self.config = network, config

    def forward(
        self,
        real: Tensor,
        real_masks: Tensor,
        real_cells: Tensor,
        fake: Tensor,
        fake_masks: Tensor,
        fake_cells: Tensor,
        penalise: bool,
    ) -> dict[str, Tensor]:
        real = real.detach().requires_grad_(penalise)
        logits = self.network(torch.cat([real, fake]), torch.cat([real_masks, fake_masks])).float()
        logits = pick(logits, torch.cat([real_cells, fake_cells]))
        terms = {"discriminator": discriminator_loss(logits[: len(real)], logits[len(real) :])}
        if penalise:
            terms["r1"] = self.config.r1 * r1_penalty(logits[: len(real)], real)
        return terms


class Cells:
    """Cells of (source, side of the target's positive set), from a dataset's records."""

    def __init__(self, records: tuple[Record, ...], is_positive: Callable[[Record], bool]) -> None:
        keys = [(r.source, is_positive(r)) for r in records]
        self.names = sorted(set(keys))
        self.of = torch.tensor([self.names.index(key) for key in keys])
        counts = torch.bincount(self.of, minlength=len(self.names))
        opposite = [self.names.index((s, not p)) if (s, not p) in self.names else -1 for s, p in self.names]
        self.opposite = torch.tensor(opposite)[self.of]  # where an image goes when its side is changed; -1: nowhere
        self.judged = (self.opposite >= 0) & (counts[self.opposite.clamp(min=0)] >= MIN_REALS)


class GanTrainer:
    """Alternates one discriminator and one generator step on balanced halves of negatives and positives.

    `start` is a generator to go on from, trained for another target; the discriminator begins anew. `origin` is what the
    checkpoint will say of the generator's making.
    """

    def __init__(
        self,
        dataset: MaskedDataset,
        target: Target,
        network: GeneratorConfig,
        config: GanTraining,
        *,
        start: Disentangler | None = None,
        origin: Mapping[str, Any] | None = None,
    ) -> None:
        if not target.differentiable:
            raise TargetError("training a generator needs a target with gradients; this one only runs forward")

        def is_positive(record: Record) -> bool:
            return belongs(record.label, target.positive)

        side = [is_positive(r) for r in dataset.records]
        if all(side) or not any(side):
            names = "+".join(target.positive)
            raise DataError(f"expected negatives and positives ({names}) in the training split, got one side only")
        self.dataset, self.config = dataset, config
        self.device = torch.device(config.device)
        self.negative = [i for i, positive in enumerate(side) if not positive]
        self.positive = [i for i, positive in enumerate(side) if positive]
        self.cells = Cells(dataset.records, is_positive)
        self.network = Disentangler(network)
        if start is not None:
            adopt(self.network, start)
        self.origin = dict(origin or {})
        self.judge = Discriminator(
            DiscriminatorConfig(resolution=network.resolution, cells=len(self.cells.names), width=config.width)
        )
        for module in (self.network, self.judge):
            module.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.adding = wrap(GeneratorObjective(self.network, target, self.judge, config), self.device)
        self.judging = wrap(DiscriminatorObjective(self.judge, config), self.device)
        self.g_optimizer = torch.optim.Adam(self.network.parameters(), config.learning_rate, betas=(0.5, 0.99))
        self.d_optimizer = torch.optim.Adam(self.judge.parameters(), config.learning_rate, betas=(0.5, 0.99))
        keys = [f"{r.source}/{coarse(r.label)}" for r in dataset.records]
        seed = config.seed + 1000 * rank()
        self.samplers = [
            BalancedSampler([keys[i] for i in self.negative], seed, floor=100),
            BalancedSampler([keys[i] for i in self.positive], seed + 1, floor=100),
        ]
        self.generator = torch.Generator().manual_seed(seed + 2)
        self.ema = Ema(self.network, config.ema)

    def step(self, step: int) -> dict[str, Tensor]:
        config, device, half = self.config, self.device, self.config.batch_size // 2
        for optimizer in (self.g_optimizer, self.d_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * cosine(step, config.steps)
        index = [self.negative[i] for i in self.samplers[0].draw(half)] + [self.positive[i] for i in self.samplers[1].draw(half)]
        batch = self.dataset.batch(index)
        small = Ranges(rotate=4, scale=0.05, shift=0.03, gamma=0.15, contrast=0.1, blur=0, noise=0)
        images, masks = draw(len(index), self.generator, small)(batch.images, batch.lungs)
        images, masks = images.to(device), masks.to(device)
        cells, judged = self.cells.opposite[index].clamp(min=0).to(device), self.cells.judged[index].float().to(device)
        draws = draw_step(half, half, self.network.code_dim, self.generator)
        amp = torch.autocast(device.type, torch.bfloat16, enabled=config.amp)

        # generator
        self.judge.requires_grad_(False)
        with amp:
            ramp = min(1.0, step / max(config.ramp, 1))
            losses, fakes = self.adding(images[:half], images[half:], masks[:half], masks[half:], cells, judged, draws, ramp)
        descend("generator", self.network, self.g_optimizer, losses, clip=5.0)
        self.judge.requires_grad_(True)

        # discriminator: fakes that are judged, against the same images in their own cells
        kept = judged.bool()
        with amp:
            terms: dict[str, Tensor] = self.judging(
                images, masks, self.cells.of[index].to(device), fakes[kept], masks[kept], cells[kept], step % config.r1_every == 0
            ) if any_rank(bool(kept.any())) else {}  # fmt: skip
        if terms:
            descend("discriminator", self.judge, self.d_optimizer, terms)
        self.ema.update(self.network, step)
        return {name: value.detach() for name, value in {**losses, **terms}.items()}

    def state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "judge": self.judge.state_dict(),
            "g_optimizer": self.g_optimizer.state_dict(),
            "d_optimizer": self.d_optimizer.state_dict(),
            "ema": self.ema.shadow,
            "samplers": [sampler.state() for sampler in self.samplers],
            "generator": self.generator.get_state(),
            "origin": self.origin,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.judge.load_state_dict(state["judge"])
        self.g_optimizer.load_state_dict(state["g_optimizer"])
        self.d_optimizer.load_state_dict(state["d_optimizer"])
        self.ema.shadow = {k: v.to(self.device) for k, v in state["ema"].items()}
        self.origin = {**state.get("origin", {}), **self.origin}
        if is_main():  # the streams saved are the first process's; others keep their own
            for sampler, value in zip(self.samplers, state["samplers"], strict=True):
                sampler.restore(value.cpu())
            self.generator.set_state(state["generator"].cpu())

    def networks(self) -> Mapping[str, nn.Module]:
        return {"generator": self.network, "discriminator": self.judge}

    @torch.no_grad()
    def averaged(self) -> Disentangler:
        """A copy of the generator with its EMA weights and the code priors of the training images, in eval mode."""
        copy = Disentangler(self.network.config).to(self.device)
        copy.load_state_dict(self.ema.shadow)
        copy.eval()
        for label in copy.config.labels:
            index = [i for i, r in enumerate(self.dataset.records) if label in (r.label, coarse(r.label))]
            if len(index) < 2:
                continue
            codes = []
            for start in range(0, len(index), 64):
                batch = self.dataset.batch(index[start : start + 64])
                codes.append(copy.encode(batch.images.to(self.device), batch.lungs.to(self.device)))
            copy.fit_prior(label, torch.cat(codes))
        return copy

    @torch.no_grad()
    def sheet(self, path: Path) -> None:
        """Negatives, the same layered at 1 and 1.5 and the layer; positives, healed, their layer removed, and composed again."""
        network = self.averaged()
        generator = torch.Generator().manual_seed(0)
        count = min(8, len(self.negative), len(self.positive))
        every_n, every_p = len(self.negative) // count, len(self.positive) // count
        batch = self.dataset.batch(self.negative[::every_n][:count] + self.positive[::every_p][:count])
        images, masks = batch.images.to(self.device), batch.lungs.to(self.device)
        n, p, mask_n, mask_p = images[:count], images[count:], masks[:count], masks[count:]
        tau = network.layer(n, network.prior(count, generator, network.config.labels[0]), mask_n)
        removal, mean, _, _ = network.remove_and_read(p, mask_p)
        tau_p = network.layer(removal.structure, mean, mask_p)
        rows = [n, compose(n, tau), compose(n, tau, 1.5), opacity(tau).abs(), p, removal.structure, opacity(removal.tau).abs()]
        rows += [compose(removal.structure, tau_p), opacity(tau_p).abs()]
        write_sheet([list(row.cpu()) for row in rows], path)


def adopt(network: Disentangler, start: Disentangler) -> None:
    """Take over the weights of a generator of the same shape, and the code priors of the labels that both know.

    Raises CheckpointError where they differ in anything but their labels.
    """
    if network.config.model_copy(update={"labels": start.config.labels}) != start.config:
        mine, other = network.config.model_dump(), start.config.model_dump()
        differ = [f"{key} {other[key]}" for key in mine if key != "labels" and mine[key] != other[key]]
        raise CheckpointError(f"expected a generator of the same shape to start from, got one of {', '.join(differ)}")
    fresh = {name: getattr(network, name).clone() for name in ("prior_mean", "prior_factor")}
    state = {key: value for key, value in start.state_dict().items() if key not in fresh}
    for name, prior in fresh.items():
        for i, label in enumerate(network.config.labels):
            if label in start.config.labels:
                prior[i] = getattr(start, name)[start.config.labels.index(label)]
    network.load_state_dict({**state, **fresh})


def train_gan(
    dataset: MaskedDataset,
    target: Target,
    out: Path,
    network: GeneratorConfig,
    config: GanTraining,
    loop: LoopConfig,
    *,
    resume: bool = False,
    start: Disentangler | None = None,
    origin: Mapping[str, Any] | None = None,
) -> Disentangler:
    """Train a generator for `target`, from scratch or from `start`, and write the part named by `network.confine` of checkpoint
    `out`; `origin` is stored with it."""
    trainer = GanTrainer(dataset, target, network, config, start=start, origin=origin)
    run(trainer, loop, out, resume=resume)
    trained = trainer.averaged().cpu()
    if is_main():
        described = network.model_dump(mode="json")
        save_part(out, network.confine, "disentangler", described, trained.state_dict(), half=True, origin=trainer.origin)
    return trained
