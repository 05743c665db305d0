"""Makers on networks whose answer is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gan_explain.augment import CycleMaker, LayerMaker, Maker
from gan_explain.nets.generator import Disentangler, GeneratorConfig, unit_strength
from gan_explain.types import Removal


class White:
    def to_positive(self, images: Tensor) -> Tensor:
        return torch.ones_like(images)


class Fog:
    """tau is the code's strength, everywhere; removal gives black, the code of an image is its mean."""

    code_dim, resolution, confine = 2, 8, "lungs"

    def layer(self, structure: Tensor, code: Tensor, lungs: Tensor) -> Tensor:
        return code.square().mean(1).sqrt()[:, None, None, None] * lungs

    def remove(self, images: Tensor, lungs: Tensor) -> Removal:
        return Removal(torch.zeros_like(images), torch.zeros_like(images), torch.zeros(len(images)))

    def encode(self, images: Tensor, lungs: Tensor) -> Tensor:
        return images.mean((1, 2, 3))[:, None].repeat(1, 2)

    def prior(self, n: int, generator: torch.Generator, label: str = "covid") -> Tensor:
        return unit_strength(torch.randn(n, 2, generator=generator))


def random() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_translation_goes_its_share_of_the_way() -> None:
    images = torch.full((5, 1, 8, 8), 0.4)
    made = CycleMaker(White(), (0.5, 0.5))(images, images, random())
    assert torch.allclose(made.images, torch.full_like(images, 0.7))
    assert made.strengths.tolist() == [0.5] * 5
    assert made.donors.tolist() == [-1] * 5


@pytest.mark.parametrize(("sources", "structure"), [("negatives", 0.4), ("positives", 0.0)])
def test_layer_is_laid_on_the_structure(sources: str, structure: float) -> None:
    images, lungs = torch.full((6, 1, 8, 8), 0.4), torch.zeros(6, 1, 8, 8)
    lungs[..., :4] = 1
    maker: Maker = LayerMaker(Fog(), sources, donors=(images[:2], lungs[:2]))
    made = maker(images, lungs, random())
    expected = 1 - (1 - structure) * torch.exp(-made.strengths)
    assert torch.allclose(made.images[:, 0, 0, 0], expected, atol=1e-5)
    assert torch.allclose(made.images[:, 0, 0, 7], torch.full((6,), structure))
    assert set(made.donors.tolist()) <= {-1, 0, 1}
    assert (made.donors >= 0).any()
    assert ((made.strengths >= 0.75) & (made.strengths <= 1.25)).all()


def test_the_same_stream_makes_the_same_images() -> None:
    torch.manual_seed(0)
    network = Disentangler(GeneratorConfig(resolution=32, width=8)).eval().requires_grad_(False)
    images, lungs = torch.rand(3, 1, 32, 32), torch.ones(3, 1, 32, 32)
    first, again = (LayerMaker(network)(images, lungs, random()) for _ in range(2))
    assert (first.images == again.images).all()
    assert first.donors.tolist() == [-1] * 3


def test_unknown_sources_are_refused() -> None:
    with pytest.raises(ValueError, match="negatives or positives"):
        LayerMaker(Fog(), "anything")
