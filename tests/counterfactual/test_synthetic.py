"""Synthetic patients, and the codes of an image found by gradient."""

from __future__ import annotations

import torch
from solvable import Uniform
from torch import Tensor

from gan_explain.counterfactual.optimise import optimise
from gan_explain.counterfactual.synthetic import draw_structure, synthetic_radiograph
from gan_explain.nets.generator import Disentangler
from gan_explain.nets.structure import StructureConfig, StructureGenerator
from gan_explain.optics import take_off
from gan_explain.pixels import quantize16


class Plain:
    """The first number of z1 says how bright an even image is."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, 2, generator=generator)

    def __call__(self, z: Tensor) -> Tensor:
        return z[:, :1, None, None].sigmoid().expand(-1, 1, 32, 32)


def everywhere(images: Tensor) -> Tensor:
    return torch.ones_like(images)


def test_what_is_read_on_the_drawn_lungs_is_taken_off_once() -> None:
    z = torch.tensor([[0.4, 0.0], [-1.0, 0.0]])
    reader, drawn = Uniform(reads=True), quantize16(Plain()(z))
    structure, lungs = draw_structure(Plain(), reader, everywhere, z)
    assert torch.equal(lungs, torch.ones_like(structure))
    assert torch.equal(structure, quantize16(take_off(drawn, reader.read(drawn, lungs))))
    assert torch.equal(draw_structure(Plain(), Uniform(), everywhere, z)[0], drawn)


def test_a_seed_is_a_patient() -> None:
    first, again, other = (synthetic_radiograph(Plain(), Uniform(), everywhere, seed) for seed in (1, 1, 2))
    assert first.name == "synthetic patient 1"
    assert torch.equal(first.image, again.image)
    assert first.sha256 == again.sha256 != other.sha256


def test_optimising_comes_closer_and_follows_the_seed(generator: Disentangler) -> None:
    image, lungs = 0.2 + 0.3 * torch.rand(1, 1, 32, 32), torch.ones(1, 1, 32, 32)
    network = StructureGenerator(StructureConfig(resolution=32, z_dim=4, width=8, max_width=16, first_width=8, encoder_width=8))
    network.requires_grad_(False).eval()
    z1, code, history = optimise(network, generator, image, lungs, steps=25)
    assert (z1.shape, code.shape, len(history)) == ((1, 4), (1, 4), 25)
    assert history[-1] < 0.9 * history[0]
    assert not z1.requires_grad
    assert not code.requires_grad
    assert optimise(network, generator, image, lungs, steps=3)[2] == history[:3]
    assert optimise(network, generator, image, lungs, steps=3, seed=1)[2] != history[:3]
