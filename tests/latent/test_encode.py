"""Codes found by gradient: refinement is never worse, optimisation comes closer."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gan_explain.latent.encode import fitted_strength, optimise, refine
from gan_explain.nets.generator import Disentangler
from gan_explain.nets.synthesis import StructureGenerator, SynthesisConfig
from gan_explain.optics import compose
from gan_explain.types import Removal


def error(generator: Disentangler, image: Tensor, structure: Tensor, code: Tensor, lungs: Tensor) -> float:
    return F.l1_loss(compose(structure, generator.layer(structure, code, lungs)), image).item()


def test_refining_comes_closer(generator: Disentangler, structure: Tensor, code: Tensor, lungs: Tensor) -> None:
    image = compose(structure, generator.layer(structure, 1.5 * code, lungs))
    start = 0.7 * code.flip(1)
    found = refine(generator, image, structure, start, lungs, steps=30)
    assert found.shape == start.shape
    assert not found.requires_grad
    before = error(generator, image, structure, start, lungs)
    assert error(generator, image, structure, found, lungs) < 0.6 * before


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_refining_is_never_worse_than_the_start(
    generator: Disentangler, structure: Tensor, code: Tensor, lungs: Tensor, steps: int
) -> None:
    nearly = compose(structure, generator.layer(structure, 1.001 * code, lungs))  # the first step goes too far
    for image in (nearly, torch.rand(1, 1, 32, 32)):
        found = refine(generator, image, structure, code, lungs, steps)
        assert error(generator, image, structure, found, lungs) <= error(generator, image, structure, code, lungs)
    assert torch.equal(refine(generator, image, structure, code, lungs, steps=0), code)


def test_refining_leaves_the_generator_alone(generator: Disentangler, structure: Tensor, code: Tensor, lungs: Tensor) -> None:
    refine(generator, structure, structure, code, lungs, steps=1)
    assert all(parameter.grad is None for parameter in generator.parameters())


def test_optimising_comes_closer_and_follows_the_seed(generator: Disentangler, structure: Tensor, lungs: Tensor) -> None:
    synthesis = StructureGenerator(SynthesisConfig(resolution=32, z_dim=4, low_width=8, width=16))
    synthesis.anatomy.start_from(torch.rand(20, 1, 32, 32) * 0.3 + torch.rand(20, 1, 1, 1) * 0.5)
    synthesis.requires_grad_(False).eval()
    z1, code, history = optimise(synthesis, generator, structure, lungs, steps=25)
    assert (z1.shape, code.shape, len(history)) == ((1, 4), (1, 4), 25)
    assert history[-1] < 0.9 * history[0]
    assert not z1.requires_grad
    assert not code.requires_grad
    again = optimise(synthesis, generator, structure, lungs, steps=3)[2]
    assert again == history[:3]
    assert optimise(synthesis, generator, structure, lungs, steps=3, seed=1)[2] != history[:3]


def test_a_strength_that_was_laid_on_is_fitted_again(
    generator: Disentangler, structure: Tensor, code: Tensor, lungs: Tensor
) -> None:
    """Whatever the length of the code: only its direction is used."""
    unit = code / code.square().mean(1, keepdim=True).sqrt()
    for strength in (0.0, 0.4, 2.5):
        found = Removal(structure, strength * generator.layer(structure, unit, lungs), torch.zeros(len(structure)))
        for length in (0.3, 1.0, 4.0):
            fitted = fitted_strength(generator, found, length * unit, lungs)
            assert fitted.shape == (len(structure),)
            assert torch.allclose(fitted, torch.full_like(fitted, strength), atol=1e-4)


def test_a_layer_that_is_the_opposite_has_no_strength(
    generator: Disentangler, structure: Tensor, code: Tensor, lungs: Tensor
) -> None:
    tau = generator.layer(structure, code, lungs)
    assert bool((fitted_strength(generator, Removal(structure, -tau, torch.zeros(1)), code, lungs) == 0).all())
    nothing = fitted_strength(generator, Removal(structure, 0 * tau, torch.zeros(1)), code, torch.zeros_like(lungs))
    assert bool(nothing.isnan().all())
