"""`interpolate --generator cyclegan`, on a CycleGAN that brightens and darkens and a target that is known in full."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from gan_explain.checkpoints import load_cyclegan
from gan_explain.cli import main
from gan_explain.cli.exits import DATA, OK, USAGE
from gan_explain.image import prepare, read_image
from gan_explain.render import load_traversal

Invoke = Callable[..., Result]
FOG = ("--generator", "cyclegan", "--checkpoint", "fog", "--steps", 5, "--size", 256)
FILES = {
    "classes.csv", "code.npy", "frames", "layer.npy", "lungs.png", "response_curve.csv", "response_curve.png", "run.json",
    "strip.png", "structure.png", "transition.gif", "transition.mp4", "traversal.json",
}  # fmt: skip


def test_a_negative_is_charted_on_the_way_to_its_translation(invoke: Invoke, negative: Path, world: Path) -> None:
    result = invoke("interpolate", negative, *FOG, "--out", "film", "--json")
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
    assert (run["checkpoint"]["name"], run["checkpoint"]["part"]) == ("fog", "cyclegan")


def test_a_positive_is_charted_from_its_healed_self(invoke: Invoke, positive: Path, world: Path) -> None:
    result = invoke("interpolate", positive, *FOG, "--out", "film", "--json")
    assert result.exit_code == OK, result.stderr
    (patient,) = json.loads(result.stdout)["patients"]
    assert (patient["called"], patient["pathology"]) == ("positive", "to_negative")
    assert patient["probability_at_0"] < patient["probability_at_1"]
    assert patient["probability_at_1"] == pytest.approx(patient["input_probability"], abs=1e-3)
    x = prepare(read_image(positive), 64)
    film = load_traversal(world / "film")
    torch.testing.assert_close(film.frames[film.strengths == 1][0], x, atol=5e-5, rtol=0)


def test_its_own_checkpoint_and_target_are_found(negative: Path, world: Path) -> None:
    """The shipped weights, at 128 pixels, and the target that goes with none in particular."""
    args = ["interpolate", str(negative), "--generator", "cyclegan", "--segmenter", "everywhere", "--steps", "3", "--size", "256"]
    result = CliRunner().invoke(main, [*args, "--out", "film", "--json"])
    assert result.exit_code == OK, result.stderr
    run = json.loads((world / "film" / "run.json").read_text())
    assert (run["checkpoint"]["name"], run["target"]["spec"]) == ("cxr128-cyclegan", "checkpoint:cxr128")
    assert load_traversal(world / "film").frames.shape == (3, 1, 128, 128)


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--sample", 2), USAGE, "expected one of IMAGE, --sample and --between"),
        (("--pathology", "minimal"), USAGE, "leave out --pathology"),
        (("--confine", "lungs"), USAGE, "leave out --confine"),
        (("--checkpoint", "tiny"), DATA, "no part 'cyclegan'"),
        (("--generator", "gan", "--checkpoint", "fog"), DATA, "no part 'lungs'; it has cyclegan"),
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
