"""Classifiers: our own small CNNs for CPU training and judging, and torchvision's backbones, behind one dictionary of names."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from gan_explain.nets.blocks import Config, ConvNorm, Residual, pooled_head
from gan_explain.nets.cxrnet import CxrNet, CxrNetConfig
from gan_explain.nets.efficientnet_lite import LEVELS, VARIANTS, LiteClassifier
from gan_explain.nets.multi_unet import LITE_WIDTHS, MultiUNet


class ClassifierConfig(Config):
    arch: str = "small"  # a name in ARCHITECTURES
    classes: int = 2
    channels: int = 1  # input channels; torchvision's backbones take 3
    dropout: float = 0.2


class Pooled(nn.Module):
    """Features (N, C, h, w), averaged over their cells -> logits (N, K)."""

    def __init__(self, features: nn.Module, channels: int, config: ClassifierConfig) -> None:
        super().__init__()
        self.features, self.head = features, pooled_head(channels, config.classes, config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x).mean((2, 3)))
        return logits


class SmallResNet(Pooled):
    """Nine convolutions with residual links, 0.7 M parameters; about 0.4 GFLOP an image at 128 px."""

    def __init__(self, config: ClassifierConfig, width: int = 20) -> None:
        w = width
        features = nn.Sequential(
            ConvNorm(config.channels, w, 5, 2),  # H/2
            Residual(w, 2 * w, 2),  # H/4
            Residual(2 * w, 2 * w),
            Residual(2 * w, 4 * w, 2),  # H/8
            Residual(4 * w, 6 * w, 2),  # H/16
        )
        super().__init__(features, 6 * w, config)


class SmallVGG(Pooled):
    """Plain convolutions and max pooling (after Simonyan & Zisserman, ICLR 2015, arXiv 1409.1556), no residual links."""

    def __init__(self, config: ClassifierConfig, width: int = 20) -> None:
        layers: list[nn.Module] = [ConvNorm(config.channels, width, 3, 2)]  # H/2
        for cin, cout in pairwise((width, 2 * width, 3 * width, 4 * width, 6 * width)):
            layers += [nn.MaxPool2d(2), ConvNorm(cin, cout), *([ConvNorm(cout, cout)] if cout > 2 * width else [])]
        super().__init__(nn.Sequential(*layers), 6 * width, config)


class Inception(nn.Module):
    """Parallel 1x1, 3x3 and stacked 3x3 convolutions (after Szegedy et al., CVPR 2015, arXiv 1409.4842), concatenated."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        part = cout // 4
        self.point = ConvNorm(cin, part, 1)
        self.three = ConvNorm(cin, 2 * part, 3)
        self.five = nn.Sequential(ConvNorm(cin, part, 1), ConvNorm(part, part, 3), ConvNorm(part, part, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.point(x), self.three(x), self.five(x)], dim=1)


class SmallInception(nn.Module):
    """Inception blocks between average poolings."""

    def __init__(self, config: ClassifierConfig, width: int = 24) -> None:
        super().__init__()
        self.stem = ConvNorm(config.channels, width, 5, 2)  # H/2
        widths = (width, 2 * width, 4 * width, 6 * width)
        self.blocks = nn.ModuleList(Inception(a, b) for a, b in pairwise(widths))
        self.head = pooled_head(widths[-1], config.classes, config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(F.avg_pool2d(x, 2))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


class SmallDense(nn.Module):
    """Densely connected convolutions (after Huang et al., CVPR 2017, arXiv 1608.06993): torchvision's DenseNet, slim."""

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.net = models.DenseNet(
            growth_rate=12, block_config=(3, 4, 4, 4), num_init_features=20, bn_size=3, drop_rate=0.0, num_classes=config.classes
        )
        self.net.features[0] = nn.Conv2d(config.channels, 20, 5, 2, padding=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return logits


def _torchvision(build: Callable[..., nn.Module]) -> Callable[[ClassifierConfig], nn.Module]:
    return lambda config: build(weights=None, num_classes=config.classes)


def _lite(variant: str, levels: int) -> Callable[[ClassifierConfig], nn.Module]:
    return lambda config: LiteClassifier(variant, levels, config.classes, config.dropout)


def _cxrnet(encoder: str) -> Callable[[ClassifierConfig], nn.Module]:
    return lambda config: CxrNet(CxrNetConfig(classes=config.classes, channels=config.channels, encoder=encoder))


ARCHITECTURES: dict[str, Callable[[ClassifierConfig], nn.Module]] = {
    "small": SmallResNet,
    "small_vgg": SmallVGG,
    "small_inception": SmallInception,
    "small_dense": SmallDense,
    **{name: _cxrnet(encoder) for name, encoder in {"cxrnet": "", "cxrnet_lite0": "efficientnet_lite0"}.items()},
    "resnet18": _torchvision(models.resnet18),
    "resnet50": _torchvision(models.resnet50),
    "vgg16": _torchvision(models.vgg16),
    "vgg16_bn": _torchvision(models.vgg16_bn),
    "efficientnet_b0": _torchvision(models.efficientnet_b0),
    **{variant: _lite(variant, len(LEVELS)) for variant in VARIANTS},
    **{f"{variant}_c4": _lite(variant, 4) for variant in VARIANTS},  # up to stride 16
    "multi_unet": lambda config: MultiUNet(config.classes, config.channels, config.dropout),
    "multi_unet_lite0": lambda config: MultiUNet(
        config.classes, config.channels, config.dropout, LITE_WIDTHS, "efficientnet_lite0"
    ),
}
THREE_CHANNELS = frozenset({"resnet18", "resnet50", "vgg16", "vgg16_bn", "efficientnet_b0"})
PRETRAINED = tuple(name for name in ARCHITECTURES if "_lite" in name)  # those that can start from ImageNet's weights
CXRNETS = frozenset({"cxrnet", "cxrnet_lite0"})
MULTI_UNETS = frozenset({"multi_unet", "multi_unet_lite0"})
JOINT = CXRNETS | MULTI_UNETS  # those that learn more than to classify


def backbone_of(arch: str) -> str:
    """The variant of EfficientNet-Lite in one of PRETRAINED."""
    return next(variant for variant in VARIANTS if variant.removeprefix("efficientnet_") in arch.split("_"))


def build(config: ClassifierConfig) -> nn.Module:
    """The network of a configuration: (N, channels, H, W) -> logits (N, classes). Raises ValueError for an unknown name."""
    if config.arch not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {config.arch!r}: expected one of {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[config.arch](config)
