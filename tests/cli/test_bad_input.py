"""What a new user gets wrong: one clear line, the documented exit code, no traceback, nothing half-written."""

from __future__ import annotations

import errno
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from gan_explain.cli.exits import DATA, OK, RESOURCES, TARGET, USAGE

Invoke = Callable[..., Result]
Draw = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[2]


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if "__pycache__" not in path.parts}


@pytest.fixture
def refused(invoke: Invoke, world: Path) -> Callable[..., str]:
    """Run a command that must fail with a code; returns its one error line (remarks on the image may stand before it)."""

    def call(code: int, *args: object) -> str:
        before = files(world)
        result = invoke(*args)
        assert result.exit_code == code, result.stderr
        assert result.stdout == ""
        lines = [line for line in result.stderr.strip().splitlines() if not line.startswith(("warning: ", "target "))]
        assert len(lines) == 1, result.stderr
        assert lines[0].startswith("error: ")
        assert "Traceback" not in result.stderr
        assert files(world) == before
        return lines[0]

    return call


def png_header(path: Path, width: int, height: int) -> Path:
    """A PNG that announces a size and then ends."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b""))
    return path


def photograph(path: Path) -> Path:
    y, x = np.mgrid[0:1:96j, 0:1:96j]
    Image.fromarray((255 * np.stack([x, y, 1 - x], 2)).astype(np.uint8)).save(path)
    return path


# -- images -------------------------------------------------------------------------------------------------------------------


def test_path_that_does_not_exist(refused: Callable[..., str]) -> None:
    assert "nowhere.png: no such image file" in refused(DATA, "interpolate", "nowhere.png")


def test_folder_in_place_of_an_image(refused: Callable[..., str], world: Path) -> None:
    (world / "folder").mkdir()
    assert "folder" in refused(DATA, "interpolate", "folder")


def test_text_file_named_png(refused: Callable[..., str], world: Path) -> None:
    (world / "text.png").write_text("hello")
    assert "text.png: expected an image" in refused(DATA, "interpolate", "text.png")


def test_empty_file(refused: Callable[..., str], world: Path) -> None:
    (world / "empty.png").touch()
    assert "empty.png" in refused(DATA, "interpolate", "empty.png")


def test_png_cut_in_half(refused: Callable[..., str], negative: Path) -> None:
    negative.write_bytes(negative.read_bytes()[: negative.stat().st_size // 2])
    assert "negative.png" in refused(DATA, "interpolate", negative)


def test_jpeg_cut_in_half(refused: Callable[..., str], positive: Path) -> None:
    positive.write_bytes(positive.read_bytes()[: positive.stat().st_size // 2])
    assert "positive.jpg" in refused(DATA, "interpolate", positive)


def test_colour_photograph(refused: Callable[..., str], invoke: Invoke, world: Path) -> None:
    path = photograph(world / "holiday.jpg")
    assert "colour photograph" in refused(DATA, "interpolate", path)
    assert invoke("interpolate", path, "--force", "--strengths", 3, "--picture-size", 256).exit_code == OK


def test_gray_image_stored_as_rgb_is_fine(invoke: Invoke, negative: Path) -> None:
    Image.open(negative).convert("RGB").save(negative)
    assert invoke("interpolate", negative, "--dry-run").exit_code == OK


def test_16_bit_png_is_fine(invoke: Invoke, world: Path) -> None:
    ramp = np.tile(32767 + 32767 * np.cos(np.linspace(0, 13, 96)), (96, 1)).astype(np.uint16)
    Image.fromarray(ramp).save(world / "deep.png")
    assert invoke("interpolate", "deep.png", "--dry-run").exit_code == OK


def test_image_of_40_pixels(refused: Callable[..., str], world: Path, save_image: Draw) -> None:
    line = refused(DATA, "interpolate", save_image(world / "small.png", 0.4, side=40))
    assert "at least 64x64 pixels, got 40x40" in line


def test_header_of_30000_pixels_a_side(refused: Callable[..., str], world: Path) -> None:
    assert "pixels" in refused(DATA, "interpolate", png_header(world / "huge.png", 30000, 30000))


def test_image_without_lungs(refused: Callable[..., str], negative: Path) -> None:
    assert "found lungs on 0.0%" in refused(DATA, "interpolate", negative, "--segmenter", "nowhere")


def test_reference_and_between_are_checked_too(refused: Callable[..., str], negative: Path) -> None:
    assert "nowhere.png" in refused(DATA, "interpolate", negative, "--pathology", "from:nowhere.png")
    assert "nowhere.png" in refused(DATA, "interpolate", "--between", negative, "nowhere.png")


# -- options ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [
        ("negative.png", "--sample", "2"),
        ("--between", "negative.png", "negative.png", "--sample", "2"),
        ("--between", "negative.png", "negative.png", "--pathology", "prior"),
        ("negative.png", "--pathology", "worst"),
        ("negative.png", "--pathology", "from:"),
        ("--pathology", "own"),
        ("negative.png", "--resolution", "63"),
        ("negative.png", "--strengths", "1"),
        ("negative.png", "--max-strength", "0"),
        ("negative.png", "--max-strength", "nan"),
        ("negative.png", "--sample"),
        ("negative.png", "negative.png"),
        ("--sample", "0"),
        ("--seed", "-1"),
        ("--device", "tpu"),
    ],
    ids=" ".join,
)
def test_options_that_make_no_sense(refused: Callable[..., str], negative: Path, args: tuple[str, ...]) -> None:
    refused(USAGE, "interpolate", *args)


def test_output_folder_is_a_file(refused: Callable[..., str], negative: Path) -> None:
    assert "expected a folder" in refused(RESOURCES, "interpolate", negative, "--out", negative)


def test_output_folder_holds_other_files(refused: Callable[..., str], negative: Path, world: Path) -> None:
    (world / "mine").mkdir()
    (world / "mine" / "thesis.txt").touch()
    assert "--overwrite" in refused(USAGE, "interpolate", negative, "--out", "mine")


def test_full_disk_leaves_nothing(refused: Callable[..., str], negative: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(import_module("gan_explain.counterfactual.saved"), "write_bytes", full)
    assert "No space left" in refused(RESOURCES, "interpolate", negative, "--out", "deep/below/film")


# -- checkpoints and targets --------------------------------------------------------------------------------------------------


def test_checkpoint_that_does_not_exist(refused: Callable[..., str], negative: Path) -> None:
    assert "no checkpoint 'cxr999'" in refused(DATA, "interpolate", negative, "--generator", "cxr999")


@pytest.mark.parametrize("name", ["weights.safetensors", "config.json"])
def test_checkpoint_cut_in_half(refused: Callable[..., str], negative: Path, world: Path, checkpoints: Path, name: str) -> None:
    shutil.copytree(checkpoints / "tiny", world / "half")
    data = (world / "half" / name).read_bytes()
    (world / "half" / name).write_bytes(data[: len(data) // 2])
    assert name in refused(DATA, "interpolate", negative, "--generator", "half")


def test_checkpoint_of_another_kind(refused: Callable[..., str], negative: Path) -> None:
    refused(DATA, "interpolate", negative, "--generator", "everywhere")
    refused(DATA, "interpolate", negative, "--segmenter", "tiny")


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("brightness_target:WrongShape", "got (4, 2)"),
        ("brightness_target:NotANumber", "finite"),
        ("brightness_target:no_network", "int"),
        ("brightness_target:missing", "missing"),
        ("no_such_module:thing", "no_such_module"),
        ("nonsense", "expected a target"),
        ("torchvision:resnet18", "expected torchvision:ARCH#WEIGHTS"),
    ],
)
def test_target_that_breaks_its_contract(refused: Callable[..., str], negative: Path, spec: str, says: str) -> None:
    assert says in refused(TARGET, "interpolate", negative, "--target", spec)


def test_positive_set_that_the_target_does_not_have(invoke: Invoke, negative: Path) -> None:
    result = invoke("interpolate", negative, "--positive", "flu")
    assert result.exit_code == TARGET
    assert result.stderr.splitlines()[-1].startswith("error: expected a positive set within the classes normal, pneumonia, covid")


# -- data ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def manifest(world: Path, save_image: Draw) -> Path:
    """A data set of two classes with a manifest."""
    lines = ["path,label,patient_id,split"]
    for i in range(6):
        save_image(world / f"{i}.png", 0.3 + 0.1 * i)
        lines.append(f"{i}.png,{'covid' if i % 2 else 'normal'},p{i},{('train', 'val', 'test')[i // 2]}")
    (world / "manifest.csv").write_text("\n".join(lines) + "\n")
    return world / "manifest.csv"


def test_good_data(invoke: Invoke, manifest: Path) -> None:
    result = invoke("data", manifest)
    assert result.exit_code == OK, result.stderr
    assert "6 images of 6 patients" in result.stdout


def test_data_that_does_not_exist(refused: Callable[..., str]) -> None:
    assert "nowhere" in refused(DATA, "data", "nowhere")


def test_empty_folder(refused: Callable[..., str], world: Path) -> None:
    (world / "empty").mkdir()
    assert "empty" in refused(DATA, "data", "empty")


def test_folder_with_one_class(refused: Callable[..., str], world: Path, save_image: Draw) -> None:
    (world / "set" / "covid").mkdir(parents=True)
    for i in range(4):
        save_image(world / "set" / "covid" / f"{i}.png", 0.5)
    assert "class" in refused(DATA, "data", "set")


def test_manifest_with_a_missing_column(refused: Callable[..., str], manifest: Path) -> None:
    manifest.write_text(manifest.read_text().replace("patient_id", "patient"))
    assert "missing: patient_id" in refused(DATA, "data", manifest)


def test_patient_in_two_splits(refused: Callable[..., str], manifest: Path) -> None:
    manifest.write_text(manifest.read_text().replace(",p5,", ",p0,"))
    assert "'p0' in train and test" in refused(DATA, "data", manifest)


def test_unreadable_images_beyond_five_percent(invoke: Invoke, manifest: Path, world: Path) -> None:
    (world / "3.png").write_text("hello")
    result = invoke("data", manifest, "--out", "copy")
    assert result.exit_code == DATA
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert "1 of 6" in result.stderr
    assert files(world / "copy") == {"rejects.csv"}
    (world / "3.png").write_bytes((world / "5.png").read_bytes() + b"\0")  # no copy of it
    assert invoke("data", manifest, "--out", "copy").exit_code == OK  # that list does not stand in the way
    assert "rejects.csv" not in files(world / "copy")


def test_phantom_option_that_does_not_exist(refused: Callable[..., str]) -> None:
    assert "got 'm=400'" in refused(DATA, "data", "phantom:m=400")


TRAIN = [
    ("train", "segmenter", "--segmenter-free"),
    ("train", "segmenter", "--data", "nowhere"),
    ("train", "target", "--data", "nowhere", "--segmenter", "everywhere"),
    ("train", "target", "--data", "phantom:n=10", "--segmenter", "nothing"),
    ("train", "target", "--data", "phantom:n=10", "--segmenter", "everywhere", "--positive", "flu"),
    (
        "train",
        "target",
        "--data",
        "phantom:n=10",
        "--segmenter",
        "everywhere",
        "--weights",
        "nowhere.pth",
        "--arch",
        "resnet18",
    ),
    ("train", "free", "--data", "phantom:n=10"),
    ("train", "free", "--data", "phantom:n=10", "--target", "brightness_target:WrongShape", "--segmenter", "everywhere"),
    ("train", "free", "--data", "nowhere", "--target", "brightness_target:Brightness", "--segmenter", "everywhere"),
    ("train", "free", "--data", "phantom:n=10", "--target", "brightness_target:Brightness", "--resolution", "100"),
    ("train", "free", "--data", "phantom:n=10", "--target", "brightness_target:Brightness", "--set", "size=much"),
    ("train", "generator", "--data", "nowhere", "--segmenter", "everywhere", "--preset", "small"),
    ("train", "generator", "--data", "phantom:n=10", "--target", "checkpoint:tiny"),
    ("train", "segmenter", "--data", "phantom:n=10", "--resume"),
]
CODES = [USAGE, DATA, DATA, DATA, DATA, DATA, USAGE, TARGET, DATA, USAGE, USAGE, DATA, USAGE, DATA]


@pytest.mark.parametrize(("args", "code"), list(zip(TRAIN, CODES, strict=True)), ids=[" ".join(args) for args in TRAIN])
def test_training(refused: Callable[..., str], args: tuple[str, ...], code: int) -> None:
    refused(code, *args)


# -- as users run it ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["interpolate.py"], ["-m", "gan_explain", "interpolate"]], ids=["script", "module"])
def test_script_prints_one_line_and_no_traceback(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "text.png").write_text("hello")
    done = subprocess.run(
        [sys.executable, *command, str(tmp_path / "text.png"), "--out", str(tmp_path / "out")],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == DATA
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert files(tmp_path) == {"text.png"}
