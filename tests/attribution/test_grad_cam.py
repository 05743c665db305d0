"""Grad-CAM on a network that is solved on paper, and on every architecture that can be trained."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.attribution import METHODS, GradCam, MethodOptions
from gan_explain.attribution.base import explained_set, log_odds
from gan_explain.attribution.layers import feature_map, watched
from gan_explain.metrics.pointing import pointing_game
from gan_explain.nets.classifier import ARCHITECTURES, THREE_CHANNELS, ClassifierConfig, build
from gan_explain.nets.efficientnet_lite import VARIANTS
from gan_explain.targets import ModuleTarget, TargetConfig
from gan_explain.types import Explainer, TargetError

SIZE = 4
THREE = ("normal", "pneumonia", "covid")


class Paper(nn.Module):
    """A^k = relu(w_k x), z = V mean(A): with two classes y = z_1 - z_0, so a_k = (V_1k - V_0k) / HW."""

    def __init__(
        self, weights: Sequence[float] = (1.0, -1.0), head: Sequence[Sequence[float]] = ((0.0, 0.0), (32.0, 8.0))
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, len(weights), 1, bias=False)
        self.activation = nn.ReLU(inplace=True)
        self.head = nn.Linear(len(weights), len(head), bias=False)
        self.convolution.weight.data = torch.tensor(weights).view(-1, 1, 1, 1)
        self.head.weight.data = torch.tensor(head)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.activation(self.convolution(x))  # (N, 1, H, W) -> (N, K, H, W)
        logits: Tensor = self.head(maps.mean((2, 3)))
        return logits


def target(network: nn.Module, classes: Sequence[str] = ("normal", "covid"), **options: object) -> ModuleTarget:
    own = {key: options.pop(key) for key in ("segmenter", "differentiable") if key in options}
    settings: dict[str, object] = {"positive": tuple(classes[1:]), "size": SIZE, "mean": (0.5,)} | options
    config = TargetConfig.model_validate({"channels": 1, "classes": classes, **settings})
    return ModuleTarget(network, config, **own)  # type: ignore[arg-type]


def test_heat_is_that_of_the_paper() -> None:
    x = torch.rand(3, 1, SIZE, SIZE)
    z = x - 0.5
    by_hand = (32 * z.clamp(min=0) + 8 * (-z).clamp(min=0)) / SIZE**2
    assert torch.allclose(GradCam().attribute(x, target(Paper())), by_hand, atol=1e-6)


def test_what_speaks_against_is_cut_off() -> None:
    x = torch.rand(2, 1, SIZE, SIZE)
    z = x - 0.5
    net = Paper(head=((0.0, 0.0), (16.0, -16.0)))
    assert torch.allclose(GradCam().attribute(x, target(net)), z.clamp(min=0), atol=1e-6)
    assert bool((GradCam().attribute(x, target(Paper(head=((0.0, 0.0), (-1.0, -1.0))))) == 0).all())


def test_heat_explains_the_log_odds_of_the_whole_positive_set() -> None:
    """Two positive classes with equal logits: the union's log-odds follow their common part."""
    x = torch.rand(2, 1, SIZE, SIZE)
    union = target(Paper(head=((0.0, 0.0), (16.0, 0.0), (16.0, 0.0))), THREE)
    assert torch.allclose(GradCam().attribute(x, union), (x - 0.5).clamp(min=0), atol=1e-6)
    canceling = target(Paper(head=((0.0, 0.0), (16.0, 0.0), (-16.0, 0.0))), THREE)
    heat, z = GradCam().attribute(x, canceling), (x - 0.5).clamp(min=0)
    slope = torch.tanh(16 * z.mean((1, 2, 3)))  # of log(e^a + e^-a), a = 16 mean(A)
    assert torch.allclose(heat, z * slope.view(-1, 1, 1, 1), atol=1e-5)


def test_log_odds_do_not_saturate() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0], [0.0, 50.0, 200.0]], dtype=torch.float64)
    chosen = torch.tensor([[False, True, True]]).expand(2, -1)
    p = logits.softmax(1)[0, 1:].sum()
    assert log_odds(logits, chosen)[0].item() == pytest.approx(math.log(p / (1 - p)))
    assert log_odds(logits, chosen)[1].item() == pytest.approx(200)


def test_heat_has_the_size_of_the_image() -> None:
    x = torch.rand(1, 1, 3 * SIZE, 3 * SIZE)
    small = F.interpolate(x, (SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False)
    cells = GradCam().attribute(small, target(Paper()))
    grown = F.interpolate(cells, (3 * SIZE, 3 * SIZE), mode="bilinear", align_corners=False)
    assert torch.allclose(GradCam().attribute(x, target(Paper())), grown, atol=1e-6)


def test_heat_points_at_the_evidence_and_not_at_the_batch() -> None:
    images = torch.full((4, 1, 64, 64), 0.5)
    places = [(8, 8), (8, 48), (40, 16), (48, 48)]
    mask = torch.zeros_like(images)
    for i, (row, column) in enumerate(places):
        images[i, 0, row : row + 8, column : column + 8] = 1.0
        mask[i, 0, row : row + 8, column : column + 8] = 1.0
    net = target(Paper(), size=16)
    together = GradCam().attribute(images, net)
    assert bool(pointing_game(together, mask).all())
    alone = torch.cat([GradCam().attribute(images[i : i + 1], net) for i in range(4)])
    assert torch.allclose(together, alone, atol=1e-6)


def test_a_lungs_only_target_is_asked_with_its_mask() -> None:
    x, lungs = torch.rand(2, 1, SIZE, SIZE), torch.zeros(2, 1, SIZE, SIZE)
    lungs[:, :, :, :2] = 1
    net = target(Paper(), lungs_only=True)
    heat = GradCam().attribute(x, net, lungs)
    assert bool((heat[..., 2:] == 0).all())
    assert bool((heat[..., :2] > 0).any())
    segmented = target(Paper(), lungs_only=True, segmenter=lambda images: lungs[:1].expand_as(images))
    assert torch.equal(GradCam().attribute(x, segmented), heat)


def test_nothing_is_left_on_the_target() -> None:
    net = target(Paper())
    x = torch.rand(1, 1, SIZE, SIZE)
    with torch.no_grad():
        heat = GradCam().attribute(x, net)
    assert not heat.requires_grad
    assert not x.requires_grad
    assert all(p.grad is None and not p.requires_grad for p in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())


def test_hooks_go_when_the_network_raises() -> None:
    class Fails(Paper):
        def forward(self, x: Tensor) -> Tensor:
            super().forward(x)
            raise RuntimeError("trouble")

    net = Fails()
    with pytest.raises(RuntimeError, match="trouble"), watched(net, lambda name, output: None):
        net(torch.rand(1, 1, SIZE, SIZE))
    assert not any(module._forward_hooks for module in net.modules())


LAST = {
    "small": ("features", 4),
    "small_vgg": ("features", 2),
    "small_inception": ("blocks.2", 4),
    "small_dense": ("net.features", 2),
    "resnet18": ("layer4", 2),
    "resnet50": ("layer4", 2),
    "vgg16": ("features.29", 4),
    "vgg16_bn": ("features.42", 4),
    "efficientnet_b0": ("features", 2),
    "multi_unet": ("unet.down.2", 4),
    "multi_unet_lite0": ("unet.encoder.levels.3", 4),
    "cxrnet": ("second.stages.3", 4),
    "cxrnet_lite0": ("first.features.levels.3", 4),
    **dict.fromkeys(VARIANTS, ("features.top", 2)),
    **{f"{variant}_c4": ("features.levels.3", 4) for variant in VARIANTS},
}


@pytest.mark.parametrize("arch", sorted(ARCHITECTURES))
def test_the_last_feature_map_of_every_architecture(arch: str) -> None:
    channels = 3 if arch in THREE_CHANNELS else 1
    net = target(build(ClassifierConfig(arch=arch, classes=2, channels=channels)), size=64, channels=channels)
    images = torch.rand(1, 1, 64, 64)
    name, side = LAST[arch]
    found = feature_map(net, images, None)
    assert (found.name, found.height, found.width) == (name, side, side)
    assert feature_map(net, images, None, name) == found
    heat = GradCam().attribute(images, net)
    assert heat.shape == images.shape
    assert bool((heat >= 0).all())


def test_a_layer_can_be_named() -> None:
    class Two(Paper):
        def __init__(self) -> None:
            super().__init__()
            self.before = nn.Conv2d(1, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(F.avg_pool2d(self.before(x), 2))

    net, x = target(Two()), torch.rand(1, 1, SIZE, SIZE)
    assert GradCam().note(x, net) == "layer activation, 2 × 2 cells"
    assert GradCam("before").note(x, net) == "layer before, 4 × 4 cells"
    assert not torch.equal(GradCam().attribute(x, net), GradCam("before").attribute(x, net))


class Flat(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([-x.mean((2, 3)), x.mean((2, 3))], 1)


class Fog:
    """A target that is no network."""

    classes, positive = ("normal", "covid"), ("covid",)
    operating_point, uses_lungs, differentiable = 0.5, False, True

    def logits(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        z = images.mean((1, 2, 3))
        return torch.stack([-z, z], 1)

    def probability(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        return self.logits(images).softmax(1)[:, 1]


def test_what_cannot_be_looked_into_is_said() -> None:
    x = torch.rand(1, 1, SIZE, SIZE)
    with pytest.raises(TargetError, match="grad_cam needs a target with gradients"):
        GradCam().attribute(x, target(Paper(), differentiable=False))
    with pytest.raises(TargetError, match="found none in Flat"):
        GradCam().attribute(x, target(Flat()))
    with pytest.raises(TargetError, match="torch network to look into, got Fog"):
        GradCam().attribute(x, Fog())
    with pytest.raises(TargetError, match="layer 'nowhere': .* such as convolution"):
        GradCam("nowhere").attribute(x, target(Paper()))
    with pytest.raises(TargetError, match="layer 'head'"):
        GradCam("head").note(x, target(Paper()))
    with pytest.raises(ValueError, match=r"\(N, 1, H, W\)"):
        GradCam().attribute(x[0], target(Paper()))


def test_a_gradient_that_is_not_finite_is_said() -> None:
    class Broken(Paper):
        def forward(self, x: Tensor) -> Tensor:
            z = super().forward(x)
            return z + torch.sqrt(z * 0)

    net = Broken()
    with pytest.raises(TargetError, match="finite heat"):
        GradCam().attribute(torch.rand(1, 1, SIZE, SIZE), target(net))


def test_quantus_asks_for_classes() -> None:
    net, x = target(Paper()), torch.rand(3, 1, SIZE, SIZE)
    explain = GradCam().as_quantus()
    ours = GradCam().attribute(x, net).numpy()
    assert np.array_equal(explain(net, x.numpy(), np.array([1, 1, 1]), device="cpu"), ours)
    mixed = explain(model=net, inputs=x.numpy(), targets=np.array([1, 0, 1]))
    assert np.array_equal(mixed[::2], ours[::2])
    assert (mixed[1] == 0).all()  # all the evidence is for covid
    with pytest.raises(ValueError, match="class indices below 2"):
        explain(net, x.numpy(), np.array([0, 2, 0]))
    plain = explain(Paper(), x.numpy() - 0.5, np.array([1, 1, 1]))  # any module: images as it takes them
    np.testing.assert_allclose(plain, ours, atol=1e-6)
    with pytest.raises(TargetError, match="expected an nn.Module or a target"):
        explain(object(), x.numpy(), np.array([0, 1, 0]))  # type: ignore[arg-type]


def test_methods_are_explainers_with_a_caveat() -> None:
    for name, make in METHODS.items():
        method: Explainer = make.of(MethodOptions())
        assert method.title, name
        assert len(method.caveat) > 20, name


def test_positive_set_is_a_row_an_image() -> None:
    assert explained_set(target(Paper(head=((0.0, 0.0),) * 3), THREE), None, torch.zeros(2)).tolist() == [[False, True, True]] * 2


def test_the_cells_of_a_cut_lie_where_the_cut_was() -> None:
    x, lungs = torch.full((1, 1, 32, 32), 0.5), torch.zeros(1, 1, 32, 32)
    x[..., 12:14, 22:24] = 1
    lungs[..., 8:16, 16:24] = 1
    heat = GradCam().attribute(x, target(Paper(), crop=1.0), lungs)
    spot = torch.zeros_like(x)
    spot[..., 12:14, 22:24] = 1
    assert bool(pointing_game(heat, spot, tolerance=0).all())
    assert float(heat[..., 18:, :].max()) == float(heat[..., :14].max()) == 0  # the target does not see it
