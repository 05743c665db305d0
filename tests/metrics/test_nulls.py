"""Nulls: of equal load, of no knowledge, of no opinion."""

from __future__ import annotations

import torch
from torch import nn

from gan_explain.lungs import opacity_load, support
from gan_explain.metrics.nulls import ConstantTarget, random_pathology, shuffled_target
from gan_explain.optics import headroom
from gan_explain.targets import ModuleTarget, TargetConfig
from gan_explain.types import Target


def case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Three images, layers of growing thickness, lungs."""
    lungs = torch.zeros(3, 1, 32, 32)
    lungs[..., 6:26, 4:14] = lungs[..., 6:26, 18:28] = 1
    images = 0.2 + 0.4 * torch.rand(3, 1, 32, 32)
    tau = torch.zeros_like(images)
    tau[..., 15:20, 6:12] = 0.5
    return images, tau * torch.tensor([0.0, 1.0, 2.0]).view(-1, 1, 1, 1), lungs


def test_random_layers_have_the_same_load_in_the_same_lungs() -> None:
    _, tau, lungs = case()
    random = random_pathology(tau, lungs, [0, 1, 2])
    torch.testing.assert_close(opacity_load(random, lungs), opacity_load(tau, lungs), rtol=1e-4, atol=1e-6)
    assert float(random[support(lungs) == 0].abs().max()) == 0
    assert bool((random >= 0).all())
    assert float((random - tau)[1:].abs().amax((1, 2, 3)).min()) > 0.05


def test_a_random_layer_follows_its_seed_alone() -> None:
    _, tau, lungs = case()
    together = random_pathology(tau, lungs, [5, 6, 7])
    alone = random_pathology(tau[1:2], lungs[1:2], [6])
    torch.testing.assert_close(together[1:2], alone)
    other = random_pathology(tau[1:2], lungs[1:2], [8])
    assert float((other - alone).abs().max()) > 0.01


def test_a_random_layer_that_is_taken_off_stays_below_what_can_be() -> None:
    images, tau, lungs = case()
    most = headroom(images)
    random = random_pathology(tau, lungs, [0, 1, 2], most)
    assert bool((random <= most).all())
    torch.testing.assert_close(opacity_load(random, lungs)[:2], opacity_load(tau, lungs)[:2], rtol=1e-3, atol=1e-6)
    out_of_reach = random_pathology(100 * tau[2:], lungs[2:], [2], most[2:])
    inside = (support(lungs[2:]) > 0) & (random_pathology(tau[2:], lungs[2:], [2]) > 0.01)
    torch.testing.assert_close(out_of_reach[inside], most[2:][inside])


def test_without_lungs_or_a_layer_there_is_none() -> None:
    _, tau, lungs = case()
    assert float(random_pathology(0 * tau, lungs, [0, 1, 2]).abs().max()) == 0
    assert float(random_pathology(tau, 0 * lungs, [0, 1, 2]).abs().max()) == 0


def test_shuffled_weights_keep_their_values_and_leave_the_original() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(1024, 2))
    target = ModuleTarget(network, TargetConfig(positive=("positive",), size=32, channels=1))
    before = network[1].weight.clone()
    shuffled = shuffled_target(target)
    images = case()[0]
    assert torch.equal(network[1].weight, before)
    assert torch.equal(shuffled.network[1].weight.flatten().sort().values, before.flatten().sort().values)
    assert not torch.allclose(shuffled.logits(images), target.logits(images))
    assert torch.equal(shuffled.logits(images), shuffled_target(target).logits(images))


def test_a_constant_target_is_a_target_with_one_answer() -> None:
    target = ConstantTarget(p=0.2)
    assert isinstance(target, Target)
    torch.testing.assert_close(target.probability(torch.rand(4, 1, 8, 8)), torch.full((4,), 0.2))
