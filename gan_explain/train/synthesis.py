"""Training the structure generator z1 -> S on negatives (and on positives healed by a disentangler, where one is given)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.checkpoints import save_part
from gan_explain.data import Dataset, coarse
from gan_explain.data.augment import Ranges, draw
from gan_explain.image import resize
from gan_explain.nets.discriminator import Discriminator, DiscriminatorConfig
from gan_explain.nets.synthesis import LOW, StructureGenerator, SynthesisConfig
from gan_explain.render.sheet import write_sheet
from gan_explain.train.adversarial import discriminator_loss, generator_loss, r1_penalty
from gan_explain.train.distributed import rank, wrap
from gan_explain.train.loop import Ema, LoopConfig, cosine, run
from gan_explain.types import DataError, Generator, Segmenter

AUGMENT = Ranges(rotate=4, scale=0.08, shift=0.06, gamma=0.15, contrast=0.15, blur=0, noise=0)


@dataclass(frozen=True)
class SynthesisTraining:
    steps: int = 3000
    batch_size: int = 16
    learning_rate: float = 8e-4  # of the generator
    judge_rate: float = 4e-4  # of the discriminator
    r1: float = 0.5  # weight of R1, applied every `r1_every` steps
    r1_every: int = 8
    low: float = 10.0  # weight of L1 at 32 px between G(code of x) and x
    high: float = 2.0  # weight of L1 at full resolution
    width: int = 32  # of the discriminator
    ema: float = 0.995
    seed: int = 0
    device: str = "cpu"
    amp: bool = False


class SynthesisObjective(nn.Module):
    """forward(real, z) -> named generator losses; half of z are codes of `real`, half are drawn from the prior.

    Reconstruction holds the coded half to their images; the adversary judges all.
    """

    def __init__(self, network: StructureGenerator, judge: nn.Module, config: SynthesisTraining) -> None:
        super().__init__()
        self.network, self.config = network, config
        self._judge = [judge]  # not a submodule: this objective does not train it

    def forward(self, real: Tensor, z: Tensor, seed: int) -> dict[str, Tensor]:
        raw = self.network.unclamped(z)
        fake = raw.clamp(0, 1)
        n = len(real)
        shown, _ = draw(len(fake), torch.Generator().manual_seed(seed), AUGMENT)(fake, torch.ones_like(fake))
        logits = self._judge[0](shown, torch.ones_like(shown))[:, 0]
        return {
            "adversarial": generator_loss(logits),
            "low": self.config.low * F.l1_loss(resize(fake[:n], LOW), resize(real, LOW)),
            "high": self.config.high * F.l1_loss(fake[:n], real),
            "range": 10 * (raw - fake).square().mean(),
        }


class SynthesisTrainer:
    """Trains on real (N, 1, H, W), held in memory."""

    def __init__(self, real: Tensor, network: SynthesisConfig, config: SynthesisTraining) -> None:
        if len(real) <= network.z_dim:
            raise DataError(f"expected more than {network.z_dim} negatives to train the structure generator, got {len(real)}")
        self.config, self.real = config, real
        self.device = torch.device(config.device)
        self.network = StructureGenerator(network)
        self.network.start_from(real)
        self.judge = Discriminator(DiscriminatorConfig(resolution=network.resolution, cells=1, width=config.width, fold=2))
        for module in (self.network, self.judge):
            module.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.objective = wrap(SynthesisObjective(self.network, self.judge, config), self.device, unused=True)
        self.judging = wrap(self.judge, self.device)
        self.g_optimizer = torch.optim.Adam(self.network.parameters(), config.learning_rate, betas=(0.5, 0.99))
        self.d_optimizer = torch.optim.Adam(self.judge.parameters(), config.judge_rate, betas=(0.5, 0.99))
        self.generator = torch.Generator().manual_seed(config.seed + 1000 * rank())
        self.ema = Ema(self.network, config.ema)

    def step(self, step: int) -> dict[str, Tensor]:
        config, n = self.config, self.config.batch_size // 2
        for optimizer, rate in ((self.g_optimizer, config.learning_rate), (self.d_optimizer, config.judge_rate)):
            for group in optimizer.param_groups:
                group["lr"] = rate * cosine(step, config.steps)
        index = torch.randint(len(self.real), (2 * n,), generator=self.generator)
        real = self.real[index].to(self.device)
        jitter = 0.3 * torch.randn(n, self.network.config.z_dim, generator=self.generator).to(self.device)
        prior = torch.randn(n, self.network.config.z_dim, generator=self.generator).to(self.device)
        codes = self.network.encode(real[:n])
        z = torch.cat([codes, torch.where(torch.arange(n, device=self.device)[:, None] % 4 == 0, codes + jitter, prior)])
        seed = int(torch.randint(2**31, (), generator=self.generator))

        # discriminator
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.amp):
            with torch.no_grad():
                fake = self.network(z)
            shown, _ = draw(2 * n, torch.Generator().manual_seed(seed + 1), AUGMENT)(real, torch.ones_like(real))
            false, _ = draw(2 * n, torch.Generator().manual_seed(seed + 2), AUGMENT)(fake, torch.ones_like(fake))
            shown.requires_grad_(step % config.r1_every == 0)
            both = torch.cat([shown, false])
            logits = self.judging(both, torch.ones_like(both))[:, 0].float()
        terms = {"discriminator": discriminator_loss(logits[: 2 * n], logits[2 * n :])}
        if shown.requires_grad:
            terms["r1"] = config.r1 * r1_penalty(logits[: 2 * n], shown)
        self.d_optimizer.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        self.d_optimizer.step()

        # generator
        self.judge.requires_grad_(False)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.amp):
            losses: dict[str, Tensor] = self.objective(real[:n], z, seed)
        self.g_optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        self.g_optimizer.step()
        self.judge.requires_grad_(True)
        self.ema.update(self.network, step)
        return {name: value.detach() for name, value in {**terms, **losses}.items()}

    def state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "judge": self.judge.state_dict(),
            "g_optimizer": self.g_optimizer.state_dict(),
            "d_optimizer": self.d_optimizer.state_dict(),
            "ema": self.ema.shadow,
            "generator": self.generator.get_state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.judge.load_state_dict(state["judge"])
        self.g_optimizer.load_state_dict(state["g_optimizer"])
        self.d_optimizer.load_state_dict(state["d_optimizer"])
        self.ema.shadow = {k: v.to(self.device) for k, v in state["ema"].items()}
        self.generator.set_state(state["generator"].cpu())

    def networks(self) -> Mapping[str, nn.Module]:
        return {"generator": self.network, "discriminator": self.judge}

    def averaged(self) -> StructureGenerator:
        """A copy of the generator with its EMA weights, in eval mode."""
        copy = StructureGenerator(self.network.config).to(self.device)
        copy.load_state_dict(self.ema.shadow)
        return copy.eval()

    @torch.no_grad()
    def sheet(self, path: Path) -> None:
        """Real negatives, their reconstructions, and two rows drawn from the prior."""
        network, real = self.averaged(), self.real[:8].to(self.device)
        z = torch.randn(16, network.config.z_dim, generator=torch.Generator().manual_seed(1)).to(self.device)
        drawn = network(z)
        rows = [real, network(network.encode(real)), drawn[:8], drawn[8:]]
        write_sheet([list(row.cpu()) for row in rows], path)


@torch.no_grad()
def structures(dataset: Dataset, generator: Generator | None = None, segmenter: Segmenter | None = None) -> Tensor:
    """Structure images to train on, (N, 1, H, W): the dataset's normals, and the others healed where a generator is given."""
    normal = dataset.where(lambda record: coarse(record.label) == "normal")
    parts = [normal.batch().images]
    if generator is not None and segmenter is not None:
        ill = dataset.where(lambda record: coarse(record.label) != "normal")
        for start in range(0, len(ill), 64):
            images = ill.batch(range(start, min(start + 64, len(ill)))).images
            parts.append(generator.remove(images, segmenter(images)).structure)
    return torch.cat(parts)


def train_synthesis(
    real: Tensor, out: Path, network: SynthesisConfig, config: SynthesisTraining, loop: LoopConfig, *, resume: bool = False
) -> None:
    """Train on real negatives (N, 1, H, W) and write the part "synthesis" of checkpoint `out`."""
    trainer = SynthesisTrainer(real, network, config)
    run(trainer, loop, out, resume=resume)
    save_part(out, "synthesis", "synthesis", network.model_dump(mode="json"), trainer.averaged().state_dict(), half=True)
