"""Traversals: both ends are exact, what is scored is what is saved, and the curve of a known target is the known one."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from solvable import Uniform, answer, flat, radiograph
from torch import Tensor, nn

from gan_explain.counterfactual import counterfactual, disentangle, laid, load_traversal, respond, traverse
from gan_explain.counterfactual.respond import PIXELS, positive_probability
from gan_explain.counterfactual.traverse import as_strengths, even_strengths
from gan_explain.image import read_image, write_png16
from gan_explain.nets.generator import Disentangler
from gan_explain.optics import compose
from gan_explain.pixels import quantize16
from gan_explain.response import Frames
from gan_explain.targets import ModuleTarget, TargetConfig


def test_a_negative_is_its_own_structure(
    generator: Disentangler, brightness: ModuleTarget, structure: Tensor, lungs: Tensor
) -> None:
    x = radiograph(structure, lungs)
    film = traverse(generator, brightness, x, strengths=[0.0, 0.5, 1.0, 1.5])
    assert film.pathology == "prior"
    assert torch.equal(film.frames[0], x.image[0])
    assert torch.equal(film.structure, x.image[0])
    assert film.layer.shape == (1, 48, 64)
    assert film.layer.max() > 0.1
    beyond = film.layer == 0
    frames = film.frames.stack()
    assert bool(beyond.any())
    assert all(torch.equal(frame[beyond], film.structure[beyond]) for frame in frames)
    assert bool((frames.diff(dim=0) >= 0).all())
    torch.testing.assert_close(frames[2], compose(film.structure, film.layer), atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", [(48, 64), (61, 40), (300, 211)])
def test_a_positive_is_healed_and_comes_back_to_the_last_of_16_bits(
    generator: Disentangler, brightness: ModuleTarget, side: tuple[int, int]
) -> None:
    image = 0.7 + 0.1 * torch.rand(1, 1, *side)
    lungs = torch.zeros_like(image)
    lungs[..., side[0] // 5 : -side[0] // 5, side[1] // 6 : -side[1] // 6] = 1
    x = radiograph(image, lungs)
    film = traverse(generator, brightness, x, strengths=[0.0, 1.0, 1.5])
    assert film.pathology == "own"
    assert film.layer.max() > 0.1
    assert torch.equal(film.frames[1], x.image[0])
    assert film.frames[0].mean() < x.image.mean()
    assert film.input == pytest.approx(float(film.probability[1]), abs=1e-6)


def test_apart_and_together(generator: Disentangler, structure: Tensor, lungs: Tensor) -> None:
    apart = disentangle(generator, structure, lungs)
    assert torch.equal(laid(apart.structure, apart.layer), quantize16(structure))
    assert bool((apart.structure >= 0).all())
    for bad in (structure[0], structure.expand(1, 3, -1, -1), structure - 1, structure * math.nan):
        with pytest.raises(ValueError, match="expected"):
            disentangle(generator, bad, lungs)


def test_known_curve_and_crossing(uniform: Uniform, brightness: ModuleTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uniform, "from_noise", lambda noise, label: torch.ones_like(noise))
    film = traverse(uniform, brightness, flat(0.2), strengths=torch.linspace(0, 2, 201))
    expected = torch.tensor([answer(1 - 0.8 * 0.5**s) for s in film.strengths.tolist()])
    torch.testing.assert_close(film.probability, expected, atol=1e-3, rtol=0)
    assert film.class_probability.shape == (201, 3)
    torch.testing.assert_close(film.class_probability.sum(1), torch.ones(201))
    assert film.crossing == pytest.approx(1, abs=1e-3)  # brightness 0.6 is where the darkness 0.8 is halved
    assert (film.classes, film.positive, film.operating_point) == (brightness.classes, ("covid",), 1 / 3)
    assert film.at(1.0) == pytest.approx(1 / 3, abs=1e-3)
    assert film.at(1.0001) is None


def test_no_crossing_where_the_curve_stays_on_one_side(uniform: Uniform, brightness: ModuleTarget) -> None:
    assert traverse(uniform, brightness, flat(0.0), strengths=[0.0, 0.2]).crossing is None
    assert traverse(uniform, brightness, flat(0.9), strengths=[0.0, 1.0]).crossing is None


def test_a_list_in_a_list_out_with_seeds_that_follow(
    generator: Disentangler, brightness: ModuleTarget, structure: Tensor
) -> None:
    x = radiograph(structure, torch.ones_like(structure))
    both = traverse(generator, brightness, [x, x], seed=3, strengths=[0.0, 1.0])
    alone = [traverse(generator, brightness, x, seed=seed, strengths=[0.0, 1.0]) for seed in (3, 4)]
    assert isinstance(both, list)
    assert [torch.equal(a.layer, b.layer) for a, b in zip(both, alone, strict=True)] == [True, True]
    assert not torch.equal(both[0].layer, both[1].layer)
    assert traverse(generator, brightness, []) == []


def test_probabilities_are_those_of_the_saved_frames(
    generator: Disentangler, brightness: ModuleTarget, structure: Tensor, lungs: Tensor, tmp_path: Path
) -> None:
    film = traverse(generator, brightness, radiograph(structure, lungs), strengths=9)
    read = []
    for i, frame in enumerate(film.frames):
        write_png16(frame, tmp_path / f"{i}.png")
        read.append(torch.from_numpy(read_image(tmp_path / f"{i}.png"))[None])
    assert torch.equal(torch.stack(read), film.frames.stack())
    torch.testing.assert_close(brightness.logits(torch.stack(read)).softmax(1), film.class_probability, atol=1e-6, rtol=0)


def test_frames_of_a_large_radiograph_are_made_and_shown_one_at_a_time(uniform: Uniform) -> None:
    shown: list[int] = []

    class Counts(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            shown.append(len(x))
            return torch.zeros(len(x), 2)

    target = ModuleTarget(Counts(), TargetConfig(positive=("covid",), size=32, channels=1))
    side = math.isqrt(PIXELS // 2) + 1
    made: list[int] = []

    def make(i: int) -> Tensor:
        made.append(i)
        return torch.zeros(1, side, side)

    assert respond(target, Frames(make, 5), torch.ones(1, 1, side, side)).shape == (5, 2)
    assert shown == [1] * 5
    assert made == [0, 1, 2, 3, 4]


def test_frames_are_a_sequence() -> None:
    frames = Frames(lambda i: torch.full((1, 2, 2), float(i)), 5)
    assert [float(each.mean()) for each in frames[1:4]] == [1, 2, 3]
    assert float(frames[-1].mean()) == 4
    with pytest.raises(IndexError):
        frames[5]


def test_a_lungs_only_target_gets_the_one_mask_for_every_frame(lungs: Tensor) -> None:
    seen = []

    class Seen(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append((x != 0).float())
            return torch.zeros(len(x), 2)

    target = ModuleTarget(Seen(), TargetConfig(positive=("covid",), size=32, lungs_only=True, channels=1))
    mask = lungs[..., 8:40, 8:40]
    respond(target, torch.rand(5, 1, 32, 32), mask)
    assert torch.equal(torch.cat(seen), mask.expand(5, -1, -1, -1))


def test_positive_set_may_hold_several_classes(brightness: ModuleTarget) -> None:
    p = torch.tensor([[0.5, 0.2, 0.3], [0.1, 0.8, 0.1]])
    assert positive_probability(brightness, p).tolist() == pytest.approx([0.3, 0.1])
    torch.testing.assert_close(positive_probability(brightness.with_positive(("flu", "covid")), p), torch.tensor([0.5, 0.9]))


def test_between_two_radiographs(generator: Disentangler, brightness: ModuleTarget, lungs: Tensor) -> None:
    negative, positive = (radiograph(b + 0.1 * torch.rand(1, 1, 48, 64), lungs, name) for b, name in ((0.3, "a"), (0.8, "b")))
    film = traverse(generator, brightness, negative, pathology="between", reference=positive, strengths=5)
    assert (film.name, film.pathology) == ("a to b", "between")
    assert film.strengths.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert torch.equal(film.frames[0], negative.image[0])  # a negative has no disease
    code = generator.encode(generator.read(positive.image, lungs), lungs)
    torch.testing.assert_close(film.code, code[0])
    torch.testing.assert_close(film.frames[4], laid(negative.image, generator.layer(code, lungs))[0], atol=2e-5, rtol=0)
    torch.testing.assert_close(film.frames[2], laid(negative.image, generator.layer(0.5 * code, lungs))[0], atol=2e-5, rtol=0)


def test_between_two_negatives_nothing_changes_and_that_is_said(generator: Disentangler, brightness: ModuleTarget) -> None:
    film = traverse(generator, brightness, flat(0.1), pathology="between", reference=flat(0.2), strengths=[0.0, 1.0])
    assert torch.equal(film.frames[1], film.frames[0])
    assert "neither image positive" in film.remarks[-1]
    with pytest.raises(ValueError, match="growing strengths from 0 to 1, got"):
        traverse(generator, brightness, flat(0.1), pathology="between", reference=flat(0.2), strengths=[0.0, 1.5])


def test_a_positive_on_which_nothing_is_read_is_remarked_on(brightness: ModuleTarget) -> None:
    assert traverse(Uniform(), brightness, flat(0.7), strengths=3).remarks == (
        "hardly any pathology was found on the radiograph",
    )


@pytest.mark.parametrize(
    ("changed", "error", "says"),
    [
        ({"generator": "disease"}, TypeError, r"a generator \(load_generator\), got 'disease'"),
        ({"target": nn.Flatten()}, TypeError, r"a target \(load_target, as_target\), got Flatten"),
        ({"radiograph": "x.png"}, TypeError, "a Radiograph .*got 'x.png'"),
        ({"radiograph": torch.zeros(1, 1, 8, 8)}, TypeError, "a Radiograph .*got Tensor"),
        ({"pathology": "worst"}, ValueError, "a pathology of own, from"),
        ({"pathology": "from"}, ValueError, "a radiograph to take the pathology from"),
        ({"reference": "x.png"}, TypeError, "a Radiograph .*got 'x.png'"),
        ({"label": "flu"}, ValueError, "no code prior for 'flu'"),
    ],
)
@pytest.mark.parametrize("ask", [traverse, counterfactual])
def test_what_was_mixed_up_is_said_in_one_line(
    ask: Callable[..., object], brightness: ModuleTarget, changed: dict[str, object], error: type[Exception], says: str
) -> None:
    asked = {"generator": Uniform(), "target": brightness, "radiograph": flat(0.7), "pathology": "own"} | changed
    with pytest.raises(error, match=says) as caught:
        ask(asked.pop("generator"), asked.pop("target"), asked.pop("radiograph"), **asked)
    assert "\n" not in str(caught.value)


def test_an_empty_list_gives_an_empty_list(brightness: ModuleTarget) -> None:
    assert traverse(Uniform(), brightness, []) == []
    with pytest.raises(TypeError, match="got 'x.png'"):
        traverse(Uniform(), brightness, ["x.png"])  # type: ignore[list-item]


def test_a_counterfactual_is_on_the_other_side(brightness: ModuleTarget) -> None:
    added = counterfactual(Uniform(), brightness, flat(0.4))
    assert (added.before < 1 / 3 < added.after, added.flipped, added.pathology) == (True, True, "prior")
    healed = counterfactual(Uniform(reads=True), brightness, flat(0.7))
    assert (healed.before > 1 / 3 > healed.after, healed.flipped, healed.pathology) == (True, True, "own")
    assert torch.equal(laid(healed.structure, healed.layer), flat(0.7).image)
    assert not counterfactual(Uniform(), brightness, flat(0.7)).flipped  # nothing is read on it
    assert added._repr_png_().startswith(b"\x89PNG")


def test_a_traversal_shows_and_saves_itself(uniform: Uniform, brightness: ModuleTarget, tmp_path: Path) -> None:
    film = traverse(uniform, brightness, flat(0.3), strengths=5)
    assert isinstance(film.plot(), Figure)
    assert film._repr_png_().startswith(b"\x89PNG")
    film.save(tmp_path / "film")
    again = load_traversal(tmp_path / "film")
    assert torch.equal(again.frames.stack(), film.frames.stack())
    with pytest.raises(FileExistsError):
        film.save(tmp_path / "film")


def test_strengths_pass_through_one() -> None:
    assert 1.0 in even_strengths(0, 1.5, 33)
    assert even_strengths(0, 1.5, 33).diff().min() > 0
    assert even_strengths(0, 1.5, 31).tolist() == pytest.approx([0.05 * i for i in range(31)])
    assert 1.0 in even_strengths(0.99, 1.5, 3)
    assert even_strengths(0.2, 0.8, 3).tolist() == pytest.approx([0.2, 0.5, 0.8])
    assert even_strengths(0, 1.5, 2).tolist() == [0, 1.5]
    assert torch.equal(as_strengths(33), even_strengths(0, 1.5, 33))


@pytest.mark.parametrize("bad", [1, [], [-0.5, 1.0], [1.0, 0.5], [0.0, math.nan], [[0.0, 1.0]], "33", None])
def test_strengths_that_are_none(bad: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        as_strengths(bad)  # type: ignore[arg-type]
