"""The map of a CXR-Net as a heat-map method: it is the network's own, laid over the image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gan_explain.attribution import METHODS, Method, MethodOptions
from gan_explain.attribution.cxrnet import CxrNetMap
from gan_explain.attribution.grad_cam import GradCam
from gan_explain.data import open_dataset
from gan_explain.metrics.pointing import relevance_mass
from gan_explain.nets.classifier import ClassifierConfig, build
from gan_explain.nets.cxrnet import CxrNet, CxrNetConfig
from gan_explain.targets import ModuleTarget, TargetConfig, resolve_target
from gan_explain.types import TargetError

CLASSES = ("normal", "pneumonia", "covid")


class Bright(nn.Module):
    """In the place of the decoder: the map of class k is sigmoid(8 (k + 1) (x - 0.5)) of the features, which are the image."""

    def forward(self, features: list[Tensor]) -> Tensor:
        return torch.cat([8 * (k + 1) * (features[0] - 0.5) for k in range(3)], dim=1)


class Still(nn.Module):
    """In the place of an encoder: the image as its own features, logits that do not depend on it."""

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        return [x], torch.tensor([[0.5, 0.3, 0.2]]).log().expand(len(x), -1)


def solved(**options: object) -> ModuleTarget:
    network = CxrNet(CxrNetConfig(classes=3, width=4, second_width=4, decoder_widths=(4, 4, 4)))
    network.first, network.decoder, network.second = Still(), Bright(), Still()  # type: ignore[assignment]
    own = {key: options.pop(key) for key in ("segmenter", "differentiable") if key in options}
    settings: dict[str, object] = {"positive": ("covid",), "size": 16} | options
    config = TargetConfig.model_validate({"channels": 1, "classes": CLASSES, **settings})
    return ModuleTarget(network, config, **own)  # type: ignore[arg-type]


def by_hand(x: Tensor, k: int) -> Tensor:
    return torch.sigmoid(8 * (k + 1) * (x - 0.5))


def test_it_is_the_map_of_the_positive_class() -> None:
    x = torch.rand(2, 1, 16, 16)
    method = METHODS["cxrnet"].of(MethodOptions())
    assert isinstance(method, Method)
    torch.testing.assert_close(method.attribute(x, solved()), by_hand(x, 2))
    both = (0.3 * by_hand(x, 1) + 0.2 * by_hand(x, 2)) / 0.5
    torch.testing.assert_close(method.attribute(x, solved(positive=("covid", "pneumonia"))), both)


def test_any_class_may_be_asked_for() -> None:
    x = torch.rand(3, 1, 16, 16)
    explain = CxrNetMap().as_quantus()
    found = explain(solved(), x.numpy(), [0, 2, 1])
    expected = torch.cat([by_hand(x[i : i + 1], k) for i, k in enumerate((0, 2, 1))])
    torch.testing.assert_close(torch.from_numpy(found), expected)


def test_the_map_of_a_cut_lies_where_the_cut_was() -> None:
    x, lungs = torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)
    x[..., 10:14, 18:22] = 1
    lungs[..., 4:20, 12:28] = 1
    heat = CxrNetMap().attribute(x, solved(crop=1.0), lungs)
    assert bool((heat[..., 10:14, 18:22] > 0.95).all())
    assert float(heat[..., 22:, :].max()) == 0  # the network does not see it
    assert float(heat[..., 4:9, 12:28].max()) < 0.01
    read = solved(crop=1.0, segmenter=lambda images: lungs)
    torch.testing.assert_close(CxrNetMap().attribute(x, read), heat)


def test_heat_has_the_size_of_the_image_and_needs_no_gradient() -> None:
    target = ModuleTarget(
        build(ClassifierConfig(arch="cxrnet")), TargetConfig(positive=("covid",), size=32, channels=1), differentiable=False
    )
    heat = CxrNetMap().attribute(torch.rand(2, 1, 48, 48), target)
    assert heat.shape == (2, 1, 48, 48)
    assert 0 <= float(heat.min()) < float(heat.max()) <= 1


def test_another_network_is_refused() -> None:
    target = ModuleTarget(build(ClassifierConfig()), TargetConfig(positive=("covid",), size=32, channels=1))
    with pytest.raises(TargetError, match=r"expected a target that is a CXR-Net .*, got a SmallResNet"):
        CxrNetMap().attribute(torch.rand(1, 1, 32, 32), target)
    with pytest.raises(ValueError, match=r"expected images \(N, 1, H, W\)"):
        CxrNetMap().attribute(torch.rand(1, 3, 32, 32), target)


def test_the_shipped_map_lies_on_the_lesions_of_new_phantoms_where_grad_cam_does_not() -> None:
    data = open_dataset("phantom:n=40", size=64, seed=77).where(lambda record: record.label == "covid")
    batch = data.batch()
    target = resolve_target("checkpoint:phantom64-cxrnet")
    assert batch.lesion is not None
    own, cam = (relevance_mass(method.attribute(batch.images, target), batch.lesion) for method in (CxrNetMap(), GradCam()))
    assert float(own.mean()) > 0.55
    assert bool((own > cam).all())
