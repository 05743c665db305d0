"""The adapter that makes any network a frozen target: it owns size, channels, mean and std, so no caller can mis-normalise."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

from gan_explain import pixels, spectrum
from gan_explain.files.checkpoints import Part, check_fit, load_into
from gan_explain.nets.blocks import Config
from gan_explain.nets.classifier import ClassifierConfig, build
from gan_explain.nets.segmenter import load_segmenter
from gan_explain.targets.crop import cut, lung_square, put_back
from gan_explain.targets.heads import Output, log_probabilities
from gan_explain.types import CheckpointError, Segmenter, Target, TargetError

logger = logging.getLogger(__name__)

Domain = Literal["image", "spectrum"]  # what a network is shown: the image, or the log-magnitude of its Fourier transform
LUNG_EPSILON = 1e-4  # added to the variance inside the lungs: a standard deviation of 0.01


class TargetConfig(Config):
    """What makes a network a target, as stored beside its weights (a checkpoint part, or FILE.json beside a file)."""

    arch: str = ""
    classes: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()
    size: int = 224  # side of the square input, in pixels
    channels: int = 3
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    operating_point: float = 0.5  # p*: an input is positive at or above it
    lungs_only: bool = False
    crop: float = 0.0  # side of the square round the lungs that is cut out, times their longer side; 0: the image as it is
    temperature: float = 1.0  # logits are divided by it (calibration)
    segmenter: str = ""  # checkpoint that reads the lungs where no mask is given
    output: Literal["", "logits", "probabilities"] = ""  # "": told from what a network in a file answers, else logits
    domain: Domain = "image"
    multi_label: bool = False  # outputs are findings, each with a sigmoid of its own, not classes of which one is right


class Preparation(nn.Module):
    """Images of the toolkit -> the network's input, differentiable: resized, standardised, repeated to its channels.

    With a `crop`, the square round the lungs is cut out first (`targets.crop`; the whole image where the mask is empty).
    Whole images: (x - mean) / std. Lungs only: zero mean and unit variance over each image's own lung pixels, 0 outside; an
    empty mask gives zeros. In the domain "spectrum" what is shown is the log-magnitude of that picture's Fourier transform, zero
    frequency in the middle, with zero mean and unit variance over each plane (`gan_explain.spectrum`).
    """

    def __init__(
        self,
        size: int,
        channels: int,
        mean: Sequence[float],
        std: Sequence[float],
        lungs_only: bool,
        domain: Domain = "image",
        crop: float = 0.0,
    ) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            if len(values) not in (1, channels):
                raise TargetError(f"expected 1 or {channels} values of {name}, got {len(values)}")
        if size < 1 or channels < 1 or min(std) <= 0:
            raise TargetError(f"expected size, channels and std above 0, got {size}, {channels}, {tuple(std)}")
        if crop < 0:
            raise TargetError(f"expected a crop of 0 (none) or more, got {crop}")
        self.size, self.channels, self.lungs_only, self.domain, self.crop = size, channels, lungs_only, domain, crop
        self.register_buffer("mean", torch.tensor(tuple(mean), dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(tuple(std), dtype=torch.float32).view(1, -1, 1, 1))
        self.mean: Tensor
        self.std: Tensor

    def forward(self, images: Tensor, lungs: Tensor | None = None, scale: float = 1.0) -> Tensor:
        """(N, 1, H, W) in [0, 1], lungs (N, 1, H, W) in {0, 1} -> (N, channels, size, size). A cut is `scale` times as wide as it
        should be, for training."""
        if images.ndim != 4 or images.shape[1] != 1:
            raise ValueError(f"expected images (N, 1, H, W) in [0, 1], got {tuple(images.shape)}")
        if (self.lungs_only or self.crop) and (lungs is None or len(lungs) != len(images)):
            came = "none" if lungs is None else tuple(lungs.shape)
            raise ValueError(f"expected lungs ({len(images)}, 1, H, W) for a target that reads them, got {came}")
        if self.crop and lungs is not None:
            square = lung_square(lungs, scale * self.crop)
            side = max(self.size, images.shape[-1])
            images, lungs = cut(images, square, side), cut(lungs, square, side, "nearest")
        x = pixels.resize(images, self.size)
        x = self._inside(x, lungs) if self.lungs_only and lungs is not None else (x - self.mean) / self.std
        if self.domain == "spectrum":
            x = spectrum.standardised(spectrum.log_magnitude(x))
        return x.expand(-1, self.channels, -1, -1)

    def _inside(self, x: Tensor, lungs: Tensor) -> Tensor:
        """Resized images with zero mean and unit variance inside the lungs, 0 outside."""
        inside = (pixels.resize(lungs, self.size) > 0.5).to(x.dtype)
        area = inside.sum((2, 3), keepdim=True).clamp(min=1)
        mean = (x * inside).sum((2, 3), keepdim=True) / area
        variance = ((x - mean).square() * inside).sum((2, 3), keepdim=True) / area
        return (x - mean) * inside / (variance + LUNG_EPSILON).sqrt()


class ModuleTarget(nn.Module):
    """Any `nn.Module` (N, C, size, size) -> (N, K), or one logit (N,) or (N, 1), as a frozen `types.Target`.

    One logit z becomes (0, z): it belongs to the second of two classes, ("negative", positive) where none are named. A network
    whose `output` is probabilities has their log taken. Half precision is widened; logits are float32 whatever the network's.
    The network stays in eval mode, whatever `train()` is told. `segmenter` reads the lungs of a lungs-only target where the
    caller gives no mask. Raises TargetError when the parts do not fit together.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        classes: Sequence[str] = (),
        positive: Sequence[str],
        size: int,
        channels: int = 1,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        operating_point: float = 0.5,
        lungs_only: bool = False,
        segmenter: Segmenter | None = None,
        temperature: float = 1.0,
        output: Output = "logits",
        domain: Domain = "image",
        crop: float = 0.0,
        differentiable: bool = True,
    ) -> None:
        super().__init__()
        self.classes = tuple(classes) or ("negative", *positive)
        self.positive = tuple(positive)
        check_positive(self.classes, self.positive)
        if not 0 < operating_point < 1 or not 0 < temperature < math.inf:
            raise TargetError(f"expected 0 < operating point < 1 and temperature > 0, got {operating_point} and {temperature}")
        self.operating_point, self.temperature = float(operating_point), float(temperature)
        self.uses_lungs, self.differentiable, self.output = lungs_only or crop > 0, differentiable, output
        half = any(p.dtype in (torch.float16, torch.bfloat16) for p in network.parameters())
        self.network = network.float() if half else network
        self.prepare = Preparation(size, channels, mean, std, lungs_only, domain, crop)
        self.segmenter = segmenter
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> ModuleTarget:
        """A target under explanation is frozen: always eval mode."""
        super().train(False)
        return self

    def prepared(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        """What the network is given: images (N, 1, H, W) in [0, 1] at any size -> (N, C, size, size); differentiable."""
        x: Tensor = self.prepare(images, self._lungs(images, lungs))
        return x

    def laid_over(self, maps: Tensor, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        """Maps (N, C, h, w) over the network's input -> (N, C, H, W) over the images, 0 where the network does not see them."""
        height, width = images.shape[-2:]
        mask = self._lungs(images, lungs)
        if self.prepare.crop and mask is not None:
            return put_back(maps, lung_square(mask, self.prepare.crop), height, width)
        return F.interpolate(maps, (height, width), mode="bilinear", align_corners=False)

    @torch.no_grad()
    def _lungs(self, images: Tensor, lungs: Tensor | None) -> Tensor | None:
        """For a target that reads the lungs: the mask given, or its segmenter's. TargetError where there is neither."""
        if self.uses_lungs and lungs is None:
            if self.segmenter is None:
                raise TargetError("this target reads the lungs: expected a lung mask or a segmenter, got neither")
            lungs = self.segmenter(images)
        return lungs

    def logits(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        """(N, 1, H, W) in [0, 1] at any size -> (N, K), divided by the temperature; differentiable."""
        x = self.prepared(images, lungs)
        out = self.network(x.to(next((p.dtype for p in self.network.parameters() if p.dtype == torch.float64), x.dtype)))
        if not isinstance(out, Tensor):
            raise TargetError(f"expected a tensor of logits from the target's network, got {type(out).__name__}")
        out = out.to(torch.float64 if images.dtype == torch.float64 else torch.float32)
        if self.output == "probabilities":
            out = log_probabilities(out)
        if out.shape in ((len(images),), (len(images), 1)) and len(self.classes) == 2:
            z = out.reshape(-1, 1)
            out = torch.cat([torch.zeros_like(z), z], dim=1)  # (N,) or (N, 1) -> (N, 2)
        if out.shape != (len(images), len(self.classes)):
            raise TargetError(f"expected logits {(len(images), len(self.classes))}, got {tuple(out.shape)}")
        return out / self.temperature

    forward = logits

    def probability(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        """(N, 1, H, W) -> (N,): summed softmax of the positive set."""
        chosen = [self.classes.index(name) for name in self.positive]
        return self.logits(images, lungs).softmax(dim=1)[:, chosen].sum(dim=1).clamp(max=1)

    def with_positive(self, positive: Sequence[str]) -> ModuleTarget:
        """The same network (shared) with another positive set; the operating point belongs to the set, so it becomes 0.5."""
        if set(positive) == set(self.positive):
            return self
        logger.info("positive set %s instead of %s: operating point 0.5", "+".join(positive), "+".join(self.positive))
        changed = {"positive": tuple(positive), "operating_point": 0.5}
        config = self.config().model_copy(update=changed)
        return module_target(self.network, config, self.segmenter, differentiable=self.differentiable)

    def config(self, arch: str = "", segmenter: str = "") -> TargetConfig:
        """What rebuilds this adapter around its network; the names of architecture and segmenter are the caller's to give."""
        p = self.prepare
        return TargetConfig(
            arch=arch,
            classes=self.classes,
            positive=self.positive,
            size=p.size,
            channels=p.channels,
            mean=tuple(p.mean.flatten().tolist()),
            std=tuple(p.std.flatten().tolist()),
            operating_point=self.operating_point,
            lungs_only=p.lungs_only,
            temperature=self.temperature,
            segmenter=segmenter,
            output=self.output,
            domain=p.domain,
            crop=p.crop,
        )


def device_of(part: object) -> torch.device:
    """Where a network's tensors lie; the CPU for anything that has none."""
    if not isinstance(part, nn.Module):
        return torch.device("cpu")
    tensors = [*part.parameters(), *part.buffers()]
    return tensors[0].device if tensors else torch.device("cpu")


def masks_for(target: Target, lungs: Tensor | None) -> Tensor | None:
    """The lungs for a target that reads them, None for one that does not."""
    return lungs if target.uses_lungs else None


def check_positive(classes: Sequence[str], positive: Sequence[str]) -> None:
    if len(classes) < 2 or len(set(classes)) != len(classes):
        raise TargetError(f"expected at least two different classes, got {', '.join(classes) or 'none'}")
    if not positive or not set(positive) < set(classes):
        raise TargetError(f"expected a positive set within the classes {', '.join(classes)}, got {'+'.join(positive) or 'none'}")


def target_config(target: ModuleTarget, arch: str, segmenter: str = "") -> dict[str, Any]:
    """The configuration that `target_from_part` rebuilds `target` from; its weights are `target.network.state_dict()`."""
    return target.config(arch, segmenter).model_dump(mode="json")


def weights_digest(target: Target) -> str | None:
    """SHA-256 over the names and values of a target's tensors, and over the files that its networks are run from; None for a
    target that has neither. It knows a CNN again under another name or path."""
    if not isinstance(target, nn.Module):
        return None
    network: nn.Module = target.network if isinstance(target, ModuleTarget) else target
    digest, found = hashlib.sha256(), False
    for each in (getattr(module, "sha256", None) for module in network.modules()):
        if isinstance(each, str):
            digest.update(each.encode())
            found = True
    for name, value in sorted(network.state_dict().items()):
        if isinstance(value, Tensor):
            digest.update(name.encode() + value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
            found = True
    return digest.hexdigest() if found else None


def module_target(
    network: nn.Module, config: TargetConfig, segmenter: Segmenter | None = None, *, differentiable: bool = True
) -> ModuleTarget:
    fields = config.model_dump(exclude={"arch", "segmenter", "output", "multi_label"})
    output: Output = config.output or "logits"
    return ModuleTarget(network, segmenter=segmenter, output=output, differentiable=differentiable, **fields)


def named_segmenter(config: TargetConfig) -> Segmenter | None:
    """The segmenter that a configuration which reads the lungs names, or None. Raises CheckpointError when it is missing."""
    return load_segmenter(config.segmenter) if (config.lungs_only or config.crop) and config.segmenter else None


def target_from_part(part: Part, segmenter: Segmenter | None = None) -> ModuleTarget:
    """The target stored in a checkpoint part of kind "target", with `segmenter` or the one that its configuration names.

    Raises CheckpointError when the part is something else or its segmenter is missing.
    """
    if part.kind != "target":
        raise CheckpointError(f"checkpoint {part.checkpoint}: expected a part of kind 'target', got {part.kind!r}")
    try:
        config = TargetConfig.model_validate(part.config)
        layout = ClassifierConfig(arch=config.arch, classes=len(config.classes), channels=config.channels)
        check_fit(lambda: build(layout), part)
        network = build(layout)
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"checkpoint {part.checkpoint}: unusable target configuration: {brief(error)}") from error
    load_into(network, part)
    return module_target(network, config, segmenter or named_segmenter(config))


def brief(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
