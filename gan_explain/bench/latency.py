"""How long a transition takes: one layer and its frames, against encoding by optimisation (medXGAN) in the same run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from gan_explain.latent.encode import optimise
from gan_explain.latent.pathology import prior_code
from gan_explain.latent.traverse import traverse
from gan_explain.nets.synthesis import StructureGenerator
from gan_explain.types import Generator, Target

FRAMES = 33
STEPS = 1000  # of Adam, as in medXGAN


@dataclass(frozen=True)
class Latency:
    """Seconds: transition (median over `repeats`) is code, layer, frames and the target's response to all; optimisation is
    `steps_run` Adam steps on (z1, z2). `speedup` compares with 1000 of them, in proportion where fewer ran (`extrapolated`)."""

    transition: float
    fastest: float
    slowest: float
    repeats: int
    frames: int
    optimisation: float
    steps_run: int
    speedup: float
    extrapolated: bool
    resolution: int
    device: str
    threads: int

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def latency(
    generator: Generator,
    synthesis: StructureGenerator,
    target: Target,
    image: Tensor,
    lungs: Tensor,
    repeats: int = 7,
    optimise_steps: int = STEPS,
) -> Latency:
    """Time both ways on one image (1, 1, H, W) in [0, 1] and its lungs, all on one device, after one run to warm up."""
    strengths = torch.linspace(0, 1.5, FRAMES)

    def transition() -> None:
        traverse(generator, target, image, prior_code(generator, 0).to(image), lungs, strengths)

    _timed(transition, image.device)
    times = [_timed(transition, image.device) for _ in range(repeats)]
    optimise(synthesis, generator, image, lungs, steps=1)
    slow = _timed(lambda: optimise(synthesis, generator, image, lungs, steps=optimise_steps), image.device)
    median = statistics.median(times)
    return Latency(
        transition=median, fastest=min(times), slowest=max(times), repeats=repeats, frames=FRAMES, optimisation=slow,
        steps_run=optimise_steps, speedup=slow * STEPS / optimise_steps / median, extrapolated=optimise_steps != STEPS,
        resolution=image.shape[-1], device=str(image.device), threads=torch.get_num_threads(),
    )  # fmt: skip


def _timed(work: Callable[[], object], device: torch.device) -> float:
    _finish(device)
    start = time.perf_counter()
    work()
    _finish(device)
    return time.perf_counter() - start


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
