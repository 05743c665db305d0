"""`gan-explain explain` from end to end: any CNN with gradients, no generator."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from gan_explain.cli.models import digest

Invoke = Callable[..., Result]
OURS = ("--segmenter", "everywhere", "--target", "checkpoint:tiny#target")


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
    assert run["data"] == {f"radiograph {digest(positive)[:8]}": digest(positive)}
    with Image.open(world / "e" / "heat.png") as picture:
        assert picture.size[0] > 2 * 384


def test_a_person_is_told(invoke: Invoke, positive: Path) -> None:
    result = invoke("explain", positive, *OURS, "--layer", "features.0", "--resolution", 96)
    assert result.exit_code == 0, result.stderr
    assert "p(covid)" in result.stdout
    assert "layer features.0, 32 × 32 cells" in result.stdout


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
        (("--method", "tea_leaves"), 2, "expected one or more of grad_cam"),
        (("--method", ","), 2, "grad_cam"),
        (("--layer", "nowhere"), 4, "layer 'nowhere'"),
        (("--target", "brightness_target:Brightness"), 4, "convolution"),
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
    result = invoke("explain", positive, "--segmenter", "everywhere", "--target", f"onnx:{path}")
    assert result.exit_code == 4, result.stderr
    assert "gradients" in result.stderr


def test_bad_images(invoke: Invoke, world: Path, save_image: Callable[..., Path]) -> None:
    (world / "text.png").write_text("not an image")
    small = save_image(world / "small.png", 0.5, 32)
    Image.fromarray(np.tile(np.array([200, 30, 30], np.uint8), (96, 96, 1))).save(world / "red.png")
    for path, says in (("nowhere.png", "no such"), ("text.png", "text.png"), (small, "64x64"), ("red.png", "colour")):
        result = invoke("explain", path, *OURS, "--out", "e")
        assert result.exit_code == 3, result.stderr
        assert says in result.stderr.splitlines()[-1]
    assert not (world / "e").exists()
