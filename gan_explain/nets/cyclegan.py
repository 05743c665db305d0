"""The networks of a CycleGAN: a residual generator for each direction, a patch discriminator for each side.

Zhu, Park, Isola, Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", ICCV 2017,
arXiv 1703.10593; residual blocks of Johnson, Alahi, Fei-Fei (ECCV 2016, arXiv 1603.08155); patches of Isola et al. (CVPR 2017,
arXiv 1611.07004). Differs, so that a thousand steps on a CPU core show something:

- pixel-unshuffle in place of a 7x7 and two strided convolutions at full resolution: every layer works at 1/fold of it;
- the output is the input under a signed layer t of optical thickness (`optics.compose`: t > 0 attenuates, t < 0 clears), which
  lies in [0, 1] for any weights, keeps every rib where t = 0, and has a gradient beside it; sigmoid gates shut for good there;
- the layer is drawn at half the resolution and upsampled, which leaves less room to hide the input in pixel noise
  (Chu, Zhmoginov, Sandler, arXiv 1712.02950);
- a patch is twice the paper's share of the image: sources differ in layout too.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.nets.blocks import Config, near_zero, upsample
from gan_explain.optics import compose


class CycleGanConfig(Config):
    resolution: int = 128  # side of the images, a multiple of `fold`
    channels: int = 1
    width: int = 48  # channels of the residual blocks
    blocks: int = 6
    fold: int = 4  # the blocks work at resolution / fold
    judge_width: int = 24  # channels of the discriminators' first layer


class ResnetBlock(nn.Module):
    """x + two 3x3 convolutions with reflection padding and instance norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = _conv(width, width), _conv(width, width)
        self.norms = nn.ModuleList(nn.InstanceNorm2d(width, affine=True) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.norms[0](self.first(x)))
        normed: Tensor = self.norms[1](self.second(hidden))
        return x + normed


def _conv(cin: int, cout: int) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, 3, padding=1, padding_mode="reflect")


class ResnetGenerator(nn.Module):
    """(N, C, H, W) in [0, 1] -> the translated images, the same shape and range. Raises ValueError for an impossible shape."""

    def __init__(self, config: CycleGanConfig) -> None:
        super().__init__()
        if config.fold not in (2, 4, 8) or config.resolution % config.fold or config.resolution < 16:
            came = f"resolution {config.resolution}, fold {config.fold}"
            raise ValueError(f"expected a resolution of at least 16 that is a multiple of the fold 2, 4 or 8, got {came}")
        self.fold = config.fold
        self.shuffle = config.fold // 2
        self.stem = _conv(config.channels * config.fold**2, config.width)
        self.norm = nn.InstanceNorm2d(config.width, affine=True)
        self.blocks = nn.Sequential(*(ResnetBlock(config.width) for _ in range(config.blocks)))
        self.head = near_zero(_conv(config.width, config.channels * self.shuffle**2), 0.002)

    def layer(self, images: Tensor) -> Tensor:
        """The signed optical thickness laid over each image: (N, C, H, W) -> (N, C, H, W)."""
        x = F.pixel_unshuffle(images * 2 - 1, self.fold)  # (N, C, H, W) -> (N, C fold^2, H/fold, W/fold)
        x = self.blocks(F.relu(self.norm(self.stem(x))))
        return upsample(F.pixel_shuffle(self.head(x), self.shuffle))  # -> (N, C, H/2, W/2) -> (N, C, H, W)

    def forward(self, images: Tensor) -> Tensor:
        return compose(images, self.layer(images))


class PatchDiscriminator(nn.Module):
    """(N, C, H, W) -> a logit for each patch (N, 1, h, w); at 128 px a patch has 70 pixels a side, elsewhere the same share."""

    def __init__(self, config: CycleGanConfig) -> None:
        super().__init__()
        depth = max(1, round(math.log2(config.resolution / 16)))
        widths = [config.channels, *(config.judge_width * min(2**i, 8) for i in range(depth + 1))]
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(widths)):
            layers.append(nn.Conv2d(a, b, 4, 2 if i < depth else 1, padding=1))
            layers += [nn.InstanceNorm2d(b, affine=True)] if i else []
            layers.append(nn.LeakyReLU(0.2))
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images * 2 - 1)
        return logits


class CycleGan(nn.Module):
    """Both directions: negatives made positive, positives made negative."""

    def __init__(self, config: CycleGanConfig) -> None:
        super().__init__()
        self.config = config
        self.adder, self.remover = ResnetGenerator(config), ResnetGenerator(config)

    @property
    def resolution(self) -> int:
        return self.config.resolution

    def to_positive(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) in [0, 1] at `config.resolution` -> the same patients as positives; ValueError for another shape."""
        return self._translate(self.adder, images)

    def to_negative(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) in [0, 1] at `config.resolution` -> the same patients as negatives; ValueError for another shape."""
        return self._translate(self.remover, images)

    def _translate(self, network: nn.Module, images: Tensor) -> Tensor:
        expected = (self.config.channels, self.config.resolution, self.config.resolution)
        if images.dim() != 4 or tuple(images.shape[1:]) != expected:
            c, h, w = expected
            raise ValueError(f"expected images (N, {c}, {h}, {w}) in [0, 1], got {tuple(images.shape)}")
        translated: Tensor = network(images)
        return translated

    def forward(self, images: Tensor) -> Tensor:
        return self.to_positive(images)


def multiply_adds(config: CycleGanConfig) -> dict[str, int]:
    """Multiply-adds of the convolutions for one image: {"generator", "discriminator"}, one direction, forward."""
    counted = {}
    for name, network in (("generator", ResnetGenerator(config)), ("discriminator", PatchDiscriminator(config))):
        total = 0
        side = config.resolution // (config.fold if name == "generator" else 1)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                side = (side + 2 * int(module.padding[0]) - module.kernel_size[0]) // module.stride[0] + 1
                total += module.weight.numel() * side * side
        counted[name] = total
    return counted
