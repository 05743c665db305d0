"""Image files: reading any of them as float32 gray in [0, 1], trimming, stretching and writing live here alone."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from gan_explain.files.dicom import check_dicom, is_dicom, read_dicom
from gan_explain.files.dicom_header import check_growth, say_once
from gan_explain.files.temporaries import write_bytes
from gan_explain.types import Brief, DataError

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF")  # others start programs (EPS) or take memory before they tell their size (WebP)
LARGE = 1 << 20  # pixels from which a PNG is judged by its checksums
BITS, PHOTOMETRIC, ORIENTATION, SAMPLE_FORMAT = 258, 262, 274, 339  # TIFF tags
WHITE_IS_ZERO, SIDEWAYS, SIGNED = 0, 5, (2,)  # their values; orientations from SIDEWAYS exchange the sides
LEVELS = 64  # 16-bit samples that Pillow gives as 8 bits must leave a range of so many
FloatImage = NDArray[np.float32]
Box = tuple[slice, slice]


@dataclass(frozen=True, repr=False)
class Picture(Brief):
    """One image file as it was read: its name, pixels (H, W) in [0, 1], colourfulness in [0, 1] (0: gray), and the SHA-256 of its
    bytes. `path`: the file itself, where it was opened by its path."""

    name: str
    pixels: FloatImage
    colourfulness: float
    sha256: str
    path: str | None = None


@contextmanager
def _file(path: Path) -> Iterator[BinaryIO]:
    if not path.is_file():
        raise DataError(f"{path}: no such image file")
    with path.open("rb") as file:
        yield file


@contextmanager
def _opened(path: Path, source: BinaryIO) -> Iterator[Image.Image]:
    """An image file opened by Pillow, not yet decoded; whatever is wrong with it, then or in the block, becomes a DataError."""
    source.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Pillow's remarks on metadata: what counts is whether pixels come out
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source, formats=FORMATS) as file:
                check_growth(path, file.width * file.height, os.fstat(source.fileno()).st_size)
                if (frames := getattr(file, "n_frames", 1)) > 1:
                    say_once(f"{path}: {frames} frames or pages, the first is taken")
                yield file
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: expected an image (PNG, JPEG, TIFF, BMP, GIF, DICOM), got something else") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{path}: expected at most {Image.MAX_IMAGE_PIXELS} pixels, got more") from error
    except (DataError, PermissionError, MemoryError):
        raise
    except Exception as error:  # a damaged file makes Pillow stumble in many ways
        raise DataError(f"{path}: expected a readable image, got: {str(error) or type(error).__name__}") from error


def read_image(path: str | os.PathLike[str]) -> FloatImage:
    """Read one image file as (H, W) float32 in [0, 1], as it is meant to be seen; DICOM as `dicom.read_dicom` shows it.

    Any depth, signed or not; gray, RGB, palette and CMYK; the first frame of many. EXIF orientation is followed, a TIFF whose 0
    is white is inverted, what is transparent is laid on black. Up to 16 bits 1 is the largest value that the type holds; wider
    integers and floats are stretched to their own range.

    Raises DataError, naming the file, when it does not exist, is no image, is truncated, or has more than 89 million pixels.
    """
    path = Path(path)
    with _file(path) as source:
        if is_dicom(path, source):
            return read_dicom(path, source)
        with _opened(path, source) as file:
            return _to_unit(file)


def read_picture(path: str | os.PathLike[str], source: BinaryIO | None = None) -> Picture:
    """`read_image`, colourfulness and SHA-256 of a file that is opened once (or is open: `source`, which `path` then only
    names), so that they are of the same bytes. Raises as `read_image` does."""
    path = Path(path)
    if source is None:
        with _file(path) as file:
            return replace(read_picture(path, file), path=str(path.absolute()))
    digest = hashlib.file_digest(source, "sha256").hexdigest()  # type: ignore[arg-type]
    if is_dicom(path, source):
        return Picture(str(path), read_dicom(path, source), 0.0, digest)
    with _opened(path, source) as file:
        return Picture(str(path), _to_unit(file), _colourfulness(file), digest)


def check_image(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Height and width; the DataError that `read_image` would raise, without decoding where that is dear and needless.

    A PNG of more than a million pixels whose checksums are right and a DICOM file that is not compressed and of the right length
    are taken as readable; anything else is decoded.
    """
    path = Path(path)
    if is_dicom(path):
        return check_dicom(path)
    with _file(path) as source, _opened(path, source) as file:
        if file.format == "PNG" and file.width * file.height > LARGE:
            with suppress(SyntaxError, OSError, ValueError):
                turned = "exif" in file.info and file.getexif().get(ORIENTATION, 1) >= SIDEWAYS
                file.verify()
                return (file.width, file.height) if turned else (file.height, file.width)
    height, width = read_image(path).shape
    return height, width


def picture_of(image: Image.Image, name: str = "image") -> Picture:
    """An image that Pillow has opened, as its file is read; the digest is that of its pixels. DataError where it has none."""
    try:
        pixels = _to_unit(image)
        return Picture(name, pixels, _colourfulness(image), digest_of(pixels))
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: expected a readable image, got: {error}") from error


def digest_of(pixels: FloatImage) -> str:
    """SHA-256 of pixels that come without a file."""
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def _to_unit(file: Image.Image) -> FloatImage:
    tags = getattr(file, "tag_v2", {})
    kind, bits = tags.get(SAMPLE_FORMAT, (1,)), tags.get(BITS)
    samples16 = any(str(tile.args[0] if tile.args else "").endswith("16B") for tile in getattr(file, "tile", ()))
    file.load()
    with suppress(Exception):  # metadata may be damaged where pixels are not
        file = ImageOps.exif_transpose(file)
    wide = file.mode.startswith("I;16") or file.mode in ("I", "F")
    if not wide and (kind, bits) != (SIGNED, (8,)):
        return _narrow(file, samples16)
    values = np.asarray(file)
    if file.mode == "L":
        values = values.view(np.int8)
    elif file.mode == "I" and (kind, bits) == ((1,), (32,)):
        values = values.view(np.uint32)
    unit = _whole_range(values.astype(np.float64), file.mode)
    inverted = wide and tags.get(PHOTOMETRIC) == WHITE_IS_ZERO  # narrower ones are inverted by Pillow
    return ((1 - unit) if inverted else unit).astype(np.float32)


def _whole_range(values: NDArray[np.float64], mode: str) -> NDArray[np.float64]:
    """Values on [0, 1]: of integers 0 (or the least, below it) and 65535 (or more), of floats the least and the largest."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if mode != "F":
        low = min(low, 0.0)
        high = max(high, low + (255 if mode == "L" else 65535))
    unit: NDArray[np.float64] = (np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) / max(high - low, 1e-12)
    return unit


def _narrow(file: Image.Image, samples16: bool) -> FloatImage:
    """8 bits or fewer a channel: brightness, over black where there is transparency. ValueError for `samples16`, wider samples
    of which too little is left."""
    if file.has_transparency_data:
        file = Image.alpha_composite(Image.new("RGBA", file.size, (0, 0, 0, 255)), file.convert("RGBA"))
    gray = file if file.mode == "L" else file.convert("RGB").convert("L")
    array = np.asarray(gray)
    if samples16 and 0 < int(np.ptp(array)) < LEVELS:
        raise ValueError(
            f"16 bits with colour or transparency, of which {int(np.ptp(array)) + 1} levels are left: save it as gray"
        )
    return array.astype(np.float32) / np.float32(255)


def _colourfulness(file: Image.Image) -> float:
    """Mean absolute difference of the colour channels from their mean, in [0, 1]: 0 for gray, above 0.02 for a photograph."""
    if file.mode in ("L", "1", "F", "I") or file.mode.startswith("I;16"):
        return 0.0
    small = file.convert("RGB")
    small.thumbnail((256, 256))
    rgb = np.asarray(small, dtype=np.float32) / 255
    return float(np.abs(rgb - rgb.mean(axis=2, keepdims=True)).mean())


def trim_box(array: FloatImage, tolerance: float = 0.01) -> Box:
    """(rows, columns) that remain when uniform borders are cut off an (H, W) image: those whose range is below `tolerance` of the
    image's own.

    The whole image where less than half of a side would remain.
    """
    height, width = array.shape
    least = tolerance * float(np.ptp(array))
    rows = np.flatnonzero(np.ptp(array, axis=1) > least)
    columns = np.flatnonzero(np.ptp(array, axis=0) > least)
    whole = slice(0, height), slice(0, width)
    if not rows.size or not columns.size:
        return whole
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    if bottom - top < height // 2 or right - left < width // 2:
        return whole
    return slice(top, bottom), slice(left, right)


def clip_percentile(array: FloatImage, low: float = 0.5, high: float = 99.5) -> FloatImage:
    """Clip to two percentiles and stretch to [0, 1]; a uniform image becomes zeros."""
    floor, ceiling = np.percentile(array, [low, high])
    if ceiling - floor < 1e-6:
        return np.zeros_like(array)
    stretched: FloatImage = ((array.clip(floor, ceiling) - floor) / (ceiling - floor)).astype(np.float32)
    return stretched


def samples16(image: Tensor) -> NDArray[np.uint16]:
    """(1, H, W) or (H, W) in [0, 1] -> (H, W) of 16 bits."""
    samples = (image.detach().reshape(image.shape[-2:]).clamp(0, 1) * 65535).round().to(torch.int32)
    return samples.cpu().numpy().astype(np.uint16)


def write_png16(image: Tensor, path: str | os.PathLike[str]) -> None:
    """Write (1, H, W) or (H, W) in [0, 1] as a lossless 16-bit gray PNG, atomically and without metadata."""
    buffer = io.BytesIO()
    Image.fromarray(samples16(image)).save(buffer, format="PNG")
    write_bytes(path, buffer.getvalue())
