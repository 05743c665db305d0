"""The adapter that makes any network a frozen target: it owns size, channels, mean and std, so no caller can mis-normalise."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gan_explain import pixels
from gan_explain.files.checkpoints import Part, check_fit, load_into
from gan_explain.nets.classifier import ClassifierConfig, build
from gan_explain.nets.segmenter import load_segmenter
from gan_explain.targets.config import TargetConfig, brief, check_positive
from gan_explain.targets.heads import log_probabilities, outputs
from gan_explain.targets.preparation import Preparation
from gan_explain.types import CheckpointError, Segmenter, Target, TargetError

logger = logging.getLogger(__name__)
ROUNDING = 1e-5  # how far a pixel may be out of [0, 1]: what a resizing may add


class ModuleTarget(nn.Module):
    """Any `nn.Module` (N, C, size, size) -> (N, K), or one logit (N,) or (N, 1), as a frozen `types.Target`.

    One logit z becomes (0, z): it belongs to the second of two classes, ("negative", positive) where none are named. A network
    whose `output` is probabilities has their log taken. Half precision is widened; logits are float32 whatever the network's.
    The network stays in eval mode, whatever `train()` is told. `segmenter` reads the lungs of a lungs-only target where the
    caller gives no mask. Raises TargetError when the parts do not fit together.
    """

    def __init__(
        self, network: nn.Module, config: TargetConfig, segmenter: Segmenter | None = None, *, differentiable: bool = True
    ) -> None:
        super().__init__()
        self.config = config.model_copy(update={"classes": config.classes or ("negative", *config.positive)})
        self.classes, self.positive = self.config.classes, config.positive
        check_positive(self.classes, self.positive)
        if not 0 < config.operating_point < 1 or not 0 < config.temperature < math.inf:
            came = f"{config.operating_point} and {config.temperature}"
            raise TargetError(f"expected 0 < operating point < 1 and temperature > 0, got {came}")
        self.operating_point, self.temperature = config.operating_point, config.temperature
        self.uses_lungs, self.differentiable = config.lungs_only or config.crop > 0, differentiable
        half = any(p.dtype in (torch.float16, torch.bfloat16) for p in network.parameters())
        self.network = network.float() if half else network
        with torch.inference_mode(False):
            self.prepare = Preparation(config).to(device_of(network))
        self.segmenter, self._said = segmenter, False
        self.told = ""  # what was used of what the user declared, for the log
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> ModuleTarget:
        """A target under explanation is frozen: always eval mode."""
        super().train(False)
        return self

    def prepared(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        """What the network is given: images (N, 1, H, W) in [0, 1] at any size -> (N, C, size, size); differentiable."""
        unseen = self.prepare.unseen(*images.shape[-2:])
        if unseen and not self._said:
            self._said = True
            logger.warning("the target sees the centre of an image: %.0f %% of this one is cut off (fit crop)", 100 * unseen)
        x: Tensor = self.prepare(images, self._lungs(images, lungs))
        return x

    def laid_over(self, maps: Tensor, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        """Maps (N, C, h, w) over the network's input -> (N, C, H, W) over the images, 0 where the network does not see them."""
        height, width = images.shape[-2:]
        return self.prepare.laid_over(maps, height, width, self._lungs(images, lungs))

    @torch.no_grad()
    def _lungs(self, images: Tensor, lungs: Tensor | None) -> Tensor | None:
        """For a target that reads the lungs: the mask given, or its segmenter's. TargetError where there is neither."""
        if self.uses_lungs and lungs is None:
            if self.segmenter is None:
                raise TargetError("this target reads the lungs: expected a lung mask or a segmenter, got neither")
            lungs = self.segmenter(images)
        return lungs

    def logits(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        """(N, 1, H, W) in [0, 1] at any size -> (N, K), divided by the temperature; differentiable.

        Raises ValueError for images of another shape or range, or that are not finite or lie on another device; TargetError where
        the network does not give what it should.
        """
        if images.device != device_of(self):
            raise ValueError(f"expected images on {device_of(self)}, where the target is, got {images.device}")
        pixels.check_images(images.float() if images.dtype == torch.float64 else images, ROUNDING)
        if self.network.training:  # put there by whoever holds it too
            self.eval()
        x = self.prepared(images, lungs)
        out = outputs(self.network, x.to(dtype_of(self.network, x.dtype)))
        out = out.to(torch.float64 if images.dtype == torch.float64 else torch.float32)
        if self.config.output == "probabilities":
            out = log_probabilities(out)
        if out.shape in ((len(images),), (len(images), 1)) and len(self.classes) == 2:
            z = out.reshape(-1, 1)
            out = torch.cat([torch.zeros_like(z), z], dim=1)  # (N,) or (N, 1) -> (N, 2)
        if out.shape != (len(images), len(self.classes)):
            raise TargetError(f"expected logits {(len(images), len(self.classes))}, got {tuple(out.shape)}")
        if not bool(torch.isfinite(out).all()):
            raise TargetError("expected finite logits, got NaN or infinity")
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
        config = self.config.model_copy(update={"positive": tuple(positive), "operating_point": 0.5})
        return ModuleTarget(self.network, config, self.segmenter, differentiable=self.differentiable)


def device_of(part: object) -> torch.device:
    """Where a network's tensors lie; the CPU for anything that has none."""
    if not isinstance(part, nn.Module):
        return torch.device("cpu")
    tensors = [*part.parameters(), *part.buffers()]
    return tensors[0].device if tensors else torch.device("cpu")


def dtype_of(network: nn.Module, given: torch.dtype) -> torch.dtype:
    """The precision that a network takes inputs of precision `given` in."""
    return next((p.dtype for p in network.parameters() if p.dtype == torch.float64), given)


def noise(network: nn.Module, config: TargetConfig) -> Tensor:
    """Four inputs (4, C, size, size) of even noise for a network, where and as it takes them."""
    shape, drawn = (4, config.channels, config.size, config.size), torch.Generator().manual_seed(0)
    return torch.rand(shape, generator=drawn, dtype=torch.float32).to(device_of(network), dtype_of(network, torch.float32))


def masks_for(target: Target, lungs: Tensor | None) -> Tensor | None:
    """The lungs for a target that reads them, None for one that does not."""
    return lungs if target.uses_lungs else None


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
    config = config.model_copy(update={"output": config.output or "logits"})  # as all these architectures end
    return ModuleTarget(network, config, segmenter or named_segmenter(config))
