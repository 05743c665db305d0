"""Radiographs as they came, whatever they came as."""

from __future__ import annotations

import hashlib
import io
import logging
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gan_explain.counterfactual import Radiograph, read_radiograph
from gan_explain.image import clip_percentile, read_image, read_picture
from gan_explain.pixels import quantize16
from gan_explain.types import DataError


def chest(images: Tensor) -> Tensor:
    """Two lungs in the middle of any image."""
    mask = torch.zeros_like(images)
    h, w = images.shape[-2:]
    for left, right in ((0.15, 0.45), (0.55, 0.85)):
        mask[..., int(0.2 * h) : int(0.8 * h), int(left * w) : int(right * w)] = 1
    return mask


def ramp(height: int = 90, width: int = 120) -> np.ndarray:
    """Every gray once a row, up and down twice: a plain shade is no radiograph."""
    places = np.cos(np.linspace(0, 4 * np.pi, width)).argsort(kind="stable").argsort()
    return np.tile(np.linspace(0, 1, width, dtype=np.float32)[places], (height, 1))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Image.fromarray((ramp() * 65535).astype(np.uint16)).save(tmp_path / "x.png")
    return tmp_path / "x.png"


def test_a_file_is_kept_whole_at_its_own_size(path: Path) -> None:
    x = read_radiograph(path, segmenter=chest)
    assert x.image.shape == x.lungs.shape == (1, 1, 90, 120)
    assert torch.equal(x.image[0, 0], quantize16(torch.from_numpy(clip_percentile(read_image(path)))))
    assert x.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert x.name == str(path)
    assert x.remarks == ()
    assert x.fit == {"size": [90, 120], "rows": [0, 90], "columns": [0, 120], "percentiles": [0.5, 99.5], "kept": [90, 120]}


def test_whatever_it_comes_as_it_is_the_same(path: Path) -> None:
    x = read_radiograph(path, segmenter=chest)
    pixels = read_image(path)
    others = (path.read_bytes(), read_picture(path), Image.open(path), pixels, torch.from_numpy(pixels)[None, None])
    sixteen = (pixels * 65535).round().astype(np.uint16)
    others += (sixteen, sixteen[..., None], np.repeat(pixels[..., None], 3, 2), pixels.astype(np.float64))
    with path.open("rb") as file:
        assert torch.equal(read_radiograph(file, segmenter=chest).image, x.image)
    for other in (*others, io.BytesIO(path.read_bytes())):
        assert torch.equal(read_radiograph(other, segmenter=chest).image, x.image)
    assert read_radiograph(path.read_bytes(), segmenter=chest).sha256 == x.sha256


def test_a_dicom_file_and_its_bytes(tmp_path: Path, save_dicom: Callable[..., Path]) -> None:
    path = save_dicom(tmp_path / "x.dcm", (ramp() * 4095).astype(np.uint16), stored=12)
    x = read_radiograph(path, segmenter=chest)
    assert x.image.shape == (1, 1, 90, 120)
    assert torch.equal(read_radiograph(path.read_bytes(), segmenter=chest).image, x.image)


def test_a_frame_is_trimmed_and_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    framed = np.zeros((110, 150), np.float32)
    framed[10:100, 20:140] = 0.2 + 0.6 * ramp()
    x = read_radiograph(framed, segmenter=chest)
    assert x.image.shape == (1, 1, 90, 120)
    assert (x.fit["rows"], x.fit["columns"]) == ([10, 100], [20, 140])
    assert "uniform borders trimmed: 120x90 of 150x110 pixels kept" in caplog.text
    assert read_radiograph(framed, segmenter=chest, trim=False).image.shape == (1, 1, 110, 150)


def test_the_longer_side_may_be_named(path: Path) -> None:
    x = read_radiograph(path, segmenter=chest, size=240)
    assert x.image.shape == (1, 1, 180, 240)
    assert x.fit["kept"] == [180, 240]
    with pytest.raises(ValueError, match="a size of at least 64 pixels, got 0"):
        read_radiograph(path, segmenter=chest, size=0)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (np.full((90, 90), np.nan, np.float32), "finite values in"),
        (np.full((90, 90), 1.5, np.float32), "finite values in"),
        (np.full((90, 90), -1), "finite values in"),
        (np.zeros((3, 90, 90), np.float32), "an array"),
        (np.zeros((0, 90), np.float32), "an array"),
        (torch.zeros(2, 1, 90, 90), "an array"),
        (np.ones((90, 90), complex), "of numbers, got an array of complex128"),
        (np.zeros((90, 90, 4), np.uint8), r"\(H, W\), \(H, W, 1\) or \(H, W, 3\), got \(90, 90, 4\)"),
        (io.StringIO("text"), "of numbers, got an array of <U4"),
        (None, "of numbers, got an array of object"),
    ],
)
def test_an_array_that_is_none(source: object, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        read_radiograph(source, segmenter=chest)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_what_is_no_radiograph(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least 64x64 pixels, got 40x90"):
        read_radiograph(ramp(90, 40), segmenter=chest)
    with pytest.raises(DataError, match="an image of one gray"):
        read_radiograph(np.full((90, 90), 0.4), segmenter=chest, force=True)
    with pytest.raises(DataError, match="found lungs on 0.0%"):
        read_radiograph(ramp(), segmenter=torch.zeros_like)
    assert read_radiograph(ramp(), segmenter=torch.zeros_like, force=True).lungs.sum() == 0
    with pytest.raises(DataError, match="no such image file"):
        read_radiograph(tmp_path / "none.png", segmenter=chest)
    with pytest.raises(DataError, match="bytes: expected an image"):
        read_radiograph(b"hello", segmenter=chest)


@pytest.mark.parametrize(
    ("image", "lungs"),
    [
        (torch.zeros(1, 8, 8), torch.zeros(1, 8, 8)),
        (torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8)),
        (torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 9)),
        (torch.full((1, 1, 8, 8), math.nan), torch.zeros(1, 1, 8, 8)),
        (torch.full((1, 1, 8, 8), 1.01), torch.zeros(1, 1, 8, 8)),
    ],
)
def test_a_radiograph_holds_one_image_and_its_lungs(image: Tensor, lungs: Tensor) -> None:
    with pytest.raises(ValueError, match="expected"):
        Radiograph("x", image, lungs, "")


def test_a_photograph_in_colour_as_a_file_an_image_and_an_array(tmp_path: Path) -> None:
    photo = np.stack([ramp(), ramp()[:, ::-1], ramp() * 0], 2)
    picture = Image.fromarray((photo * 255).astype(np.uint8))
    picture.save(tmp_path / "photo.jpg")
    for source in (tmp_path / "photo.jpg", picture, photo):
        with pytest.raises(DataError, match="got a colour photograph"):
            read_radiograph(source, segmenter=chest)


def test_a_pil_image_is_read_as_its_file_is(tmp_path: Path) -> None:
    """Its EXIF too."""
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray((ramp() * 255).astype(np.uint8)).save(tmp_path / "x.png", exif=exif)
    x = read_radiograph(tmp_path / "x.png", segmenter=chest)
    assert x.image.shape == (1, 1, 120, 90)
    with Image.open(tmp_path / "x.png") as opened:
        assert torch.equal(read_radiograph(opened, segmenter=chest).image, x.image)


def test_a_notebook_shows_it_in_a_line_and_a_picture(path: Path) -> None:
    x = read_radiograph(path, segmenter=chest, name="x")
    assert repr(x).startswith("Radiograph(name='x', image=tensor(1, 1, 90, 120), lungs=tensor(1, 1, 90, 120), sha256='")
    assert len(repr(x)) < 600
    assert Image.open(io.BytesIO(x._repr_png_())).size == (686, 388)
