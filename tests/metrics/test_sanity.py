"""Weights drawn anew: a gradient's map becomes another, a map that does not look at the target stays, and the check says so."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gan_explain.metrics.sanity import reinitialised, sameness
from gan_explain.nets.classifier import ClassifierConfig, build
from gan_explain.targets import ModuleTarget, TargetConfig

SIZE = 32


def target_of(network: nn.Module, lungs_only: bool = False) -> ModuleTarget:
    return ModuleTarget(network, TargetConfig(positive=("covid",), size=SIZE, lungs_only=lungs_only, channels=1))


def small(seed: int = 0) -> ModuleTarget:
    generator = torch.Generator().manual_seed(seed)
    network = build(ClassifierConfig(arch="small", classes=2, channels=1))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return target_of(network)


def images() -> Tensor:
    return torch.rand(3, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(9))


def gradient(target: ModuleTarget, x: Tensor, lungs: Tensor | None = None) -> Tensor:
    leaf = x.clone().requires_grad_()
    logits = target.logits(leaf, lungs)
    return torch.autograd.grad((logits[:, 1] - logits[:, 0]).sum(), leaf)[0]


def untrained(target: ModuleTarget, seed: int = 0) -> ModuleTarget:
    found = reinitialised(target, torch.Generator().manual_seed(seed))
    assert found is not None
    return found


def test_a_gradient_changes_and_a_map_that_ignores_the_target_does_not() -> None:
    target = small()
    fresh, x = untrained(target), images()
    moved = sameness(gradient(target, x), gradient(fresh, x))
    assert moved.changed.tolist() == [1, 1, 1]
    assert moved.spearman.abs().max() < 0.5
    edges = (x - x.roll(1, 3)).abs()  # of the image, whatever the target
    stayed = sameness(edges, edges.clone())
    assert stayed.changed.tolist() == [0, 0, 0]
    assert stayed.spearman.tolist() == pytest.approx([1, 1, 1])
    assert stayed.ssim.tolist() == pytest.approx([1, 1, 1], abs=1e-5)


def test_flat_maps_are_one_map_and_only_they() -> None:
    flat, ramp = torch.full((1, 1, SIZE, SIZE), 0.3), images()[:1]
    nothing = torch.zeros_like(flat)
    assert sameness(flat, flat).changed.tolist() == [0]
    assert sameness(nothing, nothing).changed.tolist() == [0]
    assert sameness(flat, ramp).changed.tolist() == [1]
    assert bool(sameness(flat, ramp).spearman.isnan())
    assert sameness(ramp, nothing).changed.tolist() == [1]


def test_zeros_of_both_maps_do_not_make_them_alike() -> None:
    lungs = torch.zeros(1, 1, SIZE, SIZE)
    lungs[..., 8:24, 4:14] = 1
    a, b = images()[:1] * lungs, images()[1:2] * lungs
    found = sameness(a, b)
    assert abs(float(found.spearman)) < 0.3
    assert found.changed.tolist() == [1]


def test_weights_are_drawn_by_the_generator_and_the_target_is_left_alone() -> None:
    target = small()
    before = {name: value.clone() for name, value in target.network.state_dict().items()}
    one, same, other = untrained(target), untrained(target), untrained(target, 1)
    x = images()
    assert torch.equal(one.logits(x), same.logits(x))
    assert not torch.allclose(one.logits(x), other.logits(x))
    assert not torch.allclose(one.logits(x), target.logits(x))
    assert all(torch.equal(value, before[name]) for name, value in target.network.state_dict().items())
    assert bool(torch.isfinite(one.logits(x)).all())
    assert one.classes == target.classes


def test_normalisations_begin_anew_and_weights_have_the_scale_of_their_inputs() -> None:
    network = nn.Sequential(nn.Conv2d(1, 64, 3, padding=1), nn.BatchNorm2d(64), nn.Flatten(), nn.Linear(64 * SIZE**2, 2))
    with torch.no_grad():
        network[1].weight.fill_(5.0)
        network[1].bias.fill_(3.0)
        network[1].running_mean.fill_(7.0)
    fresh = untrained(target_of(network)).network
    assert fresh[1].weight.unique().tolist() == [1]
    assert fresh[1].bias.unique().tolist() == [0]
    assert fresh[1].running_mean.unique().tolist() == [0]
    assert fresh[1].running_var.unique().tolist() == [1]
    assert float(fresh[3].weight.std()) == pytest.approx((2 / (64 * SIZE**2)) ** 0.5, rel=0.02)


class NoWeights(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((1, 2, 3))


def test_a_network_whose_weights_are_out_of_reach_has_no_untrained_twin() -> None:
    assert reinitialised(target_of(NoWeights()), torch.Generator()) is None
