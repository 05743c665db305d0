"""The lung segmenter as a function of images: loaded once, frozen, hard masks out."""

from __future__ import annotations

import os

import torch
import torch.nn.functional as F
from pydantic import ConfigDict
from scipy import ndimage
from torch import Tensor, nn

from gan_explain.files.checkpoints import config_of
from gan_explain.nets.blocks import Config
from gan_explain.nets.classifier import MULTI_UNETS, ClassifierConfig, build
from gan_explain.nets.load import load_network
from gan_explain.nets.multi_unet import MultiUNet
from gan_explain.nets.unet import UNet, UNetConfig
from gan_explain.pixels import check_images, resize


class LungSegmenter(nn.Module):
    """(N, 1, H, W) in [0, 1], any size -> lung mask (N, 1, H, W) in {0, 1}: probability above one half, the two largest regions
    kept, holes filled. Not differentiable by design: a mask is read once from an input and held; `soft` is, for training.
    ValueError for images of another shape or range.
    Images are resized to `resolution`, by default the network's own, and may lie on any device."""

    def __init__(self, network: UNet, resolution: int | None = None) -> None:
        super().__init__()
        self.network, self.resolution = network, resolution or network.config.resolution

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        check_images(images, rounding=1e-5)
        device = next(self.network.parameters()).device
        logits = self.network(resize(images.to(device), self.resolution))
        hard = torch.stack([_clean(mask) for mask in logits[:, 0] > 0])[:, None].to(images)
        return (_to_size(hard, images.shape[-2:]) > 0.5).to(images.dtype)

    def soft(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) in [0, 1], any size -> probability of lung (N, 1, H, W), as the network says it; differentiable."""
        logits = self.network(resize(images, self.resolution))
        return _to_size(logits.sigmoid(), images.shape[-2:])


def _to_size(masks: Tensor, size: torch.Size) -> Tensor:
    if masks.shape[-2:] == size:
        return masks
    return F.interpolate(masks, tuple(size), mode="bilinear", antialias=True, align_corners=False)


def _clean(mask: Tensor) -> Tensor:
    labelled, count = ndimage.label(mask.cpu().numpy())
    if count == 0:
        return mask
    sizes = ndimage.sum_labels(mask.cpu().numpy(), labelled, range(1, count + 1))
    kept = [i + 1 for i in sizes.argsort()[::-1][:2] if sizes[i] > 0.05 * sizes.max()]
    filled = ndimage.binary_fill_holes(sum(labelled == i for i in kept))
    return torch.from_numpy(filled)


class Joint(Config):
    """What of a target's configuration makes its network (`targets.TargetConfig` has the rest)."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    arch: str
    classes: tuple[str, ...]
    channels: int
    size: int


def load_segmenter(name: str | os.PathLike[str] = "lungs128") -> LungSegmenter:
    """The segmenter of a checkpoint: its part "segmenter", or the lungs of its part "target", where that is a multi-output U-Net.

    Raises CheckpointError when it is missing or of another kind.
    """
    parts = config_of(name)["parts"]
    target = parts.get("target", {"config": {}})["config"]
    if "segmenter" in parts or target.get("arch") not in MULTI_UNETS:
        return LungSegmenter(load_network(name, "segmenter", "segmenter", UNetConfig, UNet)).eval()
    network = load_network(
        name, "target", "target", Joint,
        lambda found: build(ClassifierConfig(arch=found.arch, classes=len(found.classes), channels=found.channels)),
    )  # fmt: skip
    assert isinstance(network, MultiUNet)
    return LungSegmenter(network.unet, Joint.model_validate(target).size).eval()
