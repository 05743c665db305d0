"""How long a transition takes, in one run: reading, a layer and its frames, against two ways of the field.

medXGAN (Dravid et al., CVPRW 2022, arXiv 2204.05376) encodes a radiograph by 1000 Adam steps on (z1, z2). LatentShift (Cohen et
al., Gifsplanation, MIDL 2021, arXiv 2102.09475) encodes it by an autoencoder, follows the classifier's gradient in the latent
space and decodes a frame at each step. Of both the time is measured, not the result: the weights of the second are random, and
its search for the range of steps is left out.
"""

from __future__ import annotations

import importlib
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gan_explain import render
from gan_explain.bench.given import Given, Outcome
from gan_explain.counterfactual import Radiograph, traverse
from gan_explain.counterfactual.optimise import optimise
from gan_explain.counterfactual.synthetic import StructureNetwork
from gan_explain.files.checkpoints import config_of
from gan_explain.nets.load import load_structure
from gan_explain.nets.structure import StructureConfig, StructureGenerator
from gan_explain.types import Generator, Target

FRAMES = 33
FULL = (2500, 2048)  # rows and columns of a radiograph as it comes
STEPS = 1000  # of Adam, as in medXGAN
SHIFT_FRAMES, SHIFT_SIDE = 20, 224  # of LatentShift


@dataclass(frozen=True)
class Options:
    """`steps`: of Adam, that are really run; `full`: 2500 x 2048 pixels too."""

    repeats: Annotated[int, Field(ge=1)] = 7
    steps: Annotated[int, Field(ge=1)] = STEPS
    full: bool = False


@dataclass(frozen=True)
class Latency:
    """Seconds. transition (median over `repeats`): reading, layer, frames and the target's response to all. optimisation:
    `steps_run` Adam steps on (z1, z2), of which 1000 are asked (in proportion where fewer ran: `extrapolated`); latent_shift: the
    work of LatentShift, None without torchxrayvision. speedup, speedup_latent_shift: these over the transition's median."""

    transition: float
    fastest: float
    slowest: float
    repeats: int
    frames: int
    optimisation: float
    steps_run: int
    speedup: float
    extrapolated: bool
    latent_shift: float | None
    speedup_latent_shift: float | None
    resolution: int
    device: str
    threads: int


def latency(
    generator: Generator,
    structures: StructureNetwork,
    target: Target,
    radiograph: Radiograph,
    *,
    repeats: int = 7,
    optimise_steps: int = STEPS,
    shift: bool = True,
) -> Latency:
    """Time all ways on one radiograph whose size is that of `structures`, all on one device, each after one run to warm up."""
    device = radiograph.image.device

    def transition() -> None:
        traverse(generator, target, radiograph, pathology="prior", strengths=FRAMES)

    transition()
    times = [timed(transition, device) for _ in range(repeats)]
    image, lungs = radiograph.image, radiograph.lungs
    optimise(structures, generator, image, lungs, steps=1)
    slow = timed(lambda: optimise(structures, generator, image, lungs, steps=optimise_steps), device)
    median = statistics.median(times)
    shifted = latent_shift_seconds(device, repeats) if shift else None
    return Latency(
        transition=median, fastest=min(times), slowest=max(times), repeats=repeats, frames=FRAMES, optimisation=slow,
        steps_run=optimise_steps, speedup=slow * STEPS / optimise_steps / median, extrapolated=optimise_steps != STEPS,
        latent_shift=shifted, speedup_latent_shift=None if shifted is None else shifted / median,
        resolution=image.shape[-1], device=str(device), threads=torch.get_num_threads(),
    )  # fmt: skip


def full_size(generator: Generator, target: Target, radiograph: Radiograph, folder: Path) -> tuple[float, float]:
    """Seconds of a transition of a radiograph at its own size, and of writing frames, curve, strip and films into `folder`."""
    device = radiograph.image.device
    clock = time.perf_counter()
    traversal = traverse(generator, target, radiograph, pathology="prior", strengths=FRAMES)
    _finish(device)
    made = time.perf_counter() - clock
    traversal.cpu().save(folder)
    small = traversal.cpu().reduced(512)
    render.write_curve(small, folder / "response_curve.png")
    render.write_strip(small, folder / "strip.png")
    render.write_film(small, folder)
    return made, time.perf_counter() - clock - made


def latent_shift_seconds(device: torch.device, repeats: int = 3) -> float | None:
    """The median time of LatentShift's work on one image: a ResNet-101 autoencoder, a DenseNet-121, one gradient and
    SHIFT_FRAMES frames, decoded and classified one by one. None without torchxrayvision."""
    try:
        autoencoder: nn.Module = importlib.import_module("torchxrayvision.autoencoders").ResNetAE(weights=None)
        classifier: nn.Module = importlib.import_module("torchxrayvision.models").DenseNet(weights=None)
    except ImportError:
        return None
    networks = [network.to(device).requires_grad_(False).eval() for network in (autoencoder, classifier)]
    image = torch.rand(1, 1, SHIFT_SIDE, SHIFT_SIDE, device=device)
    latent_shift(networks[0], networks[1], image)
    return statistics.median(timed(lambda: latent_shift(networks[0], networks[1], image), device) for _ in range(repeats))


def latent_shift(autoencoder: nn.Module, classifier: nn.Module, image: Tensor) -> Tensor:
    """Frames (SHIFT_FRAMES, 1, H, W) along the gradient of the first output with regard to the latent code of an image."""
    encode, decode = autoencoder.encode, autoencoder.decode
    assert callable(encode)
    assert callable(decode)
    code = encode(image).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(classifier(decode(code, image.shape))[:, 0].sum(), code)
    frames = []
    with torch.no_grad():
        for step in torch.linspace(-100, 100, SHIFT_FRAMES).tolist():
            frame = decode(code + step * gradient, image.shape)
            classifier(frame)
            frames.append(frame)
    return torch.cat(frames)


def enlarged(radiograph: Radiograph, height: int, width: int) -> Radiograph:
    """The same radiograph at another size."""
    image = F.interpolate(radiograph.image, (height, width), mode="bicubic", align_corners=False).clamp(0, 1)
    lungs = F.interpolate(radiograph.lungs, (height, width), mode="nearest-exact")
    return Radiograph(f"{radiograph.name} at {width}x{height}", image, lungs, radiograph.sha256, radiograph.fit)


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of one run, all of the device's work done."""
    _finish(device)
    start = time.perf_counter()
    work()
    _finish(device)
    return time.perf_counter() - start


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def bench(given: Given, options: Options) -> Outcome:
    """Time one transition of the first image beside the others. Structures are untrained where there are none."""
    generator, segmenter = given.load_generator(), given.load_segmenter()
    [target] = given.load_targets((given.target,)).values()
    structures = _structures(given.generator).to(given.device)
    size = structures.config.resolution
    image = given.dataset(size).batch([0]).images.to(given.device)
    if given.dry_run:
        return Outcome({"resolution": size})
    with torch.no_grad():
        radiograph = Radiograph("radiograph", image, segmenter(image), "", {"kept": [size, size]})
    found = latency(generator, structures, target, radiograph, repeats=options.repeats, optimise_steps=options.steps)
    facts = asdict(found)
    scaled = f" (in proportion to {STEPS})" if found.extrapolated else ""
    lines = [
        f"reading, layer, {found.frames} frames, response  {found.transition:8.3f} s  [{found.fastest:.3f}, {found.slowest:.3f}]",
        f"{found.steps_run:4d} Adam steps on (z1, z2)          {found.optimisation:8.3f} s  {found.speedup:.0f}x{scaled}",
    ]
    if found.latent_shift is not None:
        lines.append(f"LatentShift, 224 px, 20 frames        {found.latent_shift:8.3f} s  {found.speedup_latent_shift:.1f}x")
    lines.append(f"{found.resolution} px, {found.device}, {found.threads} threads")
    if options.full:
        with tempfile.TemporaryDirectory() as folder:
            made, written = full_size(generator, target, enlarged(radiograph, *FULL), Path(folder) / "out")
        lines.append(f"{FULL[1]} x {FULL[0]} px: {made:.1f} s, and {written:.1f} s to write frames and films")
        facts |= {"full_transition": made, "full_writing": written}
    return Outcome(facts, "\n".join(lines))


def _structures(checkpoint: str) -> StructureGenerator:
    if "structure" in config_of(checkpoint)["parts"]:
        return load_structure(checkpoint)
    return StructureGenerator(StructureConfig(resolution=256)).requires_grad_(False).eval()
