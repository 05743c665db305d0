"""`gan-explain explain` from end to end: any CNN, every method, with and without a generator."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from gan_explain.attribution import METHODS

Invoke = Callable[..., Result]
OURS = ("--segmenter", "everywhere", "--generator", "tiny", "--target", "checkpoint:tiny#target")


def test_a_heat_map_is_drawn_and_saved(invoke: Invoke, positive: Path, world: Path) -> None:
    result = invoke("explain", positive, *OURS, "--out", "e", "--json")
    assert result.exit_code == 0, result.stderr
    assert {path.name for path in (world / "e").iterdir()} == {"heat.png", "grad_cam.npy", "lungs.png", "run.json"}
    heat = np.load(world / "e" / "grad_cam.npy", allow_pickle=False)
    assert heat.shape == (64, 64)  # the target's own input
    assert heat.dtype == np.float32
    assert heat.min() >= 0
    answer = json.loads(result.stdout)
    found = answer["methods"]["grad_cam"]
    assert found["largest"] == pytest.approx(float(heat.max()))
    assert found["note"] == "layer features, 4 × 4 cells"
    assert answer["positive"] == ["covid"]
    assert 0 <= answer["probability"] <= 1
    run = json.loads((world / "e" / "run.json").read_text())
    assert run["target"]["spec"] == "checkpoint:tiny#target"
    digest = hashlib.sha256(positive.read_bytes()).hexdigest()
    assert run["data"] == {f"radiograph {digest[:8]}": digest}
    assert answer["remarks"] == run["remarks"]
    assert "lungs were found on 100% of the image" in answer["remarks"][0]
    with Image.open(world / "e" / "heat.png") as picture:
        assert picture.size[0] > 2 * 384


def test_a_person_is_told(invoke: Invoke, positive: Path) -> None:
    result = invoke("explain", positive, *OURS, "--layer", "features.0", "--resolution", 96)
    assert result.exit_code == 0, result.stderr
    assert "p(covid)" in result.stdout
    assert "layer features.0, 32 × 32 cells" in result.stdout


MAPS = ("grad_cam", "integrated_gradients", "gradient_x_input", "occlusion", "latent_path", "difference", "reader")


def test_maps_stand_side_by_side(invoke: Invoke, positive: Path, world: Path) -> None:
    """Of the generator checkpoint's own target: no --target is needed."""
    asked = ("explain", positive, "--segmenter", "everywhere", "--generator", "tiny")
    result = invoke(*asked, "--method", ",".join(MAPS), "--out", "e", "--json")
    assert result.exit_code == 0, result.stderr
    assert {path.stem for path in (world / "e").glob("*.npy")} == set(MAPS)
    answer = json.loads(result.stdout)
    assert tuple(answer["methods"]) == MAPS
    assert answer["left_out"] == {}
    for name in MAPS:
        heat = np.load(world / "e" / f"{name}.npy", allow_pickle=False)
        assert heat.shape == (64, 64)
        assert answer["methods"][name]["sum"] == pytest.approx(float(heat.astype(np.float64).sum()), rel=1e-6, abs=1e-9)
    run = json.loads((world / "e" / "run.json").read_text())
    assert run["generator"]["name"] == "tiny"
    assert run["target"]["spec"] == "checkpoint:tiny"
    assert invoke(*asked, "--out", "one").exit_code == 0
    with Image.open(world / "e" / "heat.png") as many, Image.open(world / "one" / "heat.png") as one:
        assert many.size[0] > 1.8 * one.size[0]  # four in a row
        assert many.size[1] > 1.8 * one.size[1]  # in two rows
    assert "generator" not in json.loads((world / "one" / "run.json").read_text())


def test_a_map_sums_to_the_gain_that_its_note_states(invoke: Invoke, positive: Path) -> None:
    result = invoke("explain", positive, *OURS, "--method", "latent_path", "--dry-run", "--json")
    found = json.loads(result.stdout)["methods"]["latent_path"]
    first, last = map(float, found["note"].partition(": p ")[2].partition(";")[0].split(" to "))
    assert found["sum"] == pytest.approx(last - first, abs=2e-3)


def test_one_generator_serves_every_target(invoke: Invoke, positive: Path, world: Path) -> None:
    """What is read on an image does not depend on the CNN."""
    for i, target in enumerate(("brightness_target:Brightness", "checkpoint:tiny")):
        asked = ("--segmenter", "everywhere", "--generator", "tiny", "--target", target)
        result = invoke("explain", positive, *asked, "--method", "reader", "--out", f"e{i}")
        assert result.exit_code == 0, result.stderr
    one, other = (np.load(world / name / "reader.npy", allow_pickle=False) for name in ("e0", "e1"))
    assert one.max() > 0
    assert np.array_equal(one, other)


def test_an_image_that_is_not_square_is_explained_whole(invoke: Invoke, world: Path) -> None:
    ramp = np.tile(127 + 127 * np.cos(np.linspace(0, 13, 160)), (100, 1)).astype(np.uint8)
    Image.fromarray(ramp).save(world / "wide.png")
    result = invoke("explain", world / "wide.png", *OURS, "--method", "all", "--resolution", 96, "--out", "e", "--json")
    assert result.exit_code == 0, result.stderr
    for name in json.loads(result.stdout)["methods"]:
        assert np.load(world / "e" / f"{name}.npy", allow_pickle=False).shape == (60, 96)
    assert json.loads((world / "e" / "run.json").read_text())["fit"]["kept"] == [100, 160]


def test_all_leaves_out_what_the_target_does_not_allow(invoke: Invoke, positive: Path, world: Path) -> None:
    brightness = ("--segmenter", "everywhere", "--generator", "tiny", "--target", "brightness_target:Brightness")
    result = invoke("explain", positive, *brightness, "--method", "all", "--out", "e", "--json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert set(answer["methods"]) | set(answer["left_out"]) == set(METHODS)
    assert {"integrated_gradients", "gradient_x_input", "occlusion", "latent_path", "reader"} <= set(answer["methods"])
    assert "convolution" in answer["left_out"]["grad_cam"]
    assert {path.stem for path in (world / "e").glob("*.npy")} == set(answer["methods"])
    told = invoke("explain", positive, *brightness, "--method", "all", "--dry-run")
    assert "left out: grad_cam: expected a network with a convolution" in told.stdout


def test_help_names_every_method(invoke: Invoke) -> None:
    words = set(invoke("explain", "--help").stdout.replace(",", " ").replace(";", " ").split())
    assert set(METHODS) <= words


def test_another_positive_set_has_another_map(invoke: Invoke, positive: Path, world: Path) -> None:
    for name in ("covid", "normal"):
        assert invoke("explain", positive, *OURS, "--positive", name, "--out", name).exit_code == 0
    covid, normal = (np.load(world / name / "grad_cam.npy", allow_pickle=False) for name in ("covid", "normal"))
    assert not np.allclose(covid, normal)


def test_dry_run_writes_nothing(invoke: Invoke, positive: Path, world: Path) -> None:
    result = invoke("explain", positive, *OURS, "--out", "e", "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert "nothing written" in result.stdout
    assert not (world / "e").exists()


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("--method", "tea_leaves"), 2, "tea_leaves: expected one or more of"),
        (("--method", ","), 2, "grad_cam"),
        (("--layer", "nowhere"), 4, "layer 'nowhere'"),
        (("--target", "brightness_target:Brightness"), 4, "--method grad_cam: expected a network with a convolution"),
        (("--method", "occlusion,grad_cam", "--target", "brightness_target:Brightness"), 4, "--method grad_cam"),
        (("--method", "latent_path", "--generator", "nobody"), 3, "nobody"),
        (("--method", "reader", "--generator", "fog"), 3, "no part 'generator'"),
        (("--target", "brightness_target:NotANumber"), 4, "NaN"),
        (("--positive", "measles"), 4, "measles"),
        (("--segmenter", "nobody"), 3, "nobody"),
    ],
)
def test_bad_options(invoke: Invoke, positive: Path, world: Path, args: tuple[str, ...], code: int, says: str) -> None:
    given = [word for pair in zip(OURS[::2], OURS[1::2], strict=True) if pair[0] not in args for word in pair]
    result = invoke("explain", positive, *given, *args, "--out", "e")
    assert result.exit_code == code, result.stderr
    assert says in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert not (world / "e").exists()


def test_a_target_without_gradients_is_refused(invoke: Invoke, positive: Path, save_onnx: Callable[..., Path]) -> None:
    path = save_onnx("two", describe={"classes": ["normal", "covid"], "positive": ["covid"]})
    asked = ("explain", positive, "--segmenter", "everywhere", "--generator", "tiny", "--target", f"onnx:{path}")
    for name in ("grad_cam", "integrated_gradients", "latent_path"):
        given = ("--generator", "tiny") if name == "latent_path" else ()
        result = invoke(*asked, "--method", name, *given)
        assert result.exit_code == 4, result.stderr
        assert f"--method {name}" in result.stderr
        assert "gradients" in result.stderr
    result = invoke(*asked, "--method", "occlusion,difference", "--generator", "tiny", "--dry-run")
    assert result.exit_code == 0, result.stderr


def test_bad_images(invoke: Invoke, world: Path, save_image: Callable[..., Path]) -> None:
    (world / "text.png").write_text("not an image")
    small = save_image(world / "small.png", 0.5, 32)
    Image.fromarray(np.tile(np.array([200, 30, 30], np.uint8), (96, 96, 1))).save(world / "red.png")
    for path, says in (("nowhere.png", "no such"), ("text.png", "text.png"), (small, "64x64"), ("red.png", "colour")):
        result = invoke("explain", path, *OURS, "--out", "e")
        assert result.exit_code == 3, result.stderr
        assert says in result.stderr.splitlines()[-1]
    assert not (world / "e").exists()


def test_lungs_are_asked_for_unless_forced(invoke: Invoke, positive: Path, world: Path) -> None:
    blind = ("--segmenter", "nowhere", "--generator", "tiny", "--target", "checkpoint:tiny#target")
    result = invoke("explain", positive, *blind, "--out", "e")
    assert result.exit_code == 3
    assert "found lungs on 0.0%" in result.stderr.splitlines()[-1]
    forced = invoke("explain", positive, *blind, "--method", "all", "--force", "--out", "e")
    assert forced.exit_code == 0, forced.stderr
    assert not np.load(world / "e" / "reader.npy", allow_pickle=False).any()  # no lungs, no disease in them
