"""Image files: reading any of them as float32 gray in [0, 1], cropping, stretching and writing live here alone."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from gan_explain.files.dicom import check_dicom, check_growth, is_dicom, read_dicom
from gan_explain.files.temporaries import write_bytes
from gan_explain.pixels import resize
from gan_explain.types import DataError

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF")  # others start programs (EPS) or take memory before they tell their size (WebP)
LARGE = 1 << 20  # pixels from which a PNG is judged by its checksums
FloatImage = NDArray[np.float32]
Box = tuple[slice, slice]


@dataclass(frozen=True)
class Picture:
    """One image file as it was read: its name, pixels (H, W) in [0, 1], colourfulness in [0, 1] (0: gray), and the SHA-256 of its
    bytes."""

    name: str
    pixels: FloatImage
    colourfulness: float
    sha256: str


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
                yield file
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: expected an image (PNG, JPEG, TIFF, DICOM), got something else") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{path}: expected at most {Image.MAX_IMAGE_PIXELS} pixels, got more") from error
    except (DataError, PermissionError, MemoryError):
        raise
    except Exception as error:  # a damaged file makes Pillow stumble in many ways
        raise DataError(f"{path}: expected a readable image, got: {str(error) or type(error).__name__}") from error


def read_image(path: str | os.PathLike[str]) -> FloatImage:
    """Read one image file as (H, W) float32 in [0, 1]; 8 and 16 bit, gray, RGB, palette and CMYK; the first frame of many; DICOM
    as `dicom.read_dicom` shows it.

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
            return read_picture(path, file)
    digest = hashlib.file_digest(source, "sha256").hexdigest()  # type: ignore[arg-type]
    if is_dicom(path, source):
        return Picture(str(path), read_dicom(path, source), 0.0, digest)
    with _opened(path, source) as file:
        return Picture(str(path), _to_unit(file), _colourfulness(file), digest)


def check_image(path: str | os.PathLike[str]) -> None:
    """Raise the DataError that `read_image` would, without decoding where that is dear and needless.

    A PNG of more than a million pixels whose checksums are right and a DICOM file that is not compressed and of the right length
    are taken as readable; anything else is decoded.
    """
    path = Path(path)
    if is_dicom(path):
        check_dicom(path)
        return
    with _file(path) as source, _opened(path, source) as file:
        if file.format == "PNG" and file.width * file.height > LARGE:
            with suppress(SyntaxError, OSError, ValueError):
                file.verify()
                return
    read_image(path)


def _to_unit(file: Image.Image) -> FloatImage:
    if file.mode.startswith("I;16") or file.mode == "I":
        array = np.asarray(file, dtype=np.float64)
        return (array.clip(0, 65535) / 65535).astype(np.float32)
    if file.mode == "F":
        array = np.nan_to_num(np.asarray(file, dtype=np.float32))
        low, high = float(array.min()), float(array.max())
        return ((array - low) / max(high - low, 1e-12)).astype(np.float32)
    gray = file if file.mode == "L" else file.convert("RGB").convert("L")
    return np.asarray(gray, dtype=np.float32) / np.float32(255)


def _colourfulness(file: Image.Image) -> float:
    """Mean absolute difference of the colour channels from their mean, in [0, 1]: 0 for gray, above 0.02 for a photograph."""
    if file.mode in ("L", "1", "F", "I") or file.mode.startswith("I;16"):
        return 0.0
    small = file.convert("RGB")
    small.thumbnail((256, 256))
    rgb = np.asarray(small, dtype=np.float32) / 255
    return float(np.abs(rgb - rgb.mean(axis=2, keepdims=True)).mean())


def trim_box(array: FloatImage, tolerance: float = 0.01) -> Box:
    """(rows, columns) that remain when uniform borders (range below `tolerance`) are cut off an (H, W) image.

    The whole image where less than half of a side would remain.
    """
    height, width = array.shape
    rows = np.flatnonzero(np.ptp(array, axis=1) > tolerance)
    columns = np.flatnonzero(np.ptp(array, axis=0) > tolerance)
    whole = slice(0, height), slice(0, width)
    if not rows.size or not columns.size:
        return whole
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    if bottom - top < height // 2 or right - left < width // 2:
        return whole
    return slice(top, bottom), slice(left, right)


def trim_frame(array: FloatImage, tolerance: float = 0.01) -> FloatImage:
    """The (H, W) image without its uniform borders: `trim_box` applied."""
    return array[trim_box(array, tolerance)]


def center_square(array: FloatImage) -> FloatImage:
    """The centre square of an (H, W) image."""
    height, width = array.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return array[top : top + side, left : left + side]


def clip_percentile(array: FloatImage, low: float = 0.5, high: float = 99.5) -> FloatImage:
    """Clip to two percentiles and stretch to [0, 1]; a uniform image becomes zeros."""
    floor, ceiling = np.percentile(array, [low, high])
    if ceiling - floor < 1e-6:
        return np.zeros_like(array)
    stretched: FloatImage = ((array.clip(floor, ceiling) - floor) / (ceiling - floor)).astype(np.float32)
    return stretched


def prepare(array: FloatImage, size: int, trim: bool = True) -> Tensor:
    """A radiograph as read -> (1, size, size) float32 in [0, 1]: frame trimmed, percentile-clipped, centre square, resized."""
    if trim:
        array = trim_frame(array)
    square = np.ascontiguousarray(clip_percentile(center_square(array)))
    return resize(torch.from_numpy(square)[None, None], size)[0].clamp(0, 1)


def prepare_aligned(
    array: FloatImage, masks: Sequence[FloatImage | None], size: int, trim: bool = True
) -> tuple[Tensor, list[Tensor | None]]:
    """A radiograph and masks of the same field of view (on any grid), all cut by one box.

    Returns `prepare(array, size, trim)` and the masks as (1, size, size) in {0, 1}.
    """
    box = trim_box(array) if trim else (slice(None), slice(None))
    prepared: list[Tensor | None] = []
    for mask in masks:
        if mask is not None and mask.shape != array.shape:
            grid = F.interpolate(torch.from_numpy(np.ascontiguousarray(mask))[None, None], array.shape, mode="nearest-exact")
            mask = grid[0, 0].numpy()
        prepared.append(None if mask is None else prepare_mask(mask[box], size))
    return prepare(array[box], size, trim=False), prepared


def prepare_mask(array: FloatImage, size: int) -> Tensor:
    """A mask as read (on its image's grid; inside is any value above half of its maximum) -> (1, size, size) in {0, 1}."""
    inside = (array > array.max() / 2).astype(np.float32)
    square = np.ascontiguousarray(center_square(inside))
    return (resize(torch.from_numpy(square)[None, None], size)[0] > 0.5).float()


def write_png16(image: Tensor, path: str | os.PathLike[str]) -> None:
    """Write (1, H, W) or (H, W) in [0, 1] as a lossless 16-bit gray PNG, atomically and without metadata."""
    array = (image.detach().reshape(image.shape[-2:]).clamp(0, 1) * 65535).round().to(torch.int32).cpu().numpy().astype(np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    write_bytes(path, buffer.getvalue())
