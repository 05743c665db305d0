"""The adapter on networks that can be solved on paper."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gan_explain import spectrum
from gan_explain.files.checkpoints import load_part, save_part
from gan_explain.nets.classifier import ClassifierConfig, build
from gan_explain.targets import ModuleTarget, Preparation, TargetConfig, probe, target_from_part
from gan_explain.types import CheckpointError, Target, TargetError


class Mean(nn.Module):
    """Logits k * mean of the input, for k = 0 ... classes - 1; keeps what it was shown."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(float(classes)))
        self.seen = torch.empty(0)

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x
        return x.mean((1, 2, 3))[:, None] * self.weight  # (N, C, H, W) -> (N, K)


class Single(Mean):
    """One logit, four times the mean, as (N,) or (N, 1)."""

    def __init__(self, columns: bool) -> None:
        super().__init__()
        self.columns = columns

    def forward(self, x: Tensor) -> Tensor:
        z = 4 * x.mean((1, 2, 3))
        return z[:, None] if self.columns else z


def target(network: nn.Module | None = None, **options: object) -> ModuleTarget:
    own = {key: options.pop(key) for key in ("segmenter", "differentiable") if key in options}
    settings = {"classes": ("normal", "covid"), "positive": ("covid",), "size": 8, "channels": 1} | options
    config = TargetConfig.model_validate(settings)
    return ModuleTarget(network or Mean(len(config.classes)), config, **own)  # type: ignore[arg-type]


def test_whole_image_is_resized_standardised_and_repeated() -> None:
    network = Mean()
    adapter = target(network, channels=3, mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0))
    adapter.logits(torch.full((2, 1, 32, 32), 0.7))
    assert network.seen.shape == (2, 3, 8, 8)
    for channel, expected in enumerate((1.2, 0.5, 0.2)):
        torch.testing.assert_close(network.seen[:, channel], torch.full((2, 8, 8), expected))


def test_probability_is_the_softmax_of_the_positive_set() -> None:
    adapter = target(Mean(3), classes=("normal", "pneumonia", "covid"), positive=("covid", "pneumonia"))
    p = adapter.probability(torch.full((1, 1, 8, 8), 1.0))
    terms = [math.exp(k) for k in range(3)]
    assert float(p) == pytest.approx((terms[1] + terms[2]) / sum(terms), abs=1e-6)


def test_temperature_divides_the_logits() -> None:
    images = torch.rand(3, 1, 8, 8)
    torch.testing.assert_close(target(temperature=4.0).logits(images) * 4, target().logits(images))


@pytest.mark.parametrize("columns", [False, True])
def test_a_single_logit_belongs_to_the_second_class(columns: bool) -> None:
    adapter = ModuleTarget(Single(columns), TargetConfig(positive=("covid",), size=8, channels=1))
    assert adapter.classes == ("negative", "covid")
    images = torch.full((1, 1, 8, 8), 0.5)
    torch.testing.assert_close(adapter.logits(images), torch.tensor([[0.0, 2.0]]))
    assert float(adapter.probability(images)) == pytest.approx(1 / (1 + math.exp(-2)), abs=1e-6)
    reverse = ModuleTarget(Single(columns), TargetConfig(classes=("covid", "normal"), positive=("covid",), size=8, channels=1))
    assert float(reverse.probability(images)) == pytest.approx(1 / (1 + math.exp(2)), abs=1e-6)


def half_lungs(n: int, size: int) -> Tensor:
    lungs = torch.zeros(n, 1, size, size)
    lungs[..., : size // 2] = 1
    return lungs


def test_lungs_only_has_zero_mean_and_unit_variance_inside_and_nothing_outside() -> None:
    prepare = Preparation(TargetConfig(size=16, channels=3, lungs_only=True))
    x = prepare(torch.rand(4, 1, 16, 16) * torch.tensor([0.1, 0.5, 0.9, 1.0]).view(4, 1, 1, 1), half_lungs(4, 16))
    inside = x[..., :8].flatten(2)
    torch.testing.assert_close(inside.mean(2), torch.zeros(4, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(inside[1:].std(2, correction=0), torch.ones(3, 3), atol=5e-3, rtol=0)
    assert bool((x[..., 8:] == 0).all())


def test_lungs_only_does_not_see_the_outside_nor_exposure_inside() -> None:
    prepare = Preparation(TargetConfig(size=16, channels=1, lungs_only=True))
    lungs, image = half_lungs(1, 16), 0.2 + 0.5 * torch.rand(1, 1, 16, 16)
    other = torch.where(lungs > 0, image, torch.rand(1, 1, 16, 16))
    assert torch.equal(prepare(image, lungs), prepare(other, lungs))
    torch.testing.assert_close(prepare(image * 1.2 + 0.1, lungs), prepare(image, lungs), atol=5e-3, rtol=0)


def test_empty_mask_gives_zeros_and_a_finite_gradient() -> None:
    images = torch.rand(2, 1, 16, 16, requires_grad=True)
    out = Preparation(TargetConfig(size=8, channels=1, lungs_only=True))(images, torch.zeros(2, 1, 16, 16))
    out.sum().backward()
    assert bool((out == 0).all())
    assert images.grad is not None
    assert bool(torch.isfinite(images.grad).all())


@pytest.mark.parametrize("lungs_only", [False, True])
def test_gradient_agrees_with_finite_differences(lungs_only: bool) -> None:
    prepare = Preparation(TargetConfig(size=4, channels=1, mean=(0.3,), std=(0.5,), lungs_only=lungs_only)).double()
    images = torch.rand(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    lungs = half_lungs(1, 8).double()
    assert torch.autograd.gradcheck(lambda x: prepare(x, lungs), images)


@pytest.mark.parametrize("lungs_only", [False, True])
def test_a_spectrum_target_is_shown_the_standardised_log_magnitude(lungs_only: bool) -> None:
    images, lungs = torch.rand(2, 1, 32, 32), half_lungs(2, 32)
    network = Mean()
    adapter = target(network, channels=3, mean=(0.5,), size=16, domain="spectrum", lungs_only=lungs_only)
    adapter.logits(images, lungs)
    shown = Preparation(TargetConfig(size=16, channels=1, mean=(0.5,), lungs_only=lungs_only))(images, lungs)
    expected = spectrum.standardised(spectrum.log_magnitude(shown)).expand(-1, 3, -1, -1)
    torch.testing.assert_close(network.seen, expected)
    assert adapter.config.domain == "spectrum"


def test_gradient_through_the_spectrum_agrees_with_finite_differences() -> None:
    prepare = Preparation(TargetConfig(size=4, channels=1, mean=(0.3,), std=(0.5,), domain="spectrum")).double()
    images = torch.rand(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(prepare, images)


def test_frozen_and_in_eval_mode_whatever_train_is_told() -> None:
    network = build(ClassifierConfig(classes=2))
    network.train()
    adapter = target(network, size=32)
    adapter.train()
    assert not any(module.training for module in adapter.modules())
    assert not any(parameter.requires_grad for parameter in adapter.parameters())
    assert isinstance(adapter, Target)


def test_the_segmenter_is_asked_only_where_no_mask_is_given() -> None:
    calls = []

    def segmenter(images: Tensor) -> Tensor:
        calls.append(torch.is_grad_enabled())
        return half_lungs(len(images), images.shape[-1])

    images = torch.rand(2, 1, 8, 8)
    adapter = target(lungs_only=True, segmenter=segmenter)
    torch.testing.assert_close(adapter.logits(images), adapter.logits(images, half_lungs(2, 8)))
    assert calls == [False]  # once, as a constant
    with pytest.raises(TargetError, match="a lung mask or a segmenter"):
        target(lungs_only=True).logits(images)


def test_another_positive_set_shares_the_network_and_drops_the_operating_point() -> None:
    options = {"size": 16, "channels": 3, "mean": (0.1, 0.2, 0.3), "std": (2.0,), "temperature": 3.0, "operating_point": 0.3}
    adapter = target(Mean(3), classes=("a", "b", "c"), positive=("c",), **options)
    other = adapter.with_positive(("b", "c"))
    images = torch.rand(2, 1, 20, 20)
    assert torch.equal(other.logits(images), adapter.logits(images))
    assert other.network is adapter.network
    assert (adapter.operating_point, other.operating_point) == (0.3, 0.5)
    assert adapter.with_positive(("c",)) is adapter


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positive": ("flu",)}, "within the classes normal, covid, got flu"),
        ({"positive": ("normal", "covid")}, "within the classes"),
        ({"positive": ()}, "got none"),
        ({"classes": ("covid", "covid")}, "different classes"),
        ({"mean": (0.1, 0.2)}, "expected 1 or 1 values of mean, got 2"),
        ({"std": (0.0,)}, "above 0"),
        ({"operating_point": 1.0}, "operating point"),
        ({"temperature": 0.0}, "temperature"),
    ],
)
def test_parts_that_do_not_fit_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(TargetError, match=message):
        target(**options)


def test_a_wrong_number_of_logits_is_named() -> None:
    with pytest.raises(TargetError, match=r"expected logits \(4, 3\), got \(4, 7\)"):
        ModuleTarget(Mean(7), TargetConfig(classes=("a", "b", "c"), positive=("c",), size=8, channels=1)).logits(
            torch.rand(4, 1, 8, 8)
        )
    with pytest.raises(ValueError, match=r"expected images \(N, 1, H, W\) in \[0, 1\], got \(4, 3, 8, 8\)"):
        target().logits(torch.rand(4, 3, 8, 8))


def test_a_saved_target_comes_back_the_same(tmp_path: Path) -> None:
    network = build(ClassifierConfig(arch="small", classes=3, channels=1))
    saved = ModuleTarget(
        network,
        TargetConfig(
            classes=("normal", "pneumonia", "covid"),
            positive=("covid",),
            size=32,
            mean=(0.4,),
            std=(0.25,),
            operating_point=0.37,
            temperature=1.5,
            channels=1,
        ),
    )
    stored = saved.config.model_copy(update={"arch": "small"}).model_dump(mode="json")
    save_part(tmp_path / "mine", "target", "target", stored, saved.network.state_dict())
    back = target_from_part(load_part(tmp_path / "mine", "target"))
    images = torch.rand(2, 1, 48, 48)
    assert torch.equal(back.logits(images), saved.logits(images))
    assert (back.classes, back.positive, back.operating_point) == (saved.classes, saved.positive, 0.37)
    probe(back)


def test_a_part_of_another_kind_or_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    save_part(tmp_path / "a", "target", "segmenter", {}, {"x": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="kind 'target', got 'segmenter'"):
        target_from_part(load_part(tmp_path / "a", "target"))
    save_part(tmp_path / "b", "target", "target", {"arch": "small", "colour": "blue"}, {"x": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="colour"):
        target_from_part(load_part(tmp_path / "b", "target"))
    save_part(tmp_path / "c", "target", "target", {"arch": "huge", "classes": ["a", "covid"]}, {"x": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="unknown architecture 'huge'"):
        target_from_part(load_part(tmp_path / "c", "target"))
