"""Heat maps of any `nn.Module` in Captum's convention: images as they are given, classes by index, a layer by name or itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient, LayerGradCam
from PIL import Image
from torch import Tensor, nn
from torchvision import models

from gan_explain.attribution import METHODS, Fem, GradCam, LungCam, Method, MethodOptions, register
from gan_explain.attribution.layers import feature_map
from gan_explain.attribution.model import PlainModel
from gan_explain.targets import TargetConfig, as_target
from gan_explain.types import TargetError

PIXELS = ("integrated_gradients", "gradient_x_input", "occlusion")
PLAIN = (*PIXELS, "grad_cam", "fem")


def network(outputs: int = 5, channels: int = 3) -> nn.Sequential:
    """A CNN of a user's own."""
    torch.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(channels, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(), nn.Conv2d(8, 6, 3))
    return nn.Sequential(features, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, outputs))


def odds(model: nn.Module, images: Tensor, *classes: int) -> Tensor:
    """Log-odds of a set of classes, written out."""
    z = model(images).double()
    others = [k for k in range(z.shape[1]) if k not in classes]
    return z[:, list(classes)].logsumexp(1) - z[:, others].logsumexp(1)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("channels", [1, 3])
def test_any_method_takes_any_module(name: str, channels: int) -> None:
    model, images = network(channels=channels).eval(), torch.randn(2, channels, 40, 32)  # as the module wants them
    heat = METHODS[name]().attribute(images, model, target=3)
    assert heat.shape == images.shape
    assert bool(torch.isfinite(heat).all())
    assert float(heat.abs().max()) > 0
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_heat_is_captums() -> None:
    model, images = network().eval(), torch.randn(2, 3, 40, 40)
    given = images.clone().requires_grad_()
    ours = METHODS["gradient_x_input"]().attribute(images, model, target=3)
    torch.testing.assert_close(ours, InputXGradient(lambda x: odds(model, x, 3)).attribute(given).float())
    cells = LayerGradCam(lambda x: odds(model, x, 1, 4), model[0][4]).attribute(given, relu_attributions=True)
    large = nn.functional.interpolate(cells.float(), (40, 40), mode="bilinear", align_corners=False)
    found = GradCam(layer="0.4").attribute(images, model, target=(1, 4))
    torch.testing.assert_close(found, large.expand_as(images), atol=1e-6, rtol=1e-4)


def test_a_class_is_an_index_a_name_or_a_set_of_them() -> None:
    model, images = network(3, 1).eval(), torch.rand(2, 1, 32, 32)
    config = TargetConfig(classes=("normal", "flu", "covid"), positive=("covid", "flu"), size=32, channels=1)
    wrapped, method = as_target(network(3, 1), config=config), METHODS["gradient_x_input"]()
    assert torch.equal(method.attribute(images, wrapped), method.attribute(images, wrapped, target=["flu", "covid"]))
    for name, index in (("normal", 0), ("covid", 2)):
        expected = method.attribute(images, model, target=index)
        torch.testing.assert_close(method.attribute(images, wrapped, target=name), expected)
        assert torch.equal(method.attribute(images, wrapped, target=index), method.attribute(images, wrapped, target=name))
    each = method.attribute(images, model, target=torch.tensor([0, 2]))
    torch.testing.assert_close(each[1:], method.attribute(images[1:], model, target=2))
    for wrong in (None, 3, -1, "covid", [], [0, 1, 2], [0, "flu"]):
        with pytest.raises(ValueError, match=r"classes to explain \(target=\) among 0, 1, 2") as caught:
            method.attribute(images, model, target=wrong)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="among normal, flu, covid, got measles"):
        method.attribute(images, wrapped, target="measles")


def test_one_output_is_its_own_class() -> None:
    model, images = network(1, 1).eval(), torch.rand(2, 1, 32, 32)
    method = METHODS["gradient_x_input"]()
    given = images.clone().requires_grad_()
    expected = InputXGradient(lambda x: model(x)[:, 0].double()).attribute(given).float()
    torch.testing.assert_close(method.attribute(images, model), expected)
    torch.testing.assert_close(method.attribute(images, model, target=0), expected)


def test_a_softmax_at_the_end_gets_no_second_one() -> None:
    logits, images = network().eval(), torch.randn(2, 3, 40, 40)
    softmax = nn.Sequential(logits, nn.Softmax(1))
    for name in ("gradient_x_input", "grad_cam"):
        one, two = (METHODS[name]().attribute(images, model, target=3) for model in (logits, softmax))
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-3)
    with pytest.raises(TargetError, match="declare output=.* gan_explain.as_target"):
        GradCam().attribute(images, nn.Sequential(logits, nn.LayerNorm(5), nn.Sigmoid()), target=3)


@pytest.mark.parametrize("name", PLAIN)
def test_train_mode_and_inference_mode_are_no_matter(name: str) -> None:
    model, images = network(), torch.randn(2, 3, 24, 24)
    expected = METHODS[name]().attribute(images, model.eval(), target=0)
    modes = {id(module): module.training for module in model.train().modules()}
    with torch.inference_mode():
        inside = torch.zeros_like(images) + images
        assert torch.equal(METHODS[name]().attribute(inside, model, target=0), expected)
    assert {id(module): module.training for module in model.modules()} == modes


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "mobilenet_v3_small", "convnext_tiny", "regnet_y_400mf"])
def test_the_last_feature_map_of_a_cnn(name: str) -> None:
    model = models.get_model(name, weights=None, num_classes=4).eval()
    images = torch.randn(1, 3, 96, 96)
    found = feature_map(PlainModel(model, images), images, None)
    assert (found.height, found.width) == (3, 3)
    heat = GradCam().attribute(images, model, target=1)
    assert heat.shape == images.shape
    assert GradCam(layer=found.name).explain(images, model, target=1).note == f"layer {found.name}, 3 × 3 cells"


def test_a_layer_is_a_module_or_a_name() -> None:
    model, images = network(), torch.randn(1, 3, 40, 40)
    by_name, by_module = (GradCam(layer=layer).attribute(images, model, target=0) for layer in ("0.0", model[0][0]))
    assert torch.equal(by_name, by_module)
    assert not torch.equal(by_name, GradCam().attribute(images, model, target=0))
    with pytest.raises(TargetError, match="layer Conv2d: expected a module of the target's network, got one that is not in it"):
        GradCam(layer=nn.Conv2d(1, 1, 1)).attribute(images, model, target=0)
    with pytest.raises(TargetError, match="layer 'features.7': expected a module of the target's network, such as 0.0, 0.4"):
        GradCam(layer="features.7").attribute(images, model, target=0)
    with pytest.raises(TargetError, match=r"layer '4': expected feature maps \(1, C, h, w\), got \(1, 5\)"):
        GradCam(layer="4").attribute(images, model, target=0)


def vit(pool: bool = False) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = models.VisionTransformer(64, 16, 3, 4, 32, 64, num_classes=4)
    nn.init.normal_(model.heads.head.weight)  # torchvision begins with zeros
    return model


def swin() -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = models.SwinTransformer([2, 2], 16, [2, 2], [2, 4], [4, 4], num_classes=4)
    return model


def test_a_vit_is_read_where_its_patches_still_count_not_at_their_embedding() -> None:
    model, images = vit(), torch.randn(2, 3, 64, 64)
    found = feature_map(PlainModel(model.eval(), images), images[:1], None)
    assert (found.name, found.axes, found.height, found.width) == ("encoder.layers.encoder_layer_2.ln_1", "tokens", 4, 4)
    heat = GradCam().attribute(images, model, target=1)
    assert heat.shape == images.shape
    assert float(heat.amax((1, 2, 3)).min()) > 0
    assert not torch.equal(heat, GradCam(layer="conv_proj").attribute(images, model, target=1))
    # by hand: tokens without the class token, row by row
    kept: dict[str, Tensor] = {}
    layer = model.get_submodule(found.name)
    layer.register_forward_hook(lambda module, given, output: kept.update(a=output))
    y = odds(model, images.clone().requires_grad_(), 1).sum()
    [slope] = torch.autograd.grad(y, kept["a"])
    a, g = (each[:, 1:].reshape(2, 4, 4, 32) for each in (kept["a"], slope))
    cells = (a * g.mean((1, 2), keepdim=True)).sum(3).relu()[:, None].detach()
    large = nn.functional.interpolate(cells, (64, 64), mode="bilinear", align_corners=False)
    torch.testing.assert_close(heat[:, :1], large, atol=1e-6, rtol=1e-4)
    assert METHODS["fem"]().attribute(images, model, target=1).shape == images.shape


def test_a_swin_is_read_at_its_last_map_whose_channels_are_last() -> None:
    model, images = swin(), torch.randn(2, 3, 64, 64)
    found = feature_map(PlainModel(model.eval(), images), images[:1], None)
    assert (found.name, found.height, found.width, found.channels) == ("permute", 16, 16, 32)
    block = feature_map(PlainModel(model, images), images[:1], None, "features.3")
    assert (block.axes, block.height, block.channels) == ("last", 16, 32)
    assert feature_map(PlainModel(model, images), images[:1], None, "norm").axes == "last"
    channels_first = GradCam(layer="permute").attribute(images, model, target=1)
    torch.testing.assert_close(GradCam(layer="norm").attribute(images, model, target=1), channels_first)
    torch.testing.assert_close(GradCam().attribute(images, model, target=1), channels_first)


@pytest.mark.parametrize(
    ("name", "options", "layer", "side"),
    [
        ("vit_tiny_patch16_224", {"img_size": 64}, "blocks.11.norm1", 4),
        ("vit_base_patch16_rope_reg1_gap_256", {"img_size": 64, "embed_dim": 48, "num_heads": 3, "depth": 2}, "norm", 4),
        ("swin_tiny_patch4_window7_224", {"img_size": 224}, "norm", 7),
        ("resnet10t", {}, "layer4", 2),
    ],
)
def test_models_of_timm(name: str, options: dict[str, Any], layer: str, side: int) -> None:
    timm = pytest.importorskip("timm")
    model = timm.create_model(name, num_classes=3, **options).eval()
    images = torch.randn(1, 3, *[options.get("img_size", 64)] * 2)
    found = feature_map(PlainModel(model, images), images, None)
    assert (found.name, found.height, found.width) == (layer, side, side)
    assert GradCam().attribute(images, model, target=1).shape == images.shape


def test_what_has_no_map_says_what_to_give() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    for method in (GradCam(), Fem()):
        with pytest.raises(TargetError, match=r"found none in Sequential: give the layer to look at \(layer=") as caught:
            method.attribute(torch.randn(1, 3, 4, 4), flat, target=0)
        assert "\n" not in str(caught.value)


def test_methods_that_need_more_than_a_module_say_so() -> None:
    model, images = network(channels=1), torch.rand(1, 1, 32, 32)
    for name in ("latent_path", "difference"):
        with pytest.raises(TargetError, match=f"{name} needs a target, not a plain module: gan_explain.as_target"):
            METHODS[name]().attribute(images, model, target=0)
    for name, message in (("cxrnet", "CXR-Net"), ("spectral_fem", "trained on spectra"), ("lung_cam", "a lung mask")):
        with pytest.raises(TargetError, match=message):
            METHODS[name]().attribute(images, model, target=0)
    lungs = torch.zeros_like(images)
    lungs[..., 8:24, 8:24] = 1
    heat = LungCam().attribute(images, model, lungs, target=0)
    torch.testing.assert_close(heat, GradCam().attribute(images, model, target=0) * lungs)


def test_images_that_a_module_does_not_take_are_named() -> None:
    model = network()
    with pytest.raises(TargetError, match=r"the model failed on images \(1, 1, 32, 32\): RuntimeError: .*3 channels") as caught:
        GradCam().attribute(torch.rand(1, 1, 32, 32), model, target=0)
    assert "\n" not in str(caught.value)
    for images in (torch.rand(3, 32, 32), torch.full((1, 3, 8, 8), float("nan")), torch.zeros(1, 3, 8, 8, dtype=torch.uint8)):
        with pytest.raises(ValueError, match=r"expected finite images \(N, C, H, W\)"):
            GradCam().attribute(images, model, target=0)
    with pytest.raises(ValueError, match="expected images on cpu, where the model is, got meta"):
        GradCam().attribute(torch.rand(1, 3, 32, 32, device="meta"), model, target=0)


def test_keras_through_torch_is_read_at_its_last_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    layers = keras.layers
    built = keras.Sequential(
        [layers.Input((32, 32, 3)), layers.Conv2D(4, 3, 2), layers.ReLU(), layers.Conv2D(6, 3, name="last"),
         layers.GlobalAveragePooling2D(), layers.Dense(3)]
    )  # fmt: skip

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = built

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.model(x.permute(0, 2, 3, 1))
            return out

    model, images = Wrapped().eval(), torch.randn(1, 3, 32, 32)
    found = feature_map(PlainModel(model, images), images, None)
    assert found.name.endswith(".last")
    assert (found.axes, found.height, found.channels) == ("last", 13, 6)
    heat = GradCam().attribute(images, model, target=1)
    assert torch.equal(heat, GradCam(layer=built.get_layer("last")).attribute(images, model, target=1))


def test_one_image_is_explained_and_shows_itself(tmp_path: Path) -> None:
    model, image = network().eval(), torch.randn(1, 3, 40, 32)
    found = METHODS["grad_cam"]().explain(image, model, target=[1, 2])
    assert (found.method, found.classes, found.map.shape, found.image.shape) == ("grad_cam", ("1", "2"), (1, 40, 32), (3, 40, 32))
    torch.testing.assert_close(found.map, GradCam().attribute(image, model, target=[1, 2])[0, :1])
    assert found._repr_png_().startswith(b"\x89PNG")
    found.save(tmp_path / "heat")
    assert np.array_equal(np.load(tmp_path / "heat" / "heat.npy"), found.map[0].numpy())
    assert json.loads((tmp_path / "heat" / "heat.json").read_text())["classes"] == ["1", "2"]
    with Image.open(tmp_path / "heat" / "heat.png") as picture:
        assert picture.size == (768, 384)
    with pytest.raises(FileExistsError):
        found.save(tmp_path / "heat")
    signed = METHODS["gradient_x_input"]().explain(image, model, target=1)
    torch.testing.assert_close(
        signed.map, METHODS["gradient_x_input"]().attribute(image, model, target=1)[0].sum(0, keepdim=True)
    )
    assert signed.signed
    with pytest.raises(ValueError, match="expected one image"):
        GradCam().explain(torch.randn(2, 3, 32, 32), model, target=1)


def test_a_method_of_ones_own_is_one_class() -> None:
    @register("own")
    class Own(Method):
        title, caveat = "own", "It is the image itself, for this test."

        def __init__(self, seed: int = 3) -> None:
            self.seed = seed

        def heat(self, images: Tensor, target: Any, lungs: Tensor | None, chosen: Tensor) -> Tensor:
            return images * self.seed

    try:
        images = torch.rand(1, 3, 8, 8)
        assert torch.equal(METHODS["own"]().attribute(images, network(), target=0), 3 * images)
        assert torch.equal(METHODS["own"].of(MethodOptions(seed=5)).attribute(images, network(), target=0), 5 * images)
    finally:
        del METHODS["own"]


def test_every_file_of_the_room_has_been_asked_for_its_methods() -> None:
    files = Path(__file__).parents[2] / "gan_explain" / "attribution"
    named = {name for name, method in METHODS.items() if method.name == name}
    lines = [line for each in files.glob("*.py") for line in each.read_text().splitlines()]
    written = {line.split('"')[1] for line in lines if line.startswith("@register(")}
    assert named == written >= {"grad_cam", "lung_cam", "reader", "occlusion", "spectral_fem"}
