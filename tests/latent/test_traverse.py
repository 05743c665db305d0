"""Traversals: frame 0 is the structure, what is scored is what is saved, and the curve of a known target is the known one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gan_explain.image import quantize16, read_image, write_png16
from gan_explain.latent.traverse import frames_of, positive_probability, respond, traverse, traverse_between
from gan_explain.nets.generator import Disentangler
from gan_explain.optics import compose
from gan_explain.targets import ModuleTarget
from gan_explain.types import Generator

STRENGTHS = torch.linspace(0, 2, 9)


def curve(b0: float, strength: float) -> float:
    """p(covid) of the brightness target when a uniform layer lies over brightness b0."""
    z = 20 * (1 - (1 - b0) * 0.5**strength - 0.6)
    return math.exp(z) / (1 + 2 * math.exp(z))


def test_frame_0_is_the_structure_to_the_bit(
    generator: Disentangler, brightness: ModuleTarget, structure: Tensor, code: Tensor, lungs: Tensor
) -> None:
    film = traverse(generator, brightness, structure, code, lungs, STRENGTHS, clamped=0.25)
    assert film.frames.shape == (9, 1, 32, 32)
    assert torch.equal(film.frames[0], film.structure)
    assert torch.equal(film.structure, quantize16(structure)[0])
    assert not torch.equal(film.frames[1], film.structure)
    assert film.clamped == 0.25
    outside = lungs[0] == 0
    assert all(torch.equal(frame[outside], film.structure[outside]) for frame in film.frames)
    torch.testing.assert_close(film.frames[4], compose(film.structure, film.layer), atol=1e-5, rtol=0)  # strength 1
    assert bool((film.frames.diff(dim=0) >= 0).all())


def test_known_curve_and_crossing(uniform: Generator, brightness: ModuleTarget) -> None:
    flat, everywhere = torch.full((1, 1, 32, 32), 0.2), torch.ones(1, 1, 32, 32)
    strengths = torch.linspace(0, 2, 201)
    film = traverse(uniform, brightness, flat, torch.tensor([[1.0, 0.0]]), everywhere, strengths)
    expected = torch.tensor([curve(0.2, s) for s in strengths.tolist()])
    torch.testing.assert_close(film.probability, expected, atol=1e-3, rtol=0)
    assert film.class_probability.shape == (201, 3)
    torch.testing.assert_close(film.class_probability.sum(1), torch.ones(201))
    torch.testing.assert_close(film.class_probability[:, 2], film.probability)
    assert film.crossing == pytest.approx(1, abs=1e-3)  # brightness 0.6 is where the darkness 0.8 is halved
    assert (film.classes, film.positive, film.operating_point) == (brightness.classes, ("covid",), 1 / 3)


def test_no_crossing_where_the_curve_stays_on_one_side(uniform: Generator, brightness: ModuleTarget) -> None:
    everywhere, code = torch.ones(1, 1, 32, 32), torch.tensor([[1.0, 0.0]])
    below = traverse(uniform, brightness, torch.zeros(1, 1, 32, 32), code, everywhere, torch.tensor([0.0, 0.5, 1.0]))
    above = traverse(uniform, brightness, torch.full((1, 1, 32, 32), 0.9), code, everywhere, torch.tensor([0.0, 1.0]))
    assert below.crossing is None
    assert above.crossing is None


def test_probabilities_are_those_of_the_saved_frames(
    generator: Disentangler, brightness: ModuleTarget, structure: Tensor, code: Tensor, lungs: Tensor, tmp_path: Path
) -> None:
    film = traverse(generator, brightness, structure, code, lungs, STRENGTHS)
    read = []
    for i, frame in enumerate(film.frames):
        write_png16(frame, tmp_path / f"{i}.png")
        read.append(torch.from_numpy(read_image(tmp_path / f"{i}.png"))[None])
    assert torch.equal(torch.stack(read), film.frames)
    assert torch.equal(brightness.logits(torch.stack(read)).softmax(1), film.class_probability)


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_batch_size_does_not_matter(brightness: ModuleTarget, lungs: Tensor, batch_size: int) -> None:
    frames = torch.rand(9, 1, 32, 32)
    torch.testing.assert_close(respond(brightness, frames, lungs, batch_size), respond(brightness, frames, lungs))


def test_a_lungs_only_target_gets_the_one_mask_for_every_frame(structure: Tensor, lungs: Tensor) -> None:
    seen = []

    class Seen(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append((x != 0).float())
            return torch.zeros(len(x), 2)

    target = ModuleTarget(Seen(), positive=("covid",), size=32, lungs_only=True)
    respond(target, torch.rand(5, 1, 32, 32), lungs, batch_size=2)
    assert torch.equal(torch.cat(seen), lungs.expand(5, -1, -1, -1))


def test_frames_of_several_structures(generator: Disentangler, structure: Tensor) -> None:
    structures, tau = torch.cat([structure, structure.flip(3)]), torch.rand(2, 1, 32, 32)
    frames = frames_of(structures, tau, STRENGTHS)
    assert frames.shape == (2, 9, 1, 32, 32)
    torch.testing.assert_close(frames[1, 3], compose(structures, tau, float(STRENGTHS[3]))[1], atol=1e-5, rtol=0)
    assert torch.equal(frames, quantize16(frames))


def test_positive_set_may_hold_several_classes(brightness: ModuleTarget) -> None:
    p = torch.tensor([[0.5, 0.2, 0.3], [0.1, 0.8, 0.1]])
    assert positive_probability(brightness, p).tolist() == pytest.approx([0.3, 0.1])
    torch.testing.assert_close(positive_probability(brightness.with_positive(("flu", "covid")), p), torch.tensor([0.5, 0.9]))


def test_between_two_codes(
    generator: Disentangler, brightness: ModuleTarget, structure: Tensor, code: Tensor, lungs: Tensor
) -> None:
    other = -2 * code.flip(1)
    positions = torch.linspace(0, 1, 5)
    film = traverse_between(generator, brightness, structure, (code, other), lungs, positions)
    for frame, end in ((film.frames[0], code), (film.frames[-1], other)):
        alone = traverse(generator, brightness, structure, end, lungs, torch.tensor([1.0]))
        torch.testing.assert_close(frame, alone.frames[0], atol=2e-5, rtol=0)
    middle = traverse(generator, brightness, structure, (code + other) / 2, lungs, torch.tensor([1.0]))
    torch.testing.assert_close(film.frames[2], middle.frames[0], atol=2e-5, rtol=0)
    torch.testing.assert_close(film.layer, generator.layer(quantize16(structure), other, lungs)[0])
    assert torch.equal(film.code, other[0])
    assert torch.equal(film.strengths, positions)
    assert torch.equal(film.class_probability, respond(brightness, film.frames, lungs))
