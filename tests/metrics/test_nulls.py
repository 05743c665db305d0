"""Nulls: of equal norm, of no knowledge, of no opinion."""

from __future__ import annotations

import torch
from torch import nn

from gan_explain.metrics.nulls import ConstantTarget, random_pathology, shuffled_target
from gan_explain.optics import compose
from gan_explain.targets import ModuleTarget
from gan_explain.types import Target


def case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Three images, counterfactuals of growing strength, lungs."""
    lungs = torch.zeros(3, 1, 32, 32)
    lungs[..., 6:26, 4:14] = lungs[..., 6:26, 18:28] = 1
    images = 0.2 + 0.4 * torch.rand(3, 1, 32, 32)
    tau = torch.zeros_like(images)
    tau[..., 15:20, 6:12] = 0.5
    return images, compose(images, tau, torch.tensor([0.0, 1.0, 2.0]).view(-1, 1, 1, 1)), lungs


def test_random_layers_change_the_lungs_as_much_and_nothing_else() -> None:
    images, counterfactuals, lungs = case()
    random = random_pathology(images, counterfactuals, lungs, [0, 1, 2])
    wanted = (counterfactuals - images).flatten(1).norm(dim=1)
    torch.testing.assert_close((random - images).flatten(1).norm(dim=1), wanted, rtol=1e-3, atol=1e-4)
    assert torch.equal(random[lungs == 0], images[lungs == 0])
    assert bool((random >= images).all())
    assert bool((random <= 1).all())


def test_a_random_layer_follows_its_seed_alone() -> None:
    images, counterfactuals, lungs = case()
    together = random_pathology(images, counterfactuals, lungs, [5, 6, 7])
    alone = random_pathology(images[1:2], counterfactuals[1:2], lungs[1:2], [6])
    torch.testing.assert_close(together[1:2], alone)
    other = random_pathology(images[1:2], counterfactuals[1:2], lungs[1:2], [8])
    assert float((other - alone).abs().max()) > 0.01


def test_a_norm_out_of_reach_gives_the_nearest() -> None:
    images, _, lungs = case()
    random = random_pathology(images, torch.full_like(images, -5.0), lungs, [0, 1, 2])
    assert bool(random.isfinite().all())
    assert bool((random <= 1).all())


def test_shuffled_weights_keep_their_values_and_leave_the_original() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(1024, 2))
    target = ModuleTarget(network, positive=("positive",), size=32)
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
