"""Makers on networks whose answer is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gan_explain.augment import CycleMaker, LayerMaker, Maker
from gan_explain.nets.generator import Disentangler, GeneratorConfig
from gan_explain.nets.layers import unit_strength
from gan_explain.optics import take_off


class White:
    def to_positive(self, images: Tensor) -> Tensor:
        return torch.ones_like(images)

    def to_negative(self, images: Tensor) -> Tensor:
        return torch.zeros_like(images)


class Fog:
    """Reads ten times what an image's first pixel is above 0.4, and 0.2 where it is 0.4; the prior lays 1."""

    code_dim, resolution, labels = 2, 8, ("covid",)

    def read(self, images: Tensor, lungs: Tensor) -> Tensor:
        return (0.2 + 10 * (images[:, :, :1, :1] - 0.4)).clamp(min=0) * lungs

    def encode(self, tau: Tensor, lungs: Tensor) -> Tensor:
        raise NotImplementedError

    def layer(self, codes: Tensor, lungs: Tensor) -> Tensor:
        return codes.square().mean(1).sqrt()[:, None, None, None] * lungs

    def move(self, tau: Tensor, lungs: Tensor, others: Tensor) -> Tensor:
        return tau.amax((1, 2, 3), keepdim=True) * others

    def prior_noise(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, 2, generator=generator)

    def from_noise(self, noise: Tensor, label: str) -> Tensor:
        return unit_strength(noise)

    def prior(self, n: int, generator: torch.Generator, label: str = "covid") -> Tensor:
        return self.from_noise(self.prior_noise(n, generator), label)


def random() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_translation_goes_its_share_of_the_way() -> None:
    images = torch.full((5, 1, 8, 8), 0.4)
    made = CycleMaker(White(), (0.5, 0.5))(images, images, random())
    assert torch.allclose(made.images, torch.full_like(images, 0.7))
    assert made.strengths.tolist() == [0.5] * 5
    assert made.donors.tolist() == [-1] * 5


@pytest.mark.parametrize("sources", ["negatives", "positives"])
def test_layers_are_laid_on_the_structure(sources: str) -> None:
    images, lungs = torch.full((12, 1, 8, 8), 0.4), torch.zeros(12, 1, 8, 8)
    lungs[..., :4] = 1
    healed = float(take_off(torch.tensor(0.4), torch.tensor(0.2)))
    structure = {"negatives": 0.4, "positives": healed}[sources]
    given = images[:3].clone()
    given[0], given[1] = 0.43, 0.38  # 0.5 is read on the first, nothing on the second, 0.2 on the third
    maker: Maker = LayerMaker(Fog(), sources, donors=(given, lungs[:3]))
    made = maker(images, lungs, random())
    assert set(made.donors.tolist()) == {-1, 0, 2}  # nothing is taken from one on which nothing was read
    tau = torch.tensor([{-1: 1.0, 0: 0.5, 2: 0.2}[each] for each in made.donors.tolist()])
    expected = 1 - (1 - structure) * torch.exp(-made.strengths * tau)
    assert torch.allclose(made.images[:, 0, 0, 0], expected, atol=2e-5)
    assert torch.allclose(made.images[:, 0, 0, 7], torch.tensor(0.4), atol=1e-5)
    assert ((made.strengths >= 0.75) & (made.strengths <= 1.25)).all()


def test_the_share_of_the_prior_is_the_callers_to_choose() -> None:
    images, lungs = torch.full((20, 1, 8, 8), 0.4), torch.ones(20, 1, 8, 8)
    for prior, found in ((0.0, {0, 1}), (1.0, {-1})):
        made = LayerMaker(Fog(), donors=(images[:2], lungs[:2]), prior=prior)(images, lungs, random())
        assert set(made.donors.tolist()) == found
    nothing = LayerMaker(Fog(), donors=(0.5 * images[:2], lungs[:2]), prior=0.0)(images, lungs, random())
    assert set(nothing.donors.tolist()) == {-1}


def test_the_same_stream_makes_the_same_images() -> None:
    torch.manual_seed(0)
    config = GeneratorConfig(resolution=32, grid=16, backbone="small", width=8, layer_width=8, code_dim=8)
    network = Disentangler(config).eval().requires_grad_(False)
    images, lungs = torch.rand(3, 1, 32, 32), torch.ones(3, 1, 32, 32)
    first, again = (LayerMaker(network)(images, lungs, random()) for _ in range(2))
    assert (first.images == again.images).all()
    assert first.donors.tolist() == [-1] * 3


def test_unknown_sources_are_refused() -> None:
    with pytest.raises(ValueError, match="negatives or positives"):
        LayerMaker(Fog(), "anything")
