"""FEM against the published equations, written out cell by cell, and against pytorch-grad-cam where it is installed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gan_explain.attribution import METHODS, Fem, GradCam, MethodOptions, SpectralFem, spectral_importance
from gan_explain.attribution.fem import LEAST_CELLS, activations, fem, finest_map
from gan_explain.data.spectral import with_gain
from gan_explain.nets.classifier import THREE_CHANNELS, ClassifierConfig, build
from gan_explain.spectrum import mirrored, radial_bands
from gan_explain.targets import ModuleTarget, TargetConfig, resolve_target
from gan_explain.types import Explainer, TargetError

CLASSES = ("normal", "covid")


def by_hand(maps: NDArray[np.float64], k: float) -> NDArray[np.float64]:
    """L (h, w) of one image's maps (C, h, w), from the equations of Fuad et al. alone."""
    total = np.zeros(maps.shape[1:])
    for channel in maps:
        cells = [float(value) for value in channel.flatten()]
        mu = math.fsum(cells) / len(cells)
        sigma = math.sqrt(math.fsum((value - mu) ** 2 for value in cells) / len(cells))
        for place in np.ndindex(*channel.shape):
            total[place] += mu if channel[place] >= mu + k * sigma else 0.0
    return (total - total.min()) / (total.max() - total.min())


@pytest.mark.parametrize("k", [0.5, 1.0, 2.0])
def test_fem_is_that_of_the_published_equations(k: float) -> None:
    maps = torch.randn(3, 6, 5, 4).relu().double()
    expected = np.stack([by_hand(each.numpy(), k) for each in maps])[:, None]
    np.testing.assert_allclose(fem(maps, k).numpy(), expected, atol=1e-12)


def test_one_strong_cell_is_the_whole_map_and_constant_maps_are_none() -> None:
    maps = torch.full((1, 2, 4, 4), 0.1)
    assert float(fem(maps).abs().max()) == 0
    maps[0, 1, 2, 3] = 5
    heat = fem(maps)
    assert float(heat[0, 0, 2, 3]) == 1
    assert float(heat.sum()) == 1


def test_a_channel_weighs_as_much_as_its_mean() -> None:
    maps = torch.zeros(1, 2, 1, 16)
    maps[0, 0, 0, 3], maps[0, 1, 0, 9] = 8.0, 2.0
    assert fem(maps)[0, 0, 0].tolist() == pytest.approx([0, 0, 0, 1, 0, 0, 0, 0, 0, 0.25] + [0] * 6)


class Maps(nn.Module):
    """The input is its own feature maps: one 1 x 1 convolution that copies it, `copies` channels of given weights."""

    def __init__(self, weights: Sequence[float] = (1.0,)) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, len(weights), 1, bias=False)
        self.convolution.weight.data = torch.tensor(weights).view(-1, 1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        z = self.convolution(x).mean((1, 2, 3))  # (N, 1, H, W) -> (N,)
        return torch.stack([torch.zeros_like(z), z], 1)


def pytorch_grad_cam_fem(network: nn.Module, layer: nn.Module, images: Tensor, k: float) -> NDArray[np.float32]:
    reference = pytest.importorskip("pytorch_grad_cam.fem", reason="pytorch-grad-cam is not installed")
    with reference.FEM(network, [layer], k=k) as method:
        found: NDArray[np.float32] = method(images, targets=[])  # no class is asked for
    return found[:, None]


def two_valued(n: int = 4, size: int = 8) -> Tensor:
    """Images of 0 and one other value each, at a tenth of the pixels."""
    strong = torch.rand(n, 1, size, size) < 0.1
    strong[:, :, 3, 4] = True
    return strong * torch.linspace(0.3, 1.0, n).view(-1, 1, 1, 1)


def test_pytorch_grad_cam_agrees_where_the_definitions_do() -> None:
    """It weighs the activations themselves, A^c, by the share of strong cells; the paper weighs the cells, B^c, by the mean of
    A^c. Both are the same where each channel is 0 or one other value v that passes the threshold: share A = (mean / v) (v B)."""
    images, network = two_valued(), Maps((1.0, 0.3, 2.0))
    target = ModuleTarget(network, TargetConfig(classes=CLASSES, positive=("covid",), size=8, channels=1))
    ours = Fem(k=1.0).attribute(images, target)
    theirs = pytorch_grad_cam_fem(network, network.convolution, images, 1.0)
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-5)


def test_pytorch_grad_cam_differs_as_named_elsewhere() -> None:
    """On any activations: its map is sum_c share(B^c) A^c, ours sum_c mean(A^c) B^c."""
    images, network = torch.rand(3, 1, 8, 8), Maps((1.0, 0.5))
    theirs = pytorch_grad_cam_fem(network, network.convolution, images, 1.0)
    a = network.convolution(images).detach().double()
    strong = a > a.mean((2, 3), keepdim=True) + a.std((2, 3), correction=0, keepdim=True)
    other = (strong.double().mean((2, 3), keepdim=True) * a).sum(1, keepdim=True).relu()
    other = other - other.amin((2, 3), keepdim=True)
    np.testing.assert_allclose(theirs, (other / other.amax((2, 3), keepdim=True)).numpy(), atol=1e-5)
    assert float(np.abs(theirs - fem(a).numpy()).max()) > 0.1


def architecture(name: str, domain: str = "image", size: int = 64) -> ModuleTarget:
    channels = 3 if name in THREE_CHANNELS else 1
    network = build(ClassifierConfig(arch=name, classes=2, channels=channels))
    return ModuleTarget(network, TargetConfig(classes=CLASSES, positive=("covid",), size=size, channels=channels, domain=domain))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["small", "resnet18"])
def test_fem_looks_where_grad_cam_looks(name: str) -> None:
    target, images = architecture(name), torch.rand(2, 1, 48, 48)
    method: Explainer = Fem()
    assert isinstance(method, Fem)
    assert method.note(images, target) == GradCam().note(images, target)
    heat = method.attribute(images, target)
    assert heat.shape == images.shape
    assert 0 <= float(heat.min()) <= float(heat.max()) <= 1
    assert torch.equal(heat, method.attribute(images, target.with_positive(("normal",))))  # no class is asked for


def test_activations_are_kept_before_they_are_written_over() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    target = ModuleTarget(network, TargetConfig(classes=CLASSES, positive=("covid",), size=8, channels=1))
    images = torch.rand(1, 1, 8, 8)
    torch.testing.assert_close(activations(target, images, None, "0"), network[0](images))
    with pytest.raises(TargetError, match=r"layer '3': expected feature maps \(1, C, h, w\), got \(1, 2\)"):
        activations(target, images, None, "3")
    with pytest.raises(TargetError, match="layer 'none'"):
        Fem("none").attribute(images, target)


@pytest.mark.parametrize(("size", "layer"), [(64, "layer2"), (128, "layer3"), (224, "layer4")])
def test_frequencies_are_told_apart_by_the_last_block_of_seven_cells(size: int, layer: str) -> None:
    assert finest_map(architecture("resnet50", "spectrum", size), torch.rand(1, 1, size, size), None) == layer


def test_without_blocks_it_is_the_last_convolution_of_seven_cells() -> None:
    convolutions = [nn.Conv2d(cin, 2, 3, stride, 1) for cin, stride in ((1, 2), (2, 1), (2, 2), (2, 1))]
    network = nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    target = ModuleTarget(network, TargetConfig(classes=CLASSES, positive=("covid",), size=20, domain="spectrum", channels=1))
    assert finest_map(target, torch.rand(1, 1, 20, 20), None) == "1"  # 20 -> 10, 10, 5, 5


@pytest.mark.parametrize("name", ["small", "small_vgg", "small_inception", "small_dense", "resnet18", "efficientnet_b0"])
def test_architectures_have_an_importance(name: str) -> None:
    target, images = architecture(name, "spectrum"), torch.rand(2, 1, 64, 64)
    mask = SpectralFem().importance(images, target)
    assert mask.shape == (2, 1, 64, 64)
    torch.testing.assert_close(mask, mirrored(mask))
    assert mask.amin((2, 3)).tolist() == [[0], [0]]
    assert mask.amax((2, 3)).tolist() == [[1], [1]]
    assert min(activations(target, images, None, SpectralFem().layer_of(images, target)).shape[2:]) >= LEAST_CELLS


class Ring(nn.Module):
    """A convolution whose map is a window, whatever it is shown: strong on rings of `low` to `high` cycles and nowhere else."""

    def __init__(self, size: int, low: float, high: float) -> None:
        super().__init__()
        y, x = torch.meshgrid(*[torch.arange(size) - size // 2.0] * 2, indexing="ij")
        distance = torch.hypot(y, x)
        self.register_buffer("window", ((distance >= low) & (distance < high)).float())
        self.convolution = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.ones_(self.convolution.weight)

    def forward(self, x: Tensor) -> Tensor:
        z = self.convolution((0 * x + 1) * self.window).mean((1, 2, 3))
        return torch.stack([torch.zeros_like(z), z], 1)


def ring(low: float, high: float, size: int = 32) -> ModuleTarget:
    return ModuleTarget(
        Ring(size, low, high), TargetConfig(classes=CLASSES, positive=("covid",), size=size, domain="spectrum", channels=1)
    )


def waves(size: int = 32) -> tuple[Tensor, Tensor]:
    """A slow wave on the left half and a fast one on the right, as (1, 1, size, size) each."""
    t = 2 * math.pi * torch.arange(size) / size
    left = torch.arange(size) < size // 2
    slow, fast = 0.2 * torch.cos(2 * t)[:, None] * left, 0.2 * torch.cos(10 * t)[:, None] * ~left
    return slow[None, None].float(), fast[None, None].float()


def test_spectral_heat_lies_where_the_important_frequencies_are() -> None:
    slow, fast = waves()
    images = 0.5 + slow + fast
    heat = {name: SpectralFem().attribute(images, ring(*band)) for name, band in (("fast", (7, 14)), ("slow", (0, 5)))}
    assert float(heat["fast"][..., 18:-2].mean()) > 4 * float(heat["fast"][..., 2:14].mean())
    assert float(heat["slow"][..., 2:14].mean()) > 4 * float(heat["slow"][..., 18:-2].mean())
    assert float(heat["slow"].max()) < 0.35  # a part of the image, in units of brightness, without its mean


def test_importance_is_the_ring_at_any_size_of_image() -> None:
    target = ring(7, 14)
    images = 0.5 + sum(waves())
    mask = SpectralFem().importance(images, target)
    assert torch.equal(mask[0, 0] > 0.5, target.network.window > 0.5)  # type: ignore[operator]
    large = torch.nn.functional.interpolate(images, (48, 48), mode="bilinear")
    assert SpectralFem().attribute(large, target).shape == (1, 1, 48, 48)
    assert "mean frequency by importance 11 cycles" in SpectralFem().note(images, target)


def test_importance_as_a_transform() -> None:
    target, images = ring(7, 14), 0.5 + sum(waves())
    transform = spectral_importance(target, low=0.5, high=1.5)
    gain = 0.5 + target.network.window  # type: ignore[operator]
    gain[16, 16] = 1
    torch.testing.assert_close(transform(images), with_gain(images, gain))
    assert torch.equal(transform(images), transform(images))


def test_each_method_refuses_the_other_ones_targets() -> None:
    images = torch.rand(1, 1, 32, 32)
    with pytest.raises(TargetError, match="needs a target trained on spectra"):
        METHODS["spectral_fem"].of(MethodOptions()).attribute(images, architecture("small"))
    for name in ("fem", "grad_cam"):
        with pytest.raises(TargetError, match=f"{name} needs a target that reads the image; the cells of this one are"):
            METHODS[name].of(MethodOptions()).attribute(images, ring(7, 14))
    with pytest.raises(TargetError, match="feature map of 7 × 7 cells"):
        SpectralFem().attribute(images, ring(0, 2, 6))


def test_a_map_of_cropped_images_is_put_back_where_it_was_cut() -> None:
    images, lungs = torch.full((1, 1, 32, 32), 0.1), torch.zeros(1, 1, 32, 32)
    lungs[..., 8:24, 8:24] = 1
    images[..., 12:14, 12:14] = 1.0
    target = ModuleTarget(Maps(), TargetConfig(classes=CLASSES, positive=("covid",), size=16, crop=1.0, channels=1))
    heat = Fem().attribute(images, target, lungs)
    assert divmod(int(heat.argmax()), 32) in {(y, x) for y in (12, 13) for x in (12, 13)}
    assert float(heat[lungs < 0.5].max()) < 0.5
    reader = ModuleTarget(
        Maps(), TargetConfig(classes=CLASSES, positive=("covid",), size=16, crop=1.0, domain="spectrum", channels=1)
    )
    with pytest.raises(TargetError, match="got one that crops it"):
        SpectralFem().attribute(images, reader, lungs)


def test_the_shipped_network_reads_spectra() -> None:
    """And its importance leans to coarse frequencies, whatever the image: noise, here."""
    target = resolve_target("checkpoint:cxr-spectral")
    bands = radial_bands(SpectralFem().importance(torch.rand(2, 1, 128, 128), target), 4).mean((0, 1))
    assert float(bands[0]) > float(bands[3])
