"""Every way a target can break its contract gets one clear line."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gan_explain.nets.classifier import ARCHITECTURES, THREE_CHANNELS, ClassifierConfig, build
from gan_explain.targets import ModuleTarget, TargetConfig, probe
from gan_explain.types import TargetError

CLASSES = ("normal", "pneumonia", "covid")


class Bad:
    """A target of a user's own, honest but for one method or attribute given to it."""

    differentiable = True
    uses_lungs = False
    operating_point = 0.5
    classes = CLASSES
    positive = ("covid",)

    def logits(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        mean = images.mean((1, 2, 3))
        return torch.stack([mean, -mean, 2 * mean], dim=1)

    def probability(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        return self.logits(images, lungs).softmax(1)[:, 2]


class Seven(Bad):
    def logits(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        return images.mean((1, 2, 3))[:, None].expand(-1, 7)


class Nan(Bad):
    def logits(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        return super().logits(images) * float("nan")


class Dropout(Bad):
    def logits(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        return super().logits(images) + torch.rand(len(images), 3)


class BatchNorm(Bad):
    def logits(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        out = super().logits(images)
        return out - out.mean(0)


class Raises(Bad):
    def logits(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        raise KeyError("conv1")


class Percent(Bad):
    def probability(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        return 100 * super().probability(images)


class Columns(Bad):
    def probability(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        return super().probability(images)[:, None]


class Detached(Bad):
    def logits(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        return super().logits(images).detach()


class Root(Bad):
    """Square root of zero: finite, with an infinite gradient."""

    def logits(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        return super().logits(images) + (images - images.detach()).abs().mean((1, 2, 3)).sqrt()[:, None]


class Half(Bad):
    def logits(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        return super().logits(images).half()


class Whole(Bad):
    def logits(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        return (100 * super().logits(images)).long()

    def probability(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        return images.mean((1, 2, 3))


class Array(Bad):
    def probability(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        return super().probability(images).numpy()  # type: ignore[return-value]


class Overwrites(Bad):
    def logits(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        root = images.sqrt()
        root.mul_(2)  # autograd needs what was there
        return super().logits(root)


class Everything(Bad):
    positive = CLASSES


class Certain(Bad):
    operating_point = 1.0


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Seven(), r"expected logits \(4, 3\), got \(4, 7\)"),
        (Nan(), "finite logits"),
        (Dropout(), "eval mode"),
        (BatchNorm(), "independent of the batch"),
        (Raises(), r"failed on images \(4, 1, 64, 64\): KeyError: 'conv1'"),
        (Percent(), r"probabilities \(4,\) in \[0, 1\], got values from .* to"),
        (Columns(), r"probabilities \(4,\) in \[0, 1\], got \(4, 1\)"),
        (Detached(), "gradient to the images, got none"),
        (Root(), "finite gradient"),
        (Half(), "logits as a tensor of float32 or float64, got float16"),
        (Whole(), "logits as a tensor of float32 or float64, got int64"),
        (Array(), "probabilities as a tensor .* got ndarray"),
        (Overwrites(), "no gradient of the target's logits: RuntimeError.*inplace"),
        (Everything(), "positive set within the classes"),
        (Certain(), "operating point"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_broken_contract_is_named(target: Bad, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        probe(target)


def test_an_honest_target_passes_and_no_random_number_is_spent() -> None:
    before = torch.get_rng_state()
    probe(Bad())
    assert torch.equal(torch.get_rng_state(), before)


class Double(Bad):
    def logits(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        return super().logits(images).double()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_precision_within_the_adapter(dtype: torch.dtype) -> None:
    probe(Double())
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).to(dtype)
    target = ModuleTarget(network, TargetConfig(classes=CLASSES, positive=("covid",), size=16, channels=1))
    assert target.logits(torch.rand(2, 1, 16, 16)).dtype == torch.float32
    probe(target)


def test_a_target_without_gradients_may_say_so() -> None:
    forward_only = Detached()
    forward_only.differentiable = False
    probe(forward_only)


def test_a_network_in_train_mode_is_put_right_by_the_adapter() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    probe(ModuleTarget(network.train(), TargetConfig(classes=CLASSES, positive=("covid",), size=16, channels=1)))


def test_a_network_for_three_channels_given_one_is_named() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    with pytest.raises(TargetError, match=r"RuntimeError.*3 channels"):
        probe(ModuleTarget(network, TargetConfig(classes=CLASSES, positive=("covid",), size=16, channels=1)))


@pytest.mark.parametrize("lungs_only", [False, True])
@pytest.mark.parametrize("arch", sorted(set(ARCHITECTURES) - {"vgg16", "vgg16_bn", "resnet50"}))
def test_our_architectures_keep_the_contract(arch: str, lungs_only: bool) -> None:
    channels = 3 if arch in THREE_CHANNELS else 1
    network = build(ClassifierConfig(arch=arch, classes=3, channels=channels))
    probe(
        ModuleTarget(
            network,
            TargetConfig(classes=CLASSES, positive=("covid",), size=64, channels=channels, lungs_only=lungs_only),
        )
    )
