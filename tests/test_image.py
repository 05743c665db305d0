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
    small = np.zeros((80, 100), np.float32)
    small[40:50, 40:50] = gradient(10, 10)
    assert image.trim_box(small) == (slice(0, 80), slice(0, 100))
    assert image.trim_box(np.ones((20, 20), np.float32)) == (slice(0, 20), slice(0, 20))


def test_percentile_clipping_stretches_and_survives_uniform_images() -> None:
    array = np.linspace(0.4, 0.6, 10000, dtype=np.float32).reshape(100, 100)
    array[0, :10] = 1.0  # burned-in text: under half a percent
    clipped = image.clip_percentile(array)
    assert clipped.min() == 0
    assert clipped.max() == 1
    assert abs(float(clipped.mean()) - 0.5) < 0.02
    assert not image.clip_percentile(np.full((8, 8), 0.7, np.float32)).any()


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
        with pytest.raises(
            DataError, match=r"a\.png: expected an image \(PNG, JPEG, TIFF, BMP, GIF, DICOM\), got something else"
        ):
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


def tiff(array: np.ndarray, path: Path, white_is_zero: bool = False) -> Path:
    """An uncompressed gray TIFF, written here: Pillow writes no 16-bit ones whose zero is white."""
    height, width = array.shape
    data, kind = array.tobytes(), {"u": 1, "i": 2, "f": 3}[array.dtype.kind]
    entries = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, 8 * array.dtype.itemsize),
        (259, 3, 1),
        (262, 3, int(not white_is_zero)),
    ]
    entries += [(273, 4, 8 + 2 + 12 * 10 + 4), (277, 3, 1), (278, 4, height), (279, 4, len(data)), (339, 3, kind)]
    packed = (struct.pack("<HHLL", tag, code, 1, value) for tag, code, value in entries)
    path.write_bytes(b"II*\0" + struct.pack("<LH", 8, 10) + b"".join(packed) + struct.pack("<L", 0) + data)
    return path


def shown(path: Path) -> np.ndarray:
    """As a radiograph is shown: stretched."""
    return image.clip_percentile(image.read_image(path))


@pytest.mark.parametrize(
    ("values", "white_is_zero"),
    [
        ((gradient() * 255).astype(np.uint8), True),
        ((gradient() * 255 - 128).astype(np.int8), False),
        ((gradient() * 65535).astype(np.uint16), False),
        ((gradient() * 65535).astype(np.uint16), True),
        ((gradient() * 4095).astype(np.uint16), True),
        ((gradient() * 4095 - 1024).astype(np.int16), False),
        ((gradient() * 60000 - 30000).astype(np.int16), False),
        ((gradient() * 4095).astype(np.int32), False),
        ((gradient() * 4e9 - 2e9).astype(np.int32), False),
        ((gradient() * 4e9).astype(np.uint32), False),
        (gradient() * 3000 - 1000, False),
        (gradient() * 3000 - 1000, True),
    ],
)
def test_how_the_pixels_of_a_tiff_are_meant(tmp_path: Path, values: np.ndarray, white_is_zero: bool) -> None:
    plain = save(gradient()[:, ::-1] if white_is_zero else gradient(), tmp_path / "plain.png")
    if white_is_zero:  # the same ramp, told the other way round
        plain = save(1 - gradient(), plain)
    assert np.abs(shown(tiff(values, tmp_path / "x.tif", white_is_zero)) - shown(plain)).max() < 2 / 255  # 8 bits, cut off


@pytest.mark.parametrize("kind", ["png", "jpg", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_exif_is_followed(tmp_path: Path, kind: str, orientation: int) -> None:
    upright = Image.fromarray((gradient() * 255).astype(np.uint8))
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # of Image.Transpose: what was done to the upright image
    stored = upright.transpose(Image.Transpose(back[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[274] = orientation
    stored.save(tmp_path / f"x.{kind}", exif=exif)
    read = image.read_image(tmp_path / f"x.{kind}")
    assert read.shape == (60, 80)
    assert np.abs(read - np.asarray(upright) / 255).max() < (0.03 if kind == "jpg" else 1e-6)


def test_what_is_transparent_is_black(tmp_path: Path) -> None:
    seen = (gradient() * 255).astype(np.uint8)
    alpha = np.zeros_like(seen)
    alpha[10:50] = 255
    plain = np.where(alpha > 0, seen, 0) / np.float32(255)
    hidden = np.where(alpha > 0, seen, 200).astype(np.uint8)
    for name, bands in (("la", [hidden, alpha]), ("rgba", [hidden, hidden, hidden, alpha])):
        Image.fromarray(np.stack(bands, -1)).save(tmp_path / f"{name}.png")
        assert np.abs(image.read_image(tmp_path / f"{name}.png") - plain).max() < 1.5 / 255
    palette = Image.fromarray(seen).convert("P")
    palette.save(tmp_path / "p.png", transparency=200)
    assert np.abs(image.read_image(tmp_path / "p.png") - np.where(seen == 200, 0, seen) / 255).max() < 1.5 / 255


def test_frames_of_ten_and_twelve_bits_are_trimmed_as_those_of_eight() -> None:
    framed = np.zeros((80, 100), np.float32)
    framed[5:75, 12:95] = 0.03 + 0.9 * gradient(70, 83)
    for bits in (8, 10, 12, 16):
        assert image.trim_box(framed * (2**bits - 1) / 65535) == image.trim_box(framed) == (slice(5, 75), slice(12, 95))


@pytest.mark.parametrize("suffix", ["tif", "gif", "png"])
def test_the_first_page_of_many_is_taken_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str) -> None:
    pages = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (51, 102, 204)]
    path = tmp_path / f"pages.{suffix}"
    pages[0].save(path, save_all=True, append_images=pages[1:])
    assert np.abs(image.read_image(path) - 0.2).max() < 1e-6
    assert [each.getMessage() for each in caplog.records] == [f"{path}: 3 frames or pages, the first is taken"]
