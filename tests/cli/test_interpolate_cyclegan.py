"""`interpolate` with a CycleGAN for a generator, on a CycleGAN that brightens and darkens and a target that is known in full."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from gan_explain.cli import main
from gan_explain.cli.exits import DATA, OK, USAGE
from gan_explain.counterfactual import load_traversal
from gan_explain.data.prepare import prepare
from gan_explain.image import clip_percentile, read_image
from gan_explain.nets.load import load_cyclegan
from gan_explain.pixels import quantize16

Invoke = Callable[..., Result]
FOG = ("--generator", "fog", "--strengths", 5, "--picture-size", 256)
FILES = {
    "classes.csv", "code.npy", "frames", "layer.npy", "lungs.png", "response_curve.csv", "response_curve.png", "run.json",
    "strip.png", "structure.png", "transition.gif", "transition.mp4", "traversal.json",
}  # fmt: skip


def test_a_negative_is_charted_on_the_way_to_its_translation(invoke: Invoke, negative: Path, world: Path) -> None:
    result = invoke("interpolate", negative, *FOG, "--resolution", 64, "--out", "film", "--json")
    assert result.exit_code == OK, result.stderr
    (patient,) = json.loads(result.stdout)["patients"]
    assert (patient["called"], patient["pathology"]) == ("negative", "to_positive")
    assert patient["input_probability"] == pytest.approx(patient["probability_at_0"], abs=1e-3)
    assert 0 < patient["crossing"] < 1
    assert {path.name for path in (world / "film").iterdir()} == FILES
    film = load_traversal(world / "film")
    x = prepare(read_image(negative), 64)[None]
    expected = x + 0.375 * (load_cyclegan("fog").to_positive(x) - x)
    torch.testing.assert_close(film.frames[1], expected[0], atol=5e-5, rtol=0)
    run = json.loads((world / "film" / "run.json").read_text())
    assert (run["generator"]["name"], run["generator"]["part"]) == ("fog", "cyclegan")


def test_a_positive_is_charted_from_its_healed_self(invoke: Invoke, positive: Path, world: Path) -> None:
    result = invoke("interpolate", positive, *FOG, "--out", "film", "--json")
    assert result.exit_code == OK, result.stderr
    (patient,) = json.loads(result.stdout)["patients"]
    assert (patient["called"], patient["pathology"]) == ("positive", "to_negative")
    assert patient["probability_at_0"] < patient["probability_at_1"]
    assert patient["probability_at_1"] == pytest.approx(patient["input_probability"], abs=1e-3)
    film = load_traversal(world / "film")
    x = quantize16(torch.from_numpy(clip_percentile(read_image(positive))))[None]  # at its own size
    assert torch.equal(film.frames[film.strengths.tolist().index(1)], x)


def test_its_own_checkpoint_and_target_are_found(negative: Path, world: Path) -> None:
    """The shipped weights, whose change at 128 pixels is laid on the whole image, and the target that goes with none."""
    args = ["interpolate", str(negative), "--generator", "cxr128-cyclegan", "--segmenter", "everywhere", "--strengths", "3"]
    result = CliRunner().invoke(main, [*args, "--out", "film", "--json"])
    assert result.exit_code == OK, result.stderr
    run = json.loads((world / "film" / "run.json").read_text())
    assert (run["generator"]["name"], run["target"]["spec"]) == ("cxr128-cyclegan", "checkpoint:cxr128")
    assert load_traversal(world / "film").frames[0].shape == (1, 96, 96)


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--sample", 2), USAGE, "expected one of IMAGE, --sample and --between"),
        (("--pathology", "minimal"), USAGE, "leave out --pathology"),
        (("--generator", "everywhere"), DATA, "no part 'generator'; it has segmenter"),
    ],
)
def test_what_it_cannot_do_is_said(
    invoke: Invoke, negative: Path, world: Path, options: tuple[object, ...], code: int, says: str
) -> None:
    result = invoke("interpolate", negative, *FOG, *options, "--out", "film")
    assert result.exit_code == code, result.stderr
    assert says in result.stderr
    assert not (world / "film").exists()


def test_it_needs_an_image(invoke: Invoke) -> None:
    result = invoke("interpolate", *FOG)
    assert result.exit_code == USAGE
    assert "expected an IMAGE" in result.stderr
