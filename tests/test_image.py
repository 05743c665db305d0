"""The one value range: what is read, cut, resized and written."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_explain import image, pixels
from gan_explain.files import temporaries
from gan_explain.types import DataError


def gradient(height: int = 60, width: int = 80) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return ((x * 2 + y) / (2 * width + height)).astype(np.float32)


def save(array: np.ndarray, path: Path, mode: str = "L") -> Path:
    Image.fromarray((array * 255).round().astype(np.uint8)).convert(mode).save(path)
    return path


def png_header(path: Path, width: int, height: int) -> Path:
    """A PNG that claims to be `width` x `height` and holds nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "CMYK"])
def test_eight_bit_modes_read_as_the_same_gray(tmp_path: Path, mode: str) -> None:
    array = gradient()
    read = image.read_image(save(array, tmp_path / "a.tif", mode))
    assert read.shape == array.shape
    assert read.dtype == np.float32
    assert np.abs(read - array).max() < 1.5 / 255


def test_sixteen_bit_round_trip_is_lossless(tmp_path: Path) -> None:
    values = pixels.quantize16(torch.rand(1, 33, 47))
    image.write_png16(values, tmp_path / "a.png")
    assert torch.equal(torch.from_numpy(image.read_image(tmp_path / "a.png"))[None], values)
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]  # no temporary is left


def test_palette_and_one_bit_images_are_read(tmp_path: Path) -> None:
    array = (gradient() > 0.5).astype(np.float32)
    for mode in ("P", "1"):
        assert np.array_equal(image.read_image(save(array, tmp_path / f"{mode}.png", mode)), array)


def test_float_image_with_nan_stays_in_range(tmp_path: Path) -> None:
    array = gradient() * 3000 - 1000
    array[0, 0] = np.nan
    Image.fromarray(array).save(tmp_path / "a.tif")
    read = image.read_image(tmp_path / "a.tif")
    assert read.min() == 0
    assert read.max() == 1


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    text = tmp_path / "text.png"
    text.write_text("not an image")
    whole = save(gradient(), tmp_path / "whole.png").read_bytes()
    half = tmp_path / "half.png"
    half.write_bytes(whole[: len(whole) // 2])
    empty = tmp_path / "empty.jpg"
    empty.touch()
    huge = png_header(tmp_path / "huge.png", 30000, 30000)
    for path in (text, half, empty, huge, tmp_path / "missing.png", tmp_path):
        for read in (image.read_image, image.check_image):
            with pytest.raises(DataError, match=path.name):
                read(path)
    with pytest.raises(DataError, match="pixels"):
        image.read_image(huge)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp"])
def test_check_agrees_with_read_on_damaged_files(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).random((90, 90), dtype=np.float32)
    whole = save(noise, tmp_path / f"whole.{suffix}")
    image.check_image(whole)
    data = whole.read_bytes()
    broken = tmp_path / f"broken.{suffix}"
    for damaged in (data[: len(data) // 2], data[:-200], data[:30]):
        broken.write_bytes(damaged)
        with pytest.raises(DataError, match=r"broken\."):
            image.check_image(broken)
        with pytest.raises(DataError, match=r"broken\."):
            image.read_image(broken)


def test_check_catches_a_flipped_byte_in_a_png(tmp_path: Path) -> None:
    path = save(np.random.default_rng(0).random((90, 90), dtype=np.float32), tmp_path / "a.png")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError):
        image.check_image(path)


def test_colourfulness_tells_a_photograph_from_gray_as_rgb(tmp_path: Path) -> None:
    rgb = np.zeros((40, 40, 3), np.uint8)
    rgb[..., 0] = 200
    Image.fromarray(rgb).save(tmp_path / "red.png")
    assert image.read_picture(tmp_path / "red.png").colourfulness > 0.1
    assert image.read_picture(save(gradient(), tmp_path / "gray.png", "RGB")).colourfulness < 1e-6
    (tmp_path / "text.png").write_text("no")
    with pytest.raises(DataError):
        image.read_picture(tmp_path / "text.png")


def test_trim_cuts_frames_of_any_level_but_never_most_of_an_image() -> None:
    framed = np.full((80, 100), 0.3, np.float32)
    framed[5:75, 12:95] = gradient(70, 83)
    assert image.trim_box(framed) == (slice(5, 75), slice(12, 95))
    assert image.trim_frame(framed).shape == (70, 83)
    small = np.zeros((80, 100), np.float32)
    small[40:50, 40:50] = gradient(10, 10)
    assert image.trim_frame(small).shape == small.shape
    assert image.trim_frame(np.ones((20, 20), np.float32)).shape == (20, 20)


def test_percentile_clipping_stretches_and_survives_uniform_images() -> None:
    array = np.linspace(0.4, 0.6, 10000, dtype=np.float32).reshape(100, 100)
    array[0, :10] = 1.0  # burned-in text: under half a percent
    clipped = image.clip_percentile(array)
    assert clipped.min() == 0
    assert clipped.max() == 1
    assert abs(float(clipped.mean()) - 0.5) < 0.02
    assert not image.clip_percentile(np.full((8, 8), 0.7, np.float32)).any()


@pytest.mark.parametrize("shape", [(40, 40), (300, 200), (7, 500)])
def test_prepare_gives_any_shape_at_any_size(shape: tuple[int, int]) -> None:
    array = np.random.default_rng(0).random(shape, dtype=np.float32)
    for size in (16, 65):
        prepared = image.prepare(array, size)
        assert prepared.shape == (1, size, size)
        assert 0 <= float(prepared.min()) <= float(prepared.max()) <= 1


def test_masks_are_cut_with_their_image() -> None:
    """A disc that is bright in the image and inside in the mask stays one disc, whatever the frame and the mask's own grid."""
    y, x = np.mgrid[0:120, 0:120]
    disc = ((x - 70) ** 2 + (y - 40) ** 2 < 15**2).astype(np.float32)
    frame = ((10, 20), (30, 10))
    framed = np.pad(disc * 0.8 + 0.1 + 0.05 * np.random.default_rng(0).random((120, 120), dtype=np.float32), frame)
    mask = np.pad(disc, frame)
    coarse = mask[::2, ::2]
    for given, least in ((mask, 0.97), (coarse / 255, 0.93)):
        prepared, (inside, nothing) = image.prepare_aligned(framed, [given, None], 64)
        assert nothing is None
        assert inside is not None
        bright = prepared > 0.5
        dice = 2 * float((bright & (inside > 0)).sum()) / float(bright.sum() + inside.sum())
        assert dice > least
    assert torch.equal(prepared, image.prepare(framed, 64))


def test_empty_mask_stays_empty() -> None:
    assert not image.prepare_mask(np.zeros((30, 30), np.float32), 16).any()


def test_resize_is_differentiable_and_leaves_the_right_size_alone() -> None:
    x = torch.rand(2, 1, 16, 16, requires_grad=True)
    assert pixels.resize(x, 16) is x
    pixels.resize(x, 8).sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad.sum(), torch.tensor(2 * 64.0))


def test_blur_keeps_constants_and_mass() -> None:
    assert torch.allclose(pixels.gaussian_blur(torch.full((1, 2, 9, 9), 0.4), 1.5), torch.tensor(0.4))
    point = torch.zeros(1, 1, 21, 21)
    point[..., 10, 10] = 1
    assert torch.allclose(pixels.gaussian_blur(point, 1.5).sum(), torch.tensor(1.0))


def test_feather_is_zero_outside_and_one_well_inside() -> None:
    mask = torch.zeros(1, 1, 40, 40)
    mask[..., 8:32, 8:32] = 1
    soft = pixels.feather(mask, 2.0)
    assert not soft[mask == 0].any()
    assert float(soft[..., 20, 20]) == pytest.approx(1)
    assert float(soft[..., 8, 20]) < 0.5


def test_write_bytes_leaves_the_old_file_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.bin"
    temporaries.write_bytes(path, b"old")

    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        temporaries.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_files_of_other_formats_are_not_opened(tmp_path: Path) -> None:
    """PostScript would be handed to a program of its own."""
    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n%%EOF\n")
    for read in (image.read_image, image.check_image):
        with pytest.raises(DataError, match=r"a\.png: expected an image \(PNG, JPEG, TIFF, DICOM\), got something else"):
            read(path)


def test_check_decodes_what_has_right_checksums_over_wrong_pixels(tmp_path: Path) -> None:
    """A PNG may be sound chunk by chunk and hold no pixels all the same."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 90, 90, 8, 0, 0, 0, 0)
    pixels = b"no deflate stream" * 9
    path = tmp_path / "hollow.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))
    with pytest.raises(DataError, match=r"hollow\.png"):
        image.check_image(path)


def test_a_large_png_is_judged_by_its_checksums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "LARGE", 50 * 50)
    path = save(gradient(), tmp_path / "a.png")
    monkeypatch.setattr(image, "_to_unit", lambda file: pytest.fail("decoded"))
    image.check_image(path)
