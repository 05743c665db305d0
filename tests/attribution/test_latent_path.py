"""Latent-path attribution and the difference map: a path solved on paper, completeness, and which end the image is."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan_explain.attribution import METHODS, Difference, LatentPath, MethodOptions, ReaderMap, latent_path
from gan_explain.attribution.base import explained_set
from gan_explain.nets.classifier import ClassifierConfig, build
from gan_explain.nets.generator import Disentangler, GeneratorConfig
from gan_explain.optics import compose, opacity, take_off
from gan_explain.pixels import quantize16
from gan_explain.targets import ModuleTarget, TargetConfig
from gan_explain.types import TargetError

SIZE, TAU = 8, 0.7


class Veil:
    """A generator that reads one thickness in the lungs, and lays it there."""

    code_dim, resolution, labels = 4, SIZE, ("covid",)

    def read(self, images: Tensor, lungs: Tensor) -> Tensor:
        return TAU * lungs

    def encode(self, tau: Tensor, lungs: Tensor) -> Tensor:
        return torch.ones(len(tau), self.code_dim)

    def layer(self, codes: Tensor, lungs: Tensor) -> Tensor:
        return TAU * codes.square().mean(1).sqrt().view(-1, 1, 1, 1) * lungs

    def move(self, tau: Tensor, lungs: Tensor, others: Tensor) -> Tensor:
        return TAU * others

    def prior_noise(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.ones(n, self.code_dim)

    def from_noise(self, noise: Tensor, label: str) -> Tensor:
        return noise

    def prior(self, n: int, generator: torch.Generator, label: str = "covid") -> Tensor:
        return torch.ones(n, self.code_dim)


class Weighed(nn.Module):
    """z = (0, sum of w x + bias)."""

    def __init__(self, weights: Tensor, bias: float) -> None:
        super().__init__()
        self.weights, self.bias = nn.Parameter(weights), bias

    def forward(self, x: Tensor) -> Tensor:
        z = (x * self.weights).sum((1, 2, 3)) + self.bias
        return torch.stack([torch.zeros_like(z), z], 1)


def weighed(weights: Tensor, bias: float, **options: object) -> ModuleTarget:
    own = {key: options.pop(key) for key in ("segmenter", "differentiable") if key in options}
    settings: dict[str, object] = {"classes": ("normal", "covid"), "positive": ("covid",), "size": SIZE} | options
    config = TargetConfig.model_validate({"channels": 1, **settings})
    return ModuleTarget(Weighed(weights, bias), config, **own)  # type: ignore[arg-type]


EVEN = torch.full((1, 1, SIZE, SIZE), 0.5)


def half() -> Tensor:
    lungs = torch.zeros(1, 1, SIZE, SIZE)
    lungs[..., : SIZE // 2] = 1
    return lungs


def mixed() -> tuple[ModuleTarget, Disentangler, Tensor, Tensor]:
    """An untrained network and generator, images of which the target calls some positive, and lungs."""
    torch.manual_seed(3)
    network = build(ClassifierConfig(arch="small", classes=2, channels=1))
    target = ModuleTarget(network, TargetConfig(classes=("normal", "covid"), positive=("covid",), size=64, channels=1))
    config = GeneratorConfig(resolution=64, grid=32, backbone="small", width=8, layer_width=8, code_dim=8)
    generator = Disentangler(config).eval().requires_grad_(False)
    assert generator.reader.head.bias is not None
    nn.init.constant_(generator.reader.head.bias, -0.5)  # softplus of it: 0.47, a layer that can be seen
    images, lungs = quantize16(0.5 + 0.3 * torch.rand(4, 1, 64, 64)), torch.zeros(4, 1, 64, 64)
    lungs[:, :, 12:52, 8:28], lungs[:, :, 12:52, 36:56] = 1, 1
    with torch.no_grad():
        target.operating_point = float(target.probability(images).sort().values[1:3].mean())
    return target, generator, images, lungs


@pytest.mark.parametrize("positive", [False, True])
def test_heat_is_that_of_the_path_on_paper(positive: bool) -> None:
    """Every pixel of the lungs moves by the same amount, so each cell gets its weights' share of what p gains, evenly."""
    x, lungs = torch.full((1, 1, SIZE, SIZE), 0.6), half()
    weights = torch.rand(1, 1, SIZE, SIZE)
    target = weighed(weights, (1 if positive else -1) - 0.6 * float(weights.sum()))
    heat = LatentPath(Veil()).attribute(x, target, lungs)
    other = take_off(x, TAU * lungs) if positive else compose(x, TAU * lungs)
    with torch.no_grad():
        mine, far = float(target.probability(x)), float(target.probability(other))
    assert (mine > 0.5) == positive
    gained = mine - far if positive else far - mine
    assert gained > 0.1
    share = weights * lungs / (weights * lungs).sum()
    cells = torch.nn.functional.avg_pool2d(share, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)  # 2 x 2 of them
    assert torch.allclose(heat, gained * cells, atol=1e-4 * gained)
    assert not torch.allclose(cells, share, atol=1e-3)
    [walk] = LatentPath(Veil()).walks(x, target, lungs, explained_set(target, None, torch.zeros(1)))[1]
    assert torch.allclose(walk.heat.float(), gained * share[0], atol=1e-4 * gained)


def test_a_cell_keeps_its_sum_and_its_pixels_get_by_how_far_they_move() -> None:
    gains, moved = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    gains[0, 0, :2, :2] = torch.tensor([[5.0, -1.0], [0.0, 0.0]])
    moved[0, 0, :2, :2] = torch.tensor([[0.1, -0.3], [0.0, 0.0]])  # brighter or darker: how far, not which way
    gains[0, 0, 3, 3] = 2.0  # nothing moves there
    found = latent_path.shared_out(gains, moved, 2)
    expected = torch.zeros(1, 1, 4, 4)
    expected[0, 0, 0, :2], expected[0, 0, 3, 3] = torch.tensor([1.0, 3.0]), 2.0
    assert torch.allclose(found, expected)
    uneven, far = torch.randn(2, 1, 9, 7), torch.rand(2, 1, 9, 7)
    assert torch.allclose(latent_path.shared_out(uneven, far, 3).sum((1, 2, 3)), uneven.sum((1, 2, 3)), atol=1e-5)
    assert torch.allclose(latent_path.shared_out(uneven, far, 1), far / far.sum((1, 2, 3), True) * uneven.sum((1, 2, 3), True))


@pytest.mark.parametrize("steepness", [1.0, 30.0, 300.0])
def test_a_map_sums_to_what_p_gains(steepness: float) -> None:
    target, generator, images, lungs = mixed()
    with torch.no_grad():
        middle = target.logits(images).diff(dim=1).mean()
    network = Steep(target.network, steepness, float(middle))
    steep = ModuleTarget(network, TargetConfig(classes=target.classes, positive=target.positive, size=64, channels=1))
    method = LatentPath(generator)
    paths, walks = method.walks(images, steep, lungs, explained_set(steep, None, torch.zeros(4)))
    assert 0 < int(paths.positive.sum()) < 4
    heat = method.attribute(images, steep, lungs)
    with torch.no_grad():
        gained = steep.probability(paths.end).double() - steep.probability(paths.start).double()
    for i, walk in enumerate(walks):
        assert walk.complete
        assert walk.last - walk.first == pytest.approx(float(gained[i]), abs=1e-6)
        assert float(heat[i].double().sum()) == pytest.approx(float(gained[i]), abs=1e-3 * max(abs(float(gained[i])), 0.1))
    if steepness == 300:
        assert max(walk.steps for walk in walks) > latent_path.FIRST


class Steep(nn.Module):
    """A network's answer, shifted and made steep."""

    def __init__(self, network: nn.Module, factor: float, middle: float) -> None:
        super().__init__()
        self.network, self.factor, self.middle = network, factor, middle

    def forward(self, x: Tensor) -> Tensor:
        z = self.factor * (self.network(x).diff(dim=1) - self.middle)
        return torch.cat([torch.zeros_like(z), z], 1)


def test_too_few_steps_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_path, "MOST", latent_path.FIRST)
    x, lungs = torch.full((1, 1, SIZE, SIZE), 0.6), half()
    target = weighed(EVEN * 40, -0.5 * 40 * float(EVEN.sum()))
    assert "not complete" in LatentPath(Veil()).note(x, target, lungs)
    monkeypatch.undo()
    assert "not complete" not in LatentPath(Veil()).note(x, target, lungs)


def test_a_positive_ends_its_path_and_a_negative_starts_it() -> None:
    target, generator, images, lungs = mixed()
    paths = LatentPath(generator).paths(images, target, lungs)
    yes, no = paths.positive, ~paths.positive
    assert yes.any()
    assert no.any()
    read = generator.read(images, lungs)
    assert float(read.amax()) > 0.2
    assert torch.equal(paths.start[yes], take_off(images, read)[yes])
    assert torch.equal(quantize16(paths.end)[yes], images[yes])  # what was taken off, laid on again, is the image
    assert torch.equal(paths.start[no], images[no])
    code = generator.prior(1, torch.Generator().manual_seed(0)).expand(4, -1)
    assert torch.allclose(paths.end[no], compose(images, generator.layer(code, lungs))[no], atol=1e-6)
    for i in range(4):
        first, last = paths.at(i, torch.tensor([0.0, 1.0], dtype=torch.float64)).float()
        assert torch.equal(first, paths.start[i])
        assert torch.allclose(last, paths.end[i], atol=1e-6)


def test_an_image_stands_for_itself() -> None:
    target, generator, images, lungs = mixed()
    method = LatentPath(generator)
    together = method.attribute(images, target, lungs)
    alone = torch.cat([method.attribute(images[i : i + 1], target, lungs[i : i + 1]) for i in range(4)])
    assert torch.allclose(together, alone, atol=1e-5)
    assert bool((together[..., :3, :] == 0).all())  # a layer changes nothing away from the lungs


@pytest.mark.parametrize("size", [(96, 96), (80, 120), (120, 80)])
def test_images_keep_a_size_of_their_own(size: tuple[int, int]) -> None:
    target, generator, images, lungs = mixed()
    large = quantize16(torch.nn.functional.interpolate(images, size))
    around = torch.nn.functional.interpolate(lungs, size)
    method = LatentPath(generator)
    paths, walks = method.walks(large, target, around, explained_set(target, None, torch.zeros(4)))
    no = ~paths.positive
    assert torch.equal(paths.start[no], large[no])
    assert torch.equal(quantize16(paths.end)[paths.positive], large[paths.positive])
    assert all(walk.complete and walk.heat.shape == (1, *size) for walk in walks)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("cxrnet", "spectral_fem")])  # networks of their own
def test_every_method_has_a_map_of_an_image_that_is_not_square(name: str) -> None:
    target, generator, images, lungs = mixed()
    tall, around = (torch.nn.functional.interpolate(each, (120, 80)) for each in (images, lungs))
    heat = METHODS[name].of(MethodOptions(generator=generator)).attribute(tall, target, around)
    assert heat.shape == tall.shape
    assert bool(torch.isfinite(heat).all())
    with pytest.raises(ValueError, match=r"expected finite images in \[0, 1\]"):
        METHODS[name].of(MethodOptions(generator=generator)).attribute(2 * tall, target, around)


def test_the_lungs_are_held_along_the_path() -> None:
    x, lungs = torch.full((1, 1, SIZE, SIZE), 0.6), half()
    seen = list[Tensor]()

    class Watching(ModuleTarget):
        def logits(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
            assert lungs is not None
            seen.append(lungs)
            return super().logits(images, lungs)

    def segmenter(images: Tensor) -> Tensor:
        return (images > 0.65).float()

    network = Weighed(torch.rand(1, 1, SIZE, SIZE), -1.0)
    config = TargetConfig(classes=("normal", "covid"), positive=("covid",), size=SIZE, channels=1, lungs_only=True)
    target = Watching(network, config, segmenter)
    LatentPath(Veil()).attribute(x, target, lungs)
    assert len(seen) > 2
    assert all(torch.equal(each, lungs.expand_as(each)) for each in seen)
    varied = torch.where(lungs > 0, 0.7, 0.4)
    seen.clear()
    LatentPath(Veil()).attribute(varied, target)  # the target's own segmenter reads the input, once
    assert all(torch.equal(each, lungs.expand_as(each)) for each in seen)


def test_the_other_class_has_the_opposite_map() -> None:
    target, generator, images, lungs = mixed()
    explain = LatentPath(generator, lambda x: lungs[: len(x)]).as_quantus()
    covid = explain(target, images.numpy(), np.ones(4))
    assert np.allclose(covid, LatentPath(generator).attribute(images, target, lungs).numpy(), atol=1e-6)
    assert np.allclose(explain(target, images.numpy(), np.zeros(4)), -covid, atol=1e-5)


def test_the_difference_is_the_opacity_between_the_ends() -> None:
    target, generator, images, lungs = mixed()
    heat = Difference(generator).attribute(images, replaced(target), lungs)
    paths = LatentPath(generator).paths(images, target, lungs)
    assert torch.equal(heat, opacity(paths.tau))
    assert torch.allclose(heat, (paths.end - paths.start) / (1 - paths.start), atol=1e-5)
    assert bool((heat[..., :3, :] == 0).all())
    x = torch.full((1, 1, SIZE, SIZE), 0.6)
    on_paper = Difference(Veil()).attribute(x, weighed(EVEN, 0.0), half())
    assert torch.allclose(on_paper, (1 - math.exp(-TAU)) * half(), atol=1e-6)


def test_the_reader_is_the_same_map_for_every_target() -> None:
    target, generator, images, lungs = mixed()
    found = ReaderMap(generator).attribute(images, target, lungs)
    assert torch.equal(found, opacity(generator.read(images, lungs)))
    other = weighed(torch.rand(1, 1, 64, 64), -60.0, size=64, differentiable=False)
    assert torch.equal(ReaderMap(generator).attribute(images, other, lungs), found)
    assert "no target" in ReaderMap(generator).note(images, target, lungs)


def replaced(target: ModuleTarget) -> ModuleTarget:
    """The same target without gradients."""
    other = ModuleTarget(
        target.network, TargetConfig(classes=target.classes, positive=target.positive, size=64, channels=1), differentiable=False
    )
    other.operating_point = target.operating_point
    return other


def test_what_is_missing_is_said() -> None:
    x, lungs = torch.full((1, 1, SIZE, SIZE), 0.6), half()
    with pytest.raises(TargetError, match="latent_path needs a target with gradients"):
        LatentPath(Veil()).attribute(x, weighed(EVEN, 0.0, differentiable=False), lungs)
    for name in ("latent_path", "difference", "reader"):
        method = METHODS[name].of(MethodOptions())
        assert method.uses_generator
        with pytest.raises(ValueError, match="expected a disentangling generator"):
            method.attribute(x, weighed(EVEN, 0.0), lungs)
        with pytest.raises(ValueError, match="lung mask or a segmenter"):
            METHODS[name].of(MethodOptions(generator=Veil())).attribute(x, weighed(EVEN, 0.0))


def test_notes_say_which_way() -> None:
    x, lungs = torch.full((1, 1, SIZE, SIZE), 0.6), half()
    for make in (LatentPath, Difference):
        assert "taking the disease off" in make(Veil()).note(x, weighed(EVEN, 0.0), lungs)
        assert "called negative" in make(Veil()).note(x, weighed(EVEN, -60.0), lungs)


@pytest.mark.slow
def test_the_shipped_phantom_generator() -> None:
    """Complete on every image; where the lesion is known, its maps point at it and lead Grad-CAM."""
    from gan_explain.data import open_dataset
    from gan_explain.metrics.pointing import iou_equal_area, pointing_game
    from gan_explain.nets.load import load_generator
    from gan_explain.nets.segmenter import load_segmenter
    from gan_explain.targets import resolve_target

    lungs_of, generator = load_segmenter("phantom64"), load_generator("phantom64")
    target = resolve_target("checkpoint:phantom64", segmenter=lungs_of)
    found = open_dataset("phantom:n=400", size=64).split("test").where(lambda record: record.label in ("covid", "normal"))
    places = range(0, len(found), max(1, len(found) // 12))
    batch = found.batch(list(places)[:12])
    lungs = lungs_of(batch.images)
    _, walks = LatentPath(generator).walks(batch.images, target, lungs, explained_set(target, None, batch.images))
    assert all(walk.complete for walk in walks)
    assert batch.lesion is not None
    ill = batch.lesion.flatten(1).any(1)
    names = ("latent_path", "difference", "reader", "grad_cam")
    maps = {each: METHODS[each].of(MethodOptions(generator=generator)) for each in names}
    heat = {each: made.attribute(batch.images[ill], target, lungs[ill]) for each, made in maps.items()}
    for each in names[:3]:
        assert bool(pointing_game(heat[each], batch.lesion[ill]).all())
        ours, theirs = (iou_equal_area(heat[one], batch.lesion[ill]).mean() for one in (each, "grad_cam"))
        assert ours > theirs + 0.1
