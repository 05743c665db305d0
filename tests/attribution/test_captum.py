"""Integrated gradients, gradient x input and occlusion: captum's own results, and the properties that define them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients, LayerGradCam, Occlusion
from torch import Tensor, nn

from gan_explain.attribution import METHODS, MethodOptions, gradients
from gan_explain.attribution.occlusion import blurred, window
from gan_explain.nets.classifier import ClassifierConfig, build
from gan_explain.targets import ModuleTarget, TargetConfig
from gan_explain.types import TargetError

SIZE = 32
NAMES = ("integrated_gradients", "gradient_x_input", "occlusion")


def untrained(**options: object) -> ModuleTarget:
    torch.manual_seed(1)
    own = {key: options.pop(key) for key in ("segmenter", "differentiable") if key in options}
    settings: dict[str, object] = {"classes": ("normal", "pneumonia", "covid"), "positive": ("covid",), "size": SIZE} | options
    config = TargetConfig.model_validate({"channels": 1, **settings})
    return ModuleTarget(build(ClassifierConfig(arch="small", classes=3, channels=1)), config, **own)  # type: ignore[arg-type]


def heat(name: str, x: Tensor, target: ModuleTarget, lungs: Tensor | None = None) -> Tensor:
    return METHODS[name].of(MethodOptions()).attribute(x, target, lungs)


def test_maps_are_captums_own() -> None:
    """The log-odds of one class out of three, written out, with captum called directly."""
    target, x = untrained(), torch.rand(2, 1, SIZE, SIZE)

    def forward(images: Tensor) -> Tensor:
        z = target.logits(images).double()
        return z[:, 2] - z[:, :2].logsumexp(1)

    given = x.clone().requires_grad_()
    patch, stride = window(SIZE)
    assert (patch, stride) == (4, 2)
    own = {
        "integrated_gradients": IntegratedGradients(forward).attribute(given, 0, n_steps=gradients.STEPS),
        "gradient_x_input": InputXGradient(forward).attribute(given),
        "occlusion": Occlusion(forward).attribute(x, (1, patch, patch), (1, stride, stride), blurred(x)),
    }
    for name, expected in own.items():
        found = heat(name, x, target)
        assert torch.allclose(found, expected.float(), rtol=1e-4, atol=1e-6), name
        assert float(found.abs().max()) > 1e-4, name
    cells = LayerGradCam(forward, target.network.features).attribute(given, relu_attributions=True)
    large = torch.nn.functional.interpolate(cells.float(), (SIZE, SIZE), mode="bilinear", align_corners=False)
    assert torch.allclose(heat("grad_cam", x, target), large, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("lungs_only", [False, True])
def test_integrated_gradients_are_complete(lungs_only: bool) -> None:
    lungs = torch.zeros(3, 1, SIZE, SIZE)
    lungs[..., 4:28, 4:28] = 1
    target, x = untrained(lungs_only=lungs_only), torch.rand(3, 1, SIZE, SIZE)
    found = heat("integrated_gradients", x, target, lungs).double().sum((1, 2, 3))
    with torch.no_grad():
        odds = [(z := target.logits(each, lungs).double())[:, 2] - z[:, :2].logsumexp(1) for each in (x, torch.zeros_like(x))]
    gained = odds[0] - odds[1]
    assert torch.allclose(found, gained, rtol=0.02, atol=0.02 * float(gained.abs().max()))
    note = METHODS["integrated_gradients"].of(MethodOptions()).note(x, target, lungs)
    assert f"{float(gained[0]):+.2f}" in note


class Sum(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        z = x.flatten(1).sum(1)
        return torch.stack([torch.zeros_like(z), z], 1)


def test_a_linear_network_is_solved_on_paper() -> None:
    """z = sum of x: each pixel is worth its own value, from black; and as much as it stands above what covers it."""
    target = ModuleTarget(Sum(), TargetConfig(classes=("normal", "covid"), positive=("covid",), size=SIZE, channels=1))
    x = torch.rand(2, 1, SIZE, SIZE)
    assert torch.allclose(heat("integrated_gradients", x, target), x, atol=1e-5)
    assert torch.allclose(heat("gradient_x_input", x, target), x, atol=1e-6)
    bright = torch.full((1, 1, SIZE, SIZE), 0.3)
    bright[..., 8:12, 20:24] = 0.9
    covered = heat("occlusion", bright, target)
    assert divmod(int(covered.flatten().argmax()), SIZE)[0] in range(8, 12)
    assert divmod(int(covered.flatten().argmax()), SIZE)[1] in range(20, 24)
    alone = (bright - blurred(bright))[..., 8:12, 20:24].sum()  # what the one patch that hides it all takes away
    assert float(covered.max()) <= float(alone) + 1e-4
    assert torch.allclose(heat("occlusion", torch.full_like(bright, 0.3), target), torch.zeros_like(bright), atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_lungs_are_held(name: str) -> None:
    """One mask for every image that a method makes: with a segmenter that looks at them, the masks would differ."""
    lungs = torch.zeros(2, 1, SIZE, SIZE)
    lungs[0, :, :, :16], lungs[1, :, :, 16:] = 1, 1
    x = torch.where(lungs > 0, 0.5 + 0.5 * torch.rand_like(lungs), 0.1)
    target = untrained(lungs_only=True, segmenter=lambda images: (images > 0.45).float())
    found = heat(name, x, target)
    assert torch.equal(found, heat(name, x, target, lungs))
    alone = torch.cat([heat(name, x[i : i + 1], target, lungs[i : i + 1]) for i in range(2)])
    assert torch.allclose(found, alone, rtol=1e-3, atol=1e-5)
    if name != "occlusion":  # a patch on the border hides pixels of both sides
        assert bool((found[lungs == 0] == 0).all())


def test_only_occlusion_does_without_gradients() -> None:
    target, x = untrained(differentiable=False), torch.rand(1, 1, SIZE, SIZE)
    for name in ("integrated_gradients", "gradient_x_input"):
        with pytest.raises(TargetError, match=f"{name} needs a target with gradients"):
            heat(name, x, target)
    assert torch.equal(heat("occlusion", x, target), heat("occlusion", x, untrained()))


@pytest.mark.parametrize("name", NAMES)
def test_quantus_asks_for_classes_and_nothing_is_left_behind(name: str) -> None:
    target, x = untrained(), torch.rand(2, 1, SIZE, SIZE)
    method = METHODS[name].of(MethodOptions())
    explain = method.as_quantus()
    found = explain(target, x.numpy(), np.array([2, 0]))
    assert np.allclose(found[0], method.attribute(x, target)[0].numpy(), rtol=1e-4, atol=1e-6)
    assert not np.allclose(found[1], method.attribute(x, target)[1].numpy(), rtol=1e-2, atol=1e-5)
    assert not x.requires_grad
    assert all(parameter.grad is None for parameter in target.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in target.modules())
    assert isinstance(method.note(x, target), str)
    with pytest.raises(ValueError, match=r"\(N, 1, H, W\)"):
        method.attribute(x[0], target)


@pytest.mark.parametrize("name", ["integrated_gradients", "gradient_x_input"])
def test_a_gradient_that_is_not_finite_is_said(name: str) -> None:
    class Broken(Sum):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + torch.sqrt(x.sum() * 0)

    target = ModuleTarget(Broken(), TargetConfig(classes=("normal", "covid"), positive=("covid",), size=SIZE, channels=1))
    with pytest.raises(TargetError, match=f"{name}: expected finite heat"):
        heat(name, torch.rand(1, 1, SIZE, SIZE), target)


def test_patches_grow_with_the_image() -> None:
    assert [window(side) for side in (64, 128, 224, 8)] == [(8, 4), (16, 8), (28, 14), (1, 1)]
