"""A network of one's own as a target: what it gives is noticed, what is not declared is not read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan_explain.targets import ModuleTarget, TargetConfig, as_target, probe
from gan_explain.types import TargetError

TWO, THREE = ("normal", "covid"), ("normal", "flu", "covid")
ONE = TargetConfig(channels=1)


class Ends(nn.Module):
    """z = gain (mean - 0.5) in logits (-z, z) or z, through whatever stands at the end."""

    def __init__(self, end: Callable[[Tensor], Any], *, single: bool = False, gain: float = 4.0) -> None:
        super().__init__()
        self.end, self.single, self.gain = end, single, gain

    def forward(self, x: Tensor) -> Any:
        z = self.gain * (x.mean((1, 2, 3)) - 0.5)
        return self.end(z[:, None] if self.single else torch.stack([-z, z], 1))


def made(network: nn.Module, **more: object) -> ModuleTarget:
    return as_target(network, size=16, config=TargetConfig.model_validate({"channels": 1, **more}))


def expected(images: Tensor, odds: float = 2.0, gain: float = 4.0) -> Tensor:
    return torch.sigmoid(odds * gain * (images.mean((1, 2, 3)) - 0.5))


@pytest.mark.parametrize(
    ("network", "odds", "output"),
    [
        (Ends(lambda z: z), 2, "logits"),
        (Ends(lambda z: z.softmax(1)), 2, "probabilities"),
        (Ends(lambda z: z.log_softmax(1)), 2, "logits"),
        (Ends(torch.sigmoid, single=True), 1, "probabilities"),
        (Ends(lambda z: z, single=True), 1, "logits"),
    ],
)
def test_a_softmax_or_sigmoid_at_the_end_gets_no_second_one(network: nn.Module, odds: float, output: str) -> None:
    target = made(network)
    images = torch.rand(4, 1, 16, 16) * torch.tensor([0.1, 0.5, 0.8, 1.0]).view(4, 1, 1, 1)
    torch.testing.assert_close(target.probability(images), expected(images, odds), atol=1e-5, rtol=1e-5)
    assert target.config.output == output


@pytest.mark.parametrize("single", [True, False])
def test_saturated_logits_of_a_confident_network_are_logits(single: bool) -> None:
    target = made(Ends(lambda z: z, single=single, gain=4e4))
    assert target.config.output == "logits"
    assert target.probability(torch.tensor([0.1, 0.9]).view(2, 1, 1, 1).expand(-1, -1, 16, 16)).tolist() == [0.0, 1.0]


class Normalises(nn.Module):
    """One logit that does not depend on how large the input is, and happens to lie in [0, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return (x / x.amax((1, 2, 3), keepdim=True)).mean((1, 2, 3))[:, None]


@pytest.mark.parametrize("network", [Normalises(), Ends(lambda z: torch.sigmoid(z + 1)), Ends(lambda z: 0 * z)])
def test_what_cannot_be_told_is_asked(network: nn.Module) -> None:
    with pytest.raises(TargetError, match='declare output="probabilities" or output="logits"') as caught:
        made(network)
    assert "\n" not in str(caught.value)
    assert made(network, output="logits").config.output == "logits"


def test_a_linear_layer_at_the_end_gives_logits_wherever_they_lie() -> None:
    """A transformer normalises before its head: its logits do not grow with the input."""
    network = nn.Sequential(nn.Flatten(), nn.LayerNorm(256), nn.Linear(256, 2))
    nn.init.zeros_(network[2].weight)
    network[2].bias.data = torch.tensor([0.2, 0.7])
    assert made(network).config.output == "logits"


def test_the_probe_notices_what_was_not_declared() -> None:
    network, images = Ends(lambda z: z.softmax(1)), torch.rand(2, 1, 16, 16)
    silent = TargetConfig(classes=TWO, positive=("covid",), size=16, channels=1)
    with pytest.raises(TargetError, match='softmax or sigmoid: declare output "probabilities"'):
        probe(ModuleTarget(network, silent))
    declared = ModuleTarget(network, silent.model_copy(update={"output": "probabilities"}))
    probe(declared)
    torch.testing.assert_close(declared.probability(images), expected(images), atol=1e-5, rtol=1e-5)

    class Own:
        classes, positive, operating_point, uses_lungs, differentiable = TWO, ("covid",), 0.5, False, True

        def logits(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
            out: Tensor = network(images)
            return out

        def probability(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
            return self.logits(images)[:, 1]

    with pytest.raises(TargetError, match="expected logits, got values in .* that sum to one: return their log"):
        probe(Own())


@dataclass
class Answer:
    logits: Tensor


@pytest.mark.parametrize("wrap", [lambda z: {"logits": z, "loss": None}, lambda z: (z, None), Answer])
def test_logits_in_a_dictionary_tuple_or_object_are_taken(wrap: Callable[[Tensor], Any]) -> None:
    images = torch.rand(2, 1, 16, 16)
    torch.testing.assert_close(made(Ends(wrap)).probability(images), expected(images))
    with pytest.raises(TargetError, match="expected a tensor of logits .* got dict"):
        made(Ends(lambda z: {"scores": z}))


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (Ends(lambda z: 100 * z.softmax(1)), "got percentages"),
        (Ends(lambda z: nn.functional.logsigmoid(z + 1)), "got logs of sigmoids"),
        (Ends(nn.functional.logsigmoid, single=True), "got logs of sigmoids"),
        (Ends(lambda z: z.argmax(1)), "got one of int64"),
    ],
)
def test_what_is_neither_logits_nor_probabilities_is_refused(network: nn.Module, says: str) -> None:
    with pytest.raises(TargetError, match=says):
        made(network)


def test_a_log_softmax_is_logits() -> None:
    images = torch.rand(2, 1, 16, 16)
    torch.testing.assert_close(made(Ends(lambda z: z.log_softmax(1))).probability(images), expected(images))


def test_what_is_not_finite_is_refused_whenever_it_comes() -> None:
    """A network that fails on dark images alone, which the probe does not show it."""
    target = made(Ends(lambda z: z / (z.abs() < 1.9)))
    assert bool(torch.isfinite(target.logits(torch.full((1, 1, 16, 16), 0.5))).all())
    with pytest.raises(TargetError, match="expected finite logits, got NaN or infinity"):
        target.probability(torch.zeros(1, 1, 16, 16))


@pytest.mark.parametrize("given", [{"mean": (123.7, 116.3, 103.5), "std": 58.4}, {"mean": 0, "std": 255}])
def test_mean_and_std_are_of_images_in_the_unit_range(given: dict[str, Any]) -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    with pytest.raises(TargetError, match=r"mean and std of images in \[0, 1\], got .* divide those of values up to 255 by 255"):
        as_target(network, size=16, **given)
    assert as_target(network, size=16, mean=0.5, std=0.2).config.mean == (0.5,)


@pytest.mark.parametrize("network", ["resnet50", lambda x: x, None])
def test_what_is_no_network_is_named(network: Any) -> None:
    with pytest.raises(TypeError, match=r"expected a network \(torch.nn.Module\), got"):
        as_target(network)


@pytest.mark.parametrize("fault", [1.01, -0.01, float("nan"), float("inf")])
def test_logits_are_of_images_in_range_alone(fault: float) -> None:
    target, images = made(Ends(lambda z: z)), torch.rand(2, 1, 16, 16)
    images[1, 0, 3, 4] = fault
    for call in (target.logits, target.probability):
        with pytest.raises(ValueError, match=r"expected finite images in \[0, 1\], got") as caught:
            call(images)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("images", [torch.rand(2, 3, 16, 16), torch.rand(16, 16), torch.zeros(1, 1, 16, 16, dtype=torch.uint8)])
def test_logits_are_of_images_of_one_shape_and_kind(images: Tensor) -> None:
    with pytest.raises(ValueError, match="expected"):
        made(Ends(lambda z: z)).logits(images)


@pytest.fixture
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )


def test_inherited_precision_is_no_matter(double: None) -> None:
    for network in (convolutional(), convolutional().float()):
        target = as_target(network, size=16, config=ONE)
        assert target.logits(torch.rand(2, 1, 20, 20, dtype=torch.float32)).dtype == torch.float32


def test_inference_mode_is_no_matter() -> None:
    network = convolutional()
    with torch.inference_mode():
        target, images = as_target(network, size=16, config=ONE), torch.rand(2, 1, 20, 20)
        probe(target)
        inside = target.logits(images)
    torch.testing.assert_close(target.logits(images.clone()), inside)


def test_a_network_put_back_into_train_mode_answers_all_the_same() -> None:
    network, images = convolutional().train(), torch.rand(2, 1, 20, 20)
    target = as_target(network, size=16, config=ONE)
    before = target.logits(images)
    network.train()  # by whoever holds it too
    assert torch.equal(target.logits(images), before)


def test_images_on_another_device_are_named() -> None:
    with pytest.raises(ValueError, match="expected images on cpu, where the target is, got meta"):
        as_target(convolutional(), size=16, config=ONE).logits(torch.rand(1, 1, 16, 16, device="meta"))


def test_what_is_used_is_said_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "gan_explain")
    as_target(convolutional(), size=16, fit="pad", std=(0.5,), config=ONE)
    [line] = [record.getMessage() for record in caplog.records]
    assert "size 16" in line
    assert "fit pad" in line
    assert "std (0.5,)" in line
    assert "output logits" in line
