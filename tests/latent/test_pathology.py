"""Choosing a code: drawn, read from a reference, or the least that crosses the operating point."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gan_explain.latent.pathology import minimal_code, prior_code, reference_code
from gan_explain.latent.traverse import traverse
from gan_explain.nets.generator import Disentangler
from gan_explain.optics import compose
from gan_explain.targets import ModuleTarget
from gan_explain.types import Generator


def flat(brightness: float) -> tuple[Tensor, Tensor]:
    """A uniform structure, all of it lungs."""
    return torch.full((1, 1, 32, 32), brightness), torch.ones(1, 1, 32, 32)


def test_drawn_codes_have_strength_one_and_follow_the_seed(generator: Disentangler) -> None:
    code = prior_code(generator, 3)
    assert code.shape == (1, 4)
    assert code.square().mean().sqrt().item() == pytest.approx(1, abs=1e-5)
    assert torch.equal(code, prior_code(generator, 3))
    assert not torch.equal(code, prior_code(generator, 4))
    with pytest.raises(ValueError, match="no code prior for 'flu'"):
        prior_code(generator, 3, "flu")


def test_reference_is_read_at_the_strength_found(generator: Disentangler, structure: Tensor, lungs: Tensor) -> None:
    assert torch.equal(reference_code(generator, structure, lungs), generator.encode(structure, lungs))


def test_least_code_crosses_just_at_strength_one(uniform: Generator, brightness: ModuleTarget) -> None:
    """The operating point is at brightness 0.6, where half of the darkness 0.8 is gone: the layer must be ln 2."""
    structure, lungs = flat(0.2)
    code = minimal_code(uniform, brightness, structure, lungs)
    assert code is not None
    tau = uniform.layer(structure, code, lungs)
    assert tau.max().item() == pytest.approx(math.log(2), abs=3e-3)
    p = [brightness.probability(compose(structure, tau, s)).item() for s in (0.99, 1.01)]
    assert p[0] < brightness.operating_point < p[1]
    film = traverse(uniform, brightness, structure, code, lungs, torch.linspace(0, 2, 81))
    assert film.crossing == pytest.approx(1, abs=0.01)


def test_least_code_of_a_real_generator_crosses_at_one(generator: Disentangler, brightness: ModuleTarget, lungs: Tensor) -> None:
    structure = 0.5 + 0.1 * torch.rand(1, 1, 32, 32)
    code = minimal_code(generator, brightness, structure, lungs, candidates=4)
    assert code is not None
    tau = generator.layer(structure, code, lungs)
    p = [brightness.probability(compose(structure, tau, s)).item() for s in (0.97, 1.0, 1.03)]
    assert p[0] < brightness.operating_point <= p[1] < p[2]


class TwoSides:
    """A code's sign says on which half of the image its uniform layer lies."""

    code_dim, resolution, confine = 1, 32, "lungs"

    def layer(self, structure: Tensor, code: Tensor, lungs: Tensor) -> Tensor:
        left = torch.zeros_like(lungs)
        left[..., :16] = 1
        value = code[:, :, None, None]
        return value.clamp(min=0) * left * lungs + (-value).clamp(min=0) * (1 - left) * lungs

    def prior(self, n: int, generator: torch.Generator, label: str = "covid") -> Tensor:
        return torch.randn(n, 1, generator=generator).sign()


def test_the_least_opacity_load_wins(brightness: ModuleTarget) -> None:
    """Where the structure is dark a thin layer brightens more than where it is bright."""
    structure, lungs = flat(0.3)
    structure[..., 16:] = 0.7
    signs = TwoSides().prior(16, torch.Generator().manual_seed(0))
    assert set(signs.flatten().tolist()) == {-1.0, 1.0}
    code = minimal_code(TwoSides(), brightness, structure, lungs)  # type: ignore[arg-type]
    assert code is not None
    assert code.item() > 0


def test_none_where_nothing_crosses(uniform: Generator, brightness: ModuleTarget) -> None:
    assert minimal_code(uniform, brightness, *flat(0.0), most=0.1) is None


def test_a_structure_that_is_positive_already_needs_next_to_nothing(uniform: Generator, brightness: ModuleTarget) -> None:
    code = minimal_code(uniform, brightness, *flat(0.8))
    assert code is not None
    assert code.abs().max().item() < 0.01
